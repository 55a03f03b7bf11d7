import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.admin.UserScramCredentialsDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * What a server says of itself, in sections of lines, remembered when it goes and asked of the next one, and held against what was
 * asked of the servers (`SwapExpected`). A section the server at hand cannot tell (it does not serve the request, or has no authorizer)
 * keeps what was remembered, for the next one that can.
 */
final class SwapView {
    /** Its records come while servers go, so that only its content is compared. */
    private static final String FLIGHT = "flight";

    private final Admin admin;
    private final Map<String, TreeSet<String>> remembered = new TreeMap<>();
    private final SwapExpected expected;
    private final SwapReady ready;
    private final SwapProducers producers;
    /** Who leads changes when one of several brokers goes. */
    private final boolean isCluster;

    SwapView(Admin admin, SwapExpected expected, boolean isCluster) {
        this.admin = admin;
        this.expected = expected;
        this.ready = new SwapReady(admin);
        this.producers = new SwapProducers(admin);
        this.isCluster = isCluster;
    }

    /** The levels never change. */
    boolean hasConsumerProtocol() throws Exception {
        return admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("group.version");
    }

    /** Once what was asked for is there, and every transaction that was ended has its markers. */
    int remember(Map<String, SwapRecord.Topic> topics, Collection<String> open) throws Exception {
        ready.await(open);
        SwapReady.await("what was asked for", () -> {
            var told = told(topics);
            List<String> differences = new ArrayList<>();
            told.forEach((section, found) -> expected.compare(section, found, differences));
            if (differences.isEmpty()) {
                remembered.putAll(told);
                producers.remember(partitions(topics));
            }
            return differences.isEmpty() ? null : String.join("\n", differences);
        });
        return remembered.values().stream().mapToInt(TreeSet::size).sum() + producers.count();
    }

    /**
     * Waits until the server says what the last one said. What it takes in after its start (metadata, groups) it may not have at once, and
     * does not say so; a difference that stays is one.
     */
    void compare(Map<String, SwapRecord.Topic> topics, Collection<String> open, boolean isAfterKill) throws Exception {
        ready.await(open);
        SwapReady.await("what the last server said (-) and this one says (+)", () -> {
            List<String> differences = new ArrayList<>();
            told(topics).forEach((section, found) -> {
                var before = remembered.getOrDefault(section, found);
                before.stream().filter(line -> !found.contains(line)).forEach(line -> differences.add(section + " - " + line));
                found.stream().filter(line -> !before.contains(line)).forEach(line -> differences.add(section + " + " + line));
                expected.compare(section, found, differences);
            });
            producers.compare(topics, partitions(topics), isAfterKill, differences);
            return differences.isEmpty() ? null : String.join("\n", differences.subList(0, Math.min(30, differences.size())));
        });
    }

    private Map<String, TreeSet<String>> told(Map<String, SwapRecord.Topic> topics) throws Exception {
        Map<String, TreeSet<String>> sections = new HashMap<>();
        section(sections, "features", () -> {
            var features = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
            return List.of("cluster " + admin.describeCluster().clusterId().get(), features);
        });
        section(sections, "topics", () -> {
            List<Object> lines = new ArrayList<>();
            Set<String> names = new TreeSet<>(admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get());
            // Another load's, which looks after them.
            names.removeIf(name -> name.startsWith("kill-"));
            admin.describeTopics(names).allTopicNames().get().forEach((name, topic) -> {
                lines.add(name + " " + topic.topicId() + " " + (isCluster ? replicas(topic) : topic.partitions()));
                if (!topic.isInternal()) {
                    lines.add(whole(name, topic.topicId(), topic.partitions().size()));
                }
            });
            return lines;
        });
        section(sections, "configs", () -> configs(topics));
        section(sections, "offsets", () -> offsets(topics));
        section(sections, "transactions", this::transactions);
        section(sections, "groups", () -> groups(topics));
        section(sections, "protocols", this::protocols);
        section(sections, "quotas", () -> {
            List<Object> lines = new ArrayList<>();
            admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().forEach((entity, quota) -> lines.add(entity + " " + new TreeMap<>(quota)));
            return lines;
        });
        section(sections, "scram", () -> {
            List<Object> lines = new ArrayList<>();
            admin.describeUserScramCredentials().all().get().forEach((user, of) -> lines.add(user + " " + of));
            return lines;
        });
        section(sections, "acls", () -> new ArrayList<>(admin.describeAcls(AclBindingFilter.ANY).values().get()));
        return sections;
    }

    /** A topic as a client knows it that made it. */
    static String whole(String name, Uuid id, int partitions) {
        return "whole " + name + " " + id + " " + partitions;
    }

    private static List<String> replicas(TopicDescription topic) {
        List<String> replicas = new ArrayList<>();
        topic.partitions().forEach(partition -> replicas.add(partition.partition() + " on " + partition.replicas().stream().map(Node::id).toList()));
        return replicas;
    }

    private static void section(Map<String, TreeSet<String>> sections, String name, Callable<List<?>> lines) throws Exception {
        try {
            var sorted = new TreeSet<String>();
            lines.call().forEach(line -> sorted.add(String.valueOf(line)));
            sections.put(name, sorted);
        } catch (ExecutionException error) {
            if (SwapReady.isTriedAgain(error.getCause())) {
                throw error;
            }
            if (!cannot(error)) {
                throw new IllegalStateException(name, error);
            }
        }
    }

    private static boolean cannot(ExecutionException error) {
        return error.getCause() instanceof UnsupportedVersionException || error.getCause() instanceof SecurityDisabledException;
    }

    private List<String> configs(Map<String, SwapRecord.Topic> topics) throws Exception {
        List<ConfigResource> asked = new ArrayList<>(List.of(new ConfigResource(ConfigResource.Type.BROKER, "")));
        if (!isCluster) {
            asked.add(new ConfigResource(ConfigResource.Type.BROKER, "1"));
        }
        topics.keySet().forEach(topic -> asked.add(new ConfigResource(ConfigResource.Type.TOPIC, topic)));
        List<String> lines = new ArrayList<>();
        admin.describeConfigs(asked).all().get().forEach((resource, config) -> config.entries().stream()
            .filter(entry -> entry.source().name().startsWith("DYNAMIC"))
            .forEach(entry -> lines.add(resource + " " + entry.name() + "=" + entry.value() + " " + entry.source())));
        return lines;
    }

    private static List<TopicPartition> partitions(Map<String, SwapRecord.Topic> topics) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (var topic : topics.values()) {
            for (int p = 0; p < topic.partitions.size() && !topic.name.equals(FLIGHT); p++) {
                partitions.add(new TopicPartition(topic.name, p));
            }
        }
        return partitions;
    }

    private List<String> offsets(Map<String, SwapRecord.Topic> topics) throws Exception {
        List<String> lines = new ArrayList<>();
        for (var isolation : IsolationLevel.values()) {
            for (var spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest())) {
                Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
                partitions(topics).forEach(partition -> asked.put(partition, spec));
                admin.listOffsets(asked, new ListOffsetsOptions(isolation)).all().get().forEach((partition, told) ->
                    lines.add(isolation + " " + spec.getClass().getSimpleName() + " " + partition + " " + told.offset()));
            }
        }
        return lines;
    }

    private List<String> transactions() throws Exception {
        List<String> lines = new ArrayList<>();
        List<String> ids = new ArrayList<>();
        admin.listTransactions().all().get().forEach(transaction -> ids.add(transaction.transactionalId()));
        admin.describeTransactions(ids).all().get().forEach((id, transaction) -> lines.add(id + " " + transaction.state() + " " + transaction.producerId() + " "
            + transaction.producerEpoch() + " " + transaction.transactionTimeoutMs() + " " + transaction.transactionStartTimeMs() + " "
            + Case.sorted(transaction.topicPartitions())));
        return lines;
    }

    private List<String> groups(Map<String, SwapRecord.Topic> topics) throws Exception {
        Map<String, ListConsumerGroupOffsetsSpec> asked = new HashMap<>();
        for (var group : admin.listGroups().all().get()) {
            asked.put(group.groupId(), new ListConsumerGroupOffsetsSpec());
        }
        List<String> lines = new ArrayList<>();
        if (asked.isEmpty()) {
            return lines;
        }
        admin.listConsumerGroupOffsets(asked).all().get().forEach((group, offsets) -> offsets.forEach((partition, offset) -> {
            if (topics.containsKey(partition.topic()) && !partition.topic().equals(FLIGHT)) {
                lines.add(offset(group, partition, offset));
            }
        }));
        return lines;
    }

    static String offset(String group, TopicPartition partition, OffsetAndMetadata offset) {
        return group + " " + partition + " " + offset;
    }

    /**
     * What the coordinators say of groups that have no member; of living ones the state depends on the moment. Of a group whose offsets are all
     * gone (aborted, of deleted topics) the coordinator of 3.9 keeps nothing over its end, that of 4.0 and later reads it again.
     */
    private List<String> protocols() throws Exception {
        boolean hasAll = hasConsumerProtocol();
        List<String> lines = new ArrayList<>();
        for (var group : admin.listGroups().all().get()) {
            if (expected.hasCommitted(group.groupId()) || hasAll && !group.groupId().startsWith(SwapMember.LIVING)) {
                lines.add(String.valueOf(group));
            }
        }
        return lines;
    }

    /** A quota, a credential, an ACL, a config of brokers, set or removed: where the server can. */
    void entities(Random random) throws Exception {
        int n = random.nextInt(4);
        boolean isRemoved = random.nextInt(4) == 0;
        Double rate = isRemoved ? null : (Double) (1_000_000_000.0 + random.nextInt(1000));
        var entity = new ClientQuotaEntity(Map.of("client-id", "nobody-" + n));
        ifItCan(() -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", rate))))).all().get(),
            "quotas", "nobody-" + n, isRemoved ? null : entity + " " + Map.of("producer_byte_rate", rate));
        String user = "user-" + n;
        var scram = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096 + n);
        if (!isRemoved || expected.has("scram", user)) {
            UserScramCredentialAlteration change = isRemoved ? new UserScramCredentialDeletion(user, scram.mechanism())
                : new UserScramCredentialUpsertion(user, scram, "secret".getBytes(), ("salt" + random.nextInt(100)).getBytes());
            ifItCan(() -> admin.alterUserScramCredentials(List.of(change)).all().get(), "scram", user,
                isRemoved ? null : user + " " + new UserScramCredentialsDescription(user, List.of(scram)));
        }
        var acl = new AclBinding(new ResourcePattern(ResourceType.TRANSACTIONAL_ID, "nothing-" + n, PatternType.LITERAL),
            new AccessControlEntry("User:nobody", "*", AclOperation.WRITE, AclPermissionType.ALLOW));
        ifItCan(() -> isRemoved ? admin.deleteAcls(List.of(acl.toFilter())).all().get() : admin.createAcls(List.of(acl)).all().get(),
            "acls", "nothing-" + n, isRemoved ? null : acl);
        var config = new AlterConfigOp(new ConfigEntry("log.cleaner.threads", String.valueOf(1 + random.nextInt(2))), AlterConfigOp.OpType.SET);
        var brokers = new ConfigResource(ConfigResource.Type.BROKER, "");
        ifItCan(() -> admin.incrementalAlterConfigs(Map.of(brokers, List.of(config))).all().get(),
            "configs", "all brokers", brokers + " " + config.configEntry().name() + "=" + config.configEntry().value() + " DYNAMIC_DEFAULT_BROKER_CONFIG");
    }

    /** With no line, the thing is gone. */
    private void ifItCan(Callable<?> change, String section, String key, Object line) throws Exception {
        try {
            change.call();
        } catch (ExecutionException error) {
            if (!cannot(error)) {
                throw error;
            }
            return;
        }
        if (line == null) {
            expected.remove(section, key);
        } else {
            expected.put(section, key, line);
        }
    }
}
