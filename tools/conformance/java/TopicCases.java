import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;

/** CreateTopics, DeleteTopics, CreatePartitions, DescribeTopicPartitions, Metadata through the admin client. */
final class TopicCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("topics/create", TopicCases::create);
        cases.put("topics/create defaults", TopicCases::createDefaults);
        cases.put("topics/create invalid names", TopicCases::invalidNames);
        cases.put("topics/create invalid counts", TopicCases::invalidCounts);
        cases.put("topics/create assignments", TopicCases::assignments);
        cases.put("topics/create validate only", TopicCases::validateOnly);
        cases.put("topics/create configs", TopicCases::configs);
        cases.put("topics/create several", TopicCases::several);
        cases.put("topics/delete", TopicCases::delete);
        cases.put("topics/create partitions", TopicCases::createPartitions);
        cases.put("topics/describe", TopicCases::describe);
        cases.put("topics/list", TopicCases::list);
    }

    private static void created(Case c, NewTopic topic, boolean validateOnly) {
        var result = c.admin.createTopics(List.of(topic), new CreateTopicsOptions().validateOnly(validateOnly));
        String name = topic.name().length() > 60 ? topic.name().substring(0, 60) + "..." : topic.name();
        c.attempt("create '" + name + "'", () -> {
            result.values().get(topic.name()).get();
            boolean hasId = !result.topicId(topic.name()).get().equals(Uuid.ZERO_UUID);
            return result.numPartitions(topic.name()).get() + " partitions, " + result.replicationFactor(topic.name()).get()
                + " replicas, id " + hasId + ", " + entries(result.config(topic.name()).get());
        });
    }

    private static List<String> entries(Config config) {
        List<String> entries = new ArrayList<>();
        for (ConfigEntry e : config.entries()) {
            entries.add(e.name() + "=" + e.value() + "/" + e.source() + (e.isReadOnly() ? "/read only" : "") + (e.isSensitive() ? "/secret" : ""));
        }
        entries.sort(null);
        return entries;
    }

    static String partition(TopicPartitionInfo p) {
        return p.partition() + ": leader " + (p.leader() == null ? "none" : p.leader().id()) + " replicas "
            + p.replicas().stream().map(n -> n.id()).toList() + " isr " + p.isr().stream().map(n -> n.id()).toList()
            + " elr " + (p.elr() == null ? null : p.elr().stream().map(n -> n.id()).toList())
            + " last known elr " + (p.lastKnownElr() == null ? null : p.lastKnownElr().stream().map(n -> n.id()).toList());
    }

    static String description(TopicDescription d) {
        return d.name() + (d.isInternal() ? " internal" : "") + " id " + !d.topicId().equals(Uuid.ZERO_UUID) + " "
            + d.partitions().stream().map(TopicCases::partition).toList()
            + " operations " + (d.authorizedOperations() == null ? null : Case.sorted(d.authorizedOperations()));
    }

    private static void create(Case c) throws Exception {
        created(c, new NewTopic("create-1", 3, (short) 1), false);
        c.awaitTopic("create-1", 3);
        created(c, new NewTopic("create-1", 3, (short) 1), false);
        created(c, new NewTopic("create-1", 0, (short) 7), false);
    }

    private static void createDefaults(Case c) throws Exception {
        created(c, new NewTopic("create-defaults", Optional.empty(), Optional.empty()), false);
        created(c, new NewTopic("create-defaults-2", Optional.of(2), Optional.empty()), false);
        created(c, new NewTopic("create-defaults-3", Optional.empty(), Optional.of((short) 1)), false);
    }

    private static void invalidNames(Case c) throws Exception {
        for (String name : List.of("", ".", "..", "a b", "a/b", "\u00e9t\u00e9", "x".repeat(249), "x".repeat(250), "a:b", "__x")) {
            created(c, new NewTopic(name, 1, (short) 1), false);
        }
        created(c, new NewTopic("collide.a_b", 1, (short) 1), false);
        created(c, new NewTopic("collide_a.b", 1, (short) 1), false);
        created(c, new NewTopic("collide.a.b", 1, (short) 1), false);
    }

    private static void invalidCounts(Case c) throws Exception {
        for (int partitions : new int[] {0, -1, -2}) {
            created(c, new NewTopic("bad-partitions", partitions, (short) 1), false);
        }
        for (short replicas : new short[] {0, -1, -2, 2, 100}) {
            created(c, new NewTopic("bad-replicas" + replicas, 1, replicas), false);
        }
    }

    private static void assignments(Case c) throws Exception {
        created(c, new NewTopic("assigned-1", Map.of(0, List.of(1), 1, List.of(1))), false);
        created(c, new NewTopic("assigned-2", Map.of(0, List.of(1, 1))), false);
        created(c, new NewTopic("assigned-3", Map.of(0, List.of(9))), false);
        created(c, new NewTopic("assigned-4", Map.of(1, List.of(1))), false);
        created(c, new NewTopic("assigned-5", Map.of(0, List.of())), false);
        created(c, new NewTopic("assigned-6", Map.of(0, List.of(1), 2, List.of(1))), false);
        created(c, new NewTopic("assigned-7", Map.of(0, List.of(1, 2))), false);
        created(c, new NewTopic("assigned-8", Map.of(0, List.of(-1))), false);
    }

    private static void validateOnly(Case c) throws Exception {
        created(c, new NewTopic("validated", 2, (short) 1).configs(Map.of("retention.ms", "5")), true);
        created(c, new NewTopic("validated", 2, (short) 3), true);
        created(c, new NewTopic("validated bad", 2, (short) 1), true);
        c.line("there: " + c.admin.listTopics().names().get().contains("validated"));
    }

    private static void configs(Case c) throws Exception {
        String[][] tries = {
            {"retention.ms", "1000"}, {"retention.ms", "-1"}, {"retention.ms", "-2"}, {"retention.ms", "soon"}, {"no.such.config", "1"},
            {"cleanup.policy", "compact,delete"}, {"cleanup.policy", "shred"}, {"compression.type", "zstd"}, {"compression.type", "rar"},
            {"segment.bytes", "1"}, {"segment.bytes", "1048576"}, {"min.insync.replicas", "0"}, {"max.message.bytes", "-1"},
            {"message.timestamp.type", "LogAppendTime"}, {"message.timestamp.type", "Sometimes"}, {"unclean.leader.election.enable", "maybe"},
            {"compression.gzip.level", "9"}, {"compression.gzip.level", "10"}, {"compression.lz4.level", "18"}, {"compression.zstd.level", "23"},
            {"min.cleanable.dirty.ratio", "2"}, {"segment.ms", "0"}, {"index.interval.bytes", "-1"}, {"cleanup.policy", ""},
            {"leader.replication.throttled.replicas", "0:1"}, {"leader.replication.throttled.replicas", "nonsense"},
            {"remote.storage.enable", "true"}, {"local.retention.ms", "-3"}, {"preallocate", "TRUE"}, {"file.delete.delay.ms", "10"},
        };
        int n = 0;
        for (String[] pair : tries) {
            c.line(pair[0] + "=" + pair[1]);
            created(c, new NewTopic("configured-" + n++, 1, (short) 1).configs(Map.of(pair[0], pair[1])), false);
        }
        Map<String, String> nothing = new HashMap<>();
        nothing.put("retention.ms", null);
        created(c, new NewTopic("configured-null", 1, (short) 1).configs(nothing), false);
    }

    private static void several(Case c) throws Exception {
        var result = c.admin.createTopics(List.of(
            new NewTopic("several-1", 1, (short) 1), new NewTopic("several-2", 0, (short) 1), new NewTopic("several-3", 1, (short) 1)));
        c.each("create", result.values());
        var none = c.admin.createTopics(List.of());
        c.each("create none", none.values());
    }

    private static void delete(Case c) throws Exception {
        c.topic("delete-1", 1);
        c.topic("delete-2", 2);
        Uuid id = c.admin.describeTopics(List.of("delete-2")).allTopicNames().get().get("delete-2").topicId();
        c.each("delete", c.admin.deleteTopics(List.of("delete-1", "never-was", "")).topicNameValues());
        c.attempt("delete by id", () -> c.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
        c.awaitGone("delete-1");
        c.awaitGone("delete-2");
        c.attempt("delete again", () -> c.admin.deleteTopics(List.of("delete-1")).all().get());
        c.attempt("delete unknown id", () -> c.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(new Uuid(7, 7)))).all().get());
        c.attempt("delete id zero", () -> c.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.ZERO_UUID))).all().get());
        c.topic("delete-1", 3);
        c.line("created again: " + c.admin.describeTopics(List.of("delete-1")).allTopicNames().get().get("delete-1").partitions().size());
    }

    private static void createPartitions(Case c) throws Exception {
        c.topic("grow", 1);
        c.each("to 3", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(3))).values());
        c.awaitTopic("grow", 3);
        for (int count : new int[] {3, 2, 0, -1}) {
            c.each("to " + count, c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(count))).values());
        }
        c.each("unknown", c.admin.createPartitions(Map.of("never-was", NewPartitions.increaseTo(3))).values());
        c.each("validate", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(9)), new CreatePartitionsOptions().validateOnly(true)).values());
        c.each("assigned", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(5, List.of(List.of(1), List.of(1))))).values());
        c.awaitTopic("grow", 5);
        c.each("one short", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(7, List.of(List.of(1))))).values());
        c.each("one more", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(6, List.of(List.of(1), List.of(1))))).values());
        c.each("no such broker", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(6, List.of(List.of(8))))).values());
        c.each("twice a broker", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(6, List.of(List.of(1, 1))))).values());
        c.each("two replicas", c.admin.createPartitions(Map.of("grow", NewPartitions.increaseTo(6, List.of(List.of(1, 2))))).values());
        c.line("partitions: " + c.admin.describeTopics(List.of("grow")).allTopicNames().get().get("grow").partitions().size());
    }

    private static void describe(Case c) throws Exception {
        c.topic("describe-1", 2);
        c.topic("describe-2", 1);
        var options = new DescribeTopicsOptions().includeAuthorizedOperations(true);
        for (var entry : new TreeMap<>(c.admin.describeTopics(List.of("describe-1", "describe-2"), options).allTopicNames().get()).entrySet()) {
            c.line(description(entry.getValue()));
        }
        options = new DescribeTopicsOptions().partitionSizeLimitPerResponse(1);
        c.line("limited " + description(c.admin.describeTopics(List.of("describe-1"), options).allTopicNames().get().get("describe-1")));
        Uuid id = c.admin.describeTopics(List.of("describe-1")).allTopicNames().get().get("describe-1").topicId();
        c.attempt("by id", () -> description(c.admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id)));
        c.attempt("unknown", () -> c.admin.describeTopics(List.of("never-was")).allTopicNames().get());
        c.attempt("invalid", () -> c.admin.describeTopics(List.of("not valid")).allTopicNames().get());
        c.attempt("empty", () -> c.admin.describeTopics(List.of("")).allTopicNames().get());
        c.attempt("unknown id", () -> c.admin.describeTopics(TopicCollection.ofTopicIds(List.of(new Uuid(1, 9)))).allTopicIds().get());
    }

    private static void list(Case c) throws Exception {
        c.topic("listed", 1);
        var found = c.admin.listTopics(new ListTopicsOptions().listInternal(true)).namesToListings().get().get("listed");
        c.line(found.name() + " internal " + found.isInternal() + " id " + !found.topicId().equals(Uuid.ZERO_UUID));
    }
}
