import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.ConsumerGroupDescribeRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatResponseData;
import org.apache.kafka.common.message.ConsumerProtocolAssignment;
import org.apache.kafka.common.message.ConsumerProtocolSubscription;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.HeartbeatResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;

/** Consumer groups (KIP-848) as bytes on connections, and the records they leave in `__consumer_offsets`. */
final class ConsumerGroupCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("consumer groups/one member", ConsumerGroupCases::one);
        cases.put("consumer groups/two members", ConsumerGroupCases::two);
        cases.put("consumer groups/wrong", ConsumerGroupCases::wrong);
        cases.put("consumer groups/old epochs", ConsumerGroupCases::epochs);
        cases.put("consumer groups/static", ConsumerGroupCases::statics);
        cases.put("consumer groups/topics", ConsumerGroupCases::topics);
        cases.put("consumer groups/expressions", ConsumerGroupCases::expressions);
        cases.put("consumer groups/range", ConsumerGroupCases::range);
        cases.put("consumer groups/subscriptions", ConsumerGroupCases::subscriptions);
        cases.put("consumer groups/offsets", ConsumerGroupCases::offsets);
        cases.put("consumer groups/upgrade and downgrade", ConsumerGroupCases::migrate);
        cases.put("consumer groups/static downgrade", ConsumerGroupCases::staticDowngrade);
        cases.put("consumer groups/mixed", ConsumerGroupCases::mixed);
        cases.put("consumer groups/empty groups change", ConsumerGroupCases::empty);
        for (int seed = 1; seed <= 4; seed++) {
            int drawn = seed;
            cases.put("consumer groups/random " + seed, c -> random(c, drawn));
            cases.put("consumer groups/random mixed " + seed, c -> randomMixed(c, drawn));
        }
    }

    /** One group on one connection. Ids that the server makes are called by what they are of. */
    static final class Group implements AutoCloseable {
        final Case c;
        final String name;
        final Wire wire;
        final Map<String, String> names = new LinkedHashMap<>();
        private long read;

        Group(Case c, String name) throws Exception {
            this.c = c;
            this.name = name;
            c.admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, name),
                List.of(new AlterConfigOp(new ConfigEntry("consumer.assignment.interval.ms", "0"), AlterConfigOp.OpType.SET)))).all().get();
            wire = new Wire(c);
            for (int tries = 0; tries < 200; tries++) {
                var found = (FindCoordinatorResponseData) wire.call(ApiKeys.FIND_COORDINATOR, 4,
                    new FindCoordinatorRequestData().setKeyType((byte) 0).setCoordinatorKeys(List.of(name)));
                var described = (org.apache.kafka.common.message.ConsumerGroupDescribeResponseData) wire.call(
                    ApiKeys.CONSUMER_GROUP_DESCRIBE, 1, new ConsumerGroupDescribeRequestData().setGroupIds(List.of(name)));
                if (found.coordinators().get(0).errorCode() == 0 && described.groups().get(0).errorCode() == 69) break;
                Thread.sleep(50);
            }
        }

        Uuid topic(String topic, int partitions) throws Exception {
            c.topic(topic, partitions);
            Uuid id = WireCases.topicId(c, topic);
            names.put(id.toString(), "ID-OF-" + topic);
            return id;
        }

        ConsumerGroupHeartbeatRequestData beat(String member, int epoch) {
            return new ConsumerGroupHeartbeatRequestData().setGroupId(name).setMemberId(member).setMemberEpoch(epoch);
        }

        ConsumerGroupHeartbeatRequestData join(String member, String... topics) {
            return beat(member, 0).setRebalanceTimeoutMs(60_000).setSubscribedTopicNames(List.of(topics)).setTopicPartitions(List.of());
        }

        ConsumerGroupHeartbeatResponseData send(ConsumerGroupHeartbeatRequestData request) throws Exception {
            return send(request, 1);
        }

        /** Heartbeats until there is news: a coordinator hears of topics later than clients do. */
        ConsumerGroupHeartbeatResponseData await(String member, int epoch) throws Exception {
            for (int tries = 0; ; tries++) {
                var response = (ConsumerGroupHeartbeatResponseData) wire.call(ApiKeys.CONSUMER_GROUP_HEARTBEAT, 1, beat(member, epoch));
                if (tries == 100 || response.assignment() != null || response.errorCode() != 0) {
                    c.line(member + "@" + epoch + " -> " + show(response, 1));
                    return response;
                }
                Thread.sleep(50);
            }
        }

        ConsumerGroupHeartbeatResponseData send(ConsumerGroupHeartbeatRequestData request, int version) throws Exception {
            var response = (ConsumerGroupHeartbeatResponseData) wire.call(ApiKeys.CONSUMER_GROUP_HEARTBEAT, version, request);
            if (request.memberId().isEmpty() && response.memberId() != null) names.put(response.memberId(), "MEMBER");
            c.line(names.getOrDefault(request.memberId(), request.memberId()) + "@" + request.memberEpoch() + " -> " + show(response, version));
            return response;
        }

        String show(ApiMessage message, int version) throws Exception {
            String text = json(message, (short) version);
            for (var entry : names.entrySet()) text = text.replace(entry.getKey(), entry.getValue());
            JsonNode node = new ObjectMapper().readTree(text);
            sort(node);
            return node.toString();
        }

        void describe() throws Exception {
            var request = new ConsumerGroupDescribeRequestData().setGroupIds(List.of(name)).setIncludeAuthorizedOperations(true);
            c.line("describe -> " + show(wire.call(ApiKeys.CONSUMER_GROUP_DESCRIBE, 1, request), 1)
                .replaceAll("\"clientHost\":\"[^\"]*\"", "\"clientHost\":\"HOST\""));
        }

        /** The records of the group since the last time. */
        void records() throws Exception {
            int partition = Utils.abs(name.hashCode()) % 50;
            Map<String, Object> config = Map.of("bootstrap.servers", c.bootstrap, "exclude.internal.topics", "false");
            try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                var log = new TopicPartition("__consumer_offsets", partition);
                consumer.assign(List.of(log));
                long end = consumer.endOffsets(List.of(log)).get(log);
                consumer.seek(log, read);
                // The targets of members come in the order of a hash map, of which some members' ids are random.
                var targets = new TreeSet<String>();
                while (consumer.position(log) < end) {
                    for (var record : consumer.poll(Duration.ofMillis(200))) {
                        var read = new GroupCoordinatorRecordSerde().deserialize(ByteBuffer.wrap(record.key()),
                            record.value() == null ? null : ByteBuffer.wrap(record.value()));
                        String key = show(read.key(), 0);
                        if (!key.contains("\"" + name + "\"")) continue;
                        String value = read.value() == null ? "null" : "v" + read.value().version() + " " + show(read.value().message(), read.value().version());
                        String line = "  " + read.key().getClass().getSimpleName() + " " + key + " = " + value
                            .replaceAll("(\"(assignmentTimestamp|currentStateTimestamp|commitTimestamp|expireTimestamp|timestamp)\":)[1-9][0-9]+", "$1N")
                            .replaceAll("(\"(version|metadataHash)\":)-?[1-9][0-9]*", "$1N")
                            .replaceAll("\"clientHost\":\"[^\"]*\"", "\"clientHost\":\"HOST\"");
                        if (line.startsWith("  ConsumerGroupTargetAssignmentMember")) {
                            targets.add(line);
                        } else {
                            targets.forEach(c::line);
                            targets.clear();
                            c.line(line);
                        }
                    }
                }
                targets.forEach(c::line);
                read = end;
            }
        }

        @Override
        public void close() throws Exception {
            wire.close();
        }
    }

    static String json(ApiMessage message, short version) throws Exception {
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        for (var method : converter.getMethods()) {
            if (method.getName().equals("write") && method.getParameterCount() == 2) {
                return method.invoke(null, message, version).toString();
            }
        }
        throw new IllegalStateException("no converter for " + message.getClass());
    }

    /** Kafka's arrays come out of hash maps. */
    private static void sort(JsonNode node) {
        node.forEach(ConsumerGroupCases::sort);
        if (node instanceof ArrayNode array) {
            List<JsonNode> items = new ArrayList<>();
            array.forEach(items::add);
            items.sort(Comparator.comparing(JsonNode::toString));
            array.removeAll();
            array.addAll(items);
        }
    }

    static List<ConsumerGroupHeartbeatRequestData.TopicPartitions> owned(Uuid id, Integer... partitions) {
        return List.of(new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(id).setPartitions(List.of(partitions)));
    }

    private static void one(Case c) throws Exception {
        try (Group g = new Group(c, "cg-one")) {
            g.topic("cg-one-t", 3);
            g.send(g.join("a", "cg-one-t").setRackId("rack"));
            g.records();
            g.send(g.beat("a", 2));
            g.send(g.beat("a", 2).setSubscribedTopicNames(List.of("cg-one-t")).setRebalanceTimeoutMs(60_000).setTopicPartitions(List.of()));
            g.records();
            g.describe();
            g.send(g.join("a", "cg-one-t"));
            g.records();
            g.send(g.beat("a", -1));
            g.records();
            g.describe();
            g.send(g.beat("a", 2));
            c.each("delete", c.admin.deleteConsumerGroups(List.of("cg-one")).deletedGroups());
            g.records();
            g.describe();
            // The version before members made their ids.
            g.send(g.join("", "cg-one-t"), 0);
            g.describe();
        }
    }

    private static void two(Case c) throws Exception {
        try (Group g = new Group(c, "cg-two")) {
            Uuid id = g.topic("cg-two-t", 5);
            g.send(g.join("a", "cg-two-t"));
            g.send(g.join("b", "cg-two-t"));
            g.describe();
            g.send(g.beat("a", 2));
            g.send(g.beat("b", 3));
            g.records();
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0, 1, 2, 3)));
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0, 1, 2)));
            g.send(g.beat("b", 3));
            g.describe();
            g.records();
            g.send(g.join("c", "cg-two-t"));
            g.send(g.beat("a", 3));
            g.send(g.beat("a", 3).setTopicPartitions(owned(id, 0, 1)));
            g.send(g.beat("c", 4));
            g.send(g.beat("b", 3));
            g.send(g.beat("a", -1));
            g.send(g.beat("b", 4));
            g.send(g.beat("c", 4));
            g.describe();
            g.records();
        }
    }

    private static void wrong(Case c) throws Exception {
        try (Group g = new Group(c, "cg-wrong")) {
            g.topic("cg-wrong-t", 1);
            g.send(g.beat("a", 1));
            g.send(g.beat("a", -1));
            g.send(g.join("", "cg-wrong-t"));
            g.send(g.join("a", "cg-wrong-t").setGroupId(""));
            g.send(g.join("a", "cg-wrong-t").setGroupId(" "));
            g.send(g.join(" ", "cg-wrong-t"));
            g.send(g.join("a", "cg-wrong-t").setInstanceId(""));
            g.send(g.join("a", "cg-wrong-t").setRackId(" "));
            g.send(g.join("a", "cg-wrong-t").setRebalanceTimeoutMs(-1));
            g.send(g.join("a", "cg-wrong-t").setTopicPartitions(null));
            g.send(g.join("a", "cg-wrong-t").setTopicPartitions(owned(new Uuid(1, 1), 0)));
            g.send(g.join("a", "cg-wrong-t").setSubscribedTopicNames(null));
            g.send(g.join("a", "cg-wrong-t").setServerAssignor("nobody"));
            g.send(g.beat("a", -2));
            g.send(g.beat("a", -3));
            g.send(g.beat("", -1), 0);
            g.send(g.join("a", "cg-wrong-t"));
            g.send(g.beat("b", 2));
            g.send(g.beat("b", -1));
            g.send(g.beat("a", 3));
            g.send(g.beat("a", 1));
            g.send(g.beat("a", 2).setInstanceId("i"));
            g.send(g.beat("a", -2).setInstanceId("i"));
            g.send(g.join("c", "cg-wrong-t").setSubscribedTopicNames(null).setSubscribedTopicRegex("a**"));
            g.send(g.join("c").setSubscribedTopicRegex("(?=a)"));
            g.send(g.beat("a", 2).setServerAssignor("range"));
            g.describe();
            g.wire.call(ApiKeys.CONSUMER_GROUP_DESCRIBE, 1, new ConsumerGroupDescribeRequestData());
            var request = new ConsumerGroupDescribeRequestData().setGroupIds(List.of("", "nobody-here", "cg-wrong"));
            c.line(g.show(g.wire.call(ApiKeys.CONSUMER_GROUP_DESCRIBE, 0, request), 0).replaceAll("\"clientHost\":\"[^\"]*\"", "HOST"));
            g.records();
        }
    }

    private static void epochs(Case c) throws Exception {
        try (Group g = new Group(c, "cg-epochs")) {
            Uuid id = g.topic("cg-epochs-t", 2);
            g.send(g.join("a", "cg-epochs-t"));
            g.send(g.beat("a", 2).setSubscribedTopicNames(List.of()));
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0, 1)));
            g.send(g.beat("a", 2).setTopicPartitions(List.of()));
            g.send(g.beat("a", 2).setTopicPartitions(List.of()));
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0)));
            g.send(g.beat("a", 2));
            g.send(g.beat("a", 3));
            g.send(g.join("a", "cg-epochs-t"));
            g.records();
        }
    }

    private static void statics(Case c) throws Exception {
        try (Group g = new Group(c, "cg-static")) {
            g.topic("cg-static-t", 4);
            g.send(g.join("a", "cg-static-t").setInstanceId("i"));
            g.send(g.join("b", "cg-static-t").setInstanceId("i"));
            g.send(g.beat("a", -2).setInstanceId("i"));
            g.records();
            g.describe();
            g.send(g.beat("a", 2).setInstanceId("i"));
            g.send(g.join("b", "cg-static-t").setInstanceId("i"));
            g.records();
            g.send(g.beat("a", 2).setInstanceId("i"));
            g.send(g.beat("b", 2).setInstanceId("i"));
            g.send(g.beat("b", 2).setInstanceId("j"));
            g.send(g.beat("b", -1).setInstanceId("j"));
            g.send(g.beat("a", -1).setInstanceId("i"));
            g.send(g.beat("b", -2).setInstanceId("i"));
            g.send(g.join("c", "cg-static-t", "other").setInstanceId("i"));
            g.records();
            g.send(g.join("d", "cg-static-t").setInstanceId("j"));
            g.send(g.beat("c", 3).setInstanceId("i"));
            g.send(g.beat("c", -2).setInstanceId("i"));
            g.send(g.join("e", "cg-static-t").setInstanceId("i"));
            g.send(g.beat("d", 4).setInstanceId("j"));
            g.describe();
            g.send(g.beat("e", -1).setInstanceId("i"));
            g.records();
        }
    }

    private static void topics(Case c) throws Exception {
        try (Group g = new Group(c, "cg-topics")) {
            Uuid id = g.topic("cg-topics-t", 2);
            g.send(g.join("a", "cg-topics-t", "cg-topics-later"));
            c.admin.createPartitions(Map.of("cg-topics-t", NewPartitions.increaseTo(4))).all().get();
            c.awaitTopic("cg-topics-t", 4);
            g.await("a", 2);
            Uuid later = g.topic("cg-topics-later", 1);
            var assigned = g.await("a", 3).assignment();
            c.line("topics " + assigned.topicPartitions().size());
            c.admin.deleteTopics(List.of("cg-topics-t")).all().get();
            c.awaitGone("cg-topics-t");
            g.await("a", 4);
            g.send(g.beat("a", 4).setTopicPartitions(owned(id, 0)));
            g.send(g.beat("a", 4).setTopicPartitions(owned(later, 0)));
            g.describe();
            Uuid again = g.topic("cg-topics-t", 1);
            g.names.put(again.toString(), "ID-OF-AGAIN");
            var both = g.await("a", 5).assignment();
            c.line("topics " + both.topicPartitions().size());
        }
    }

    /** Heartbeats until the epoch is reached: expressions are looked up aside. */
    private static int until(Group g, String member, int epoch, int reached) throws Exception {
        for (int tries = 0; tries < 100 && epoch < reached; tries++) {
            var response = (ConsumerGroupHeartbeatResponseData) g.wire.call(ApiKeys.CONSUMER_GROUP_HEARTBEAT, 1, g.beat(member, epoch));
            if (response.errorCode() != 0) throw new IllegalStateException(response.toString());
            if (response.memberEpoch() != epoch) g.c.line(member + "@" + epoch + " -> " + g.show(response, 1));
            epoch = response.memberEpoch();
            Thread.sleep(50);
        }
        return epoch;
    }

    private static void expressions(Case c) throws Exception {
        try (Group g = new Group(c, "cg-regex")) {
            g.topic("cg-regex-t", 2);
            g.send(g.join("a").setSubscribedTopicNames(null).setSubscribedTopicRegex("cg-regex-[a-t]"));
            until(g, "a", 1, 2);
            g.describe();
            g.records();
            g.send(g.join("b", "cg-regex-t"));
            g.send(g.beat("b", 3).setSubscribedTopicNames(List.of()).setSubscribedTopicRegex("cg-regex-[a-t]"));
            g.records();
            g.send(g.beat("b", 4).setSubscribedTopicRegex(""));
            g.send(g.beat("a", -1));
            g.records();
            g.describe();
        }
    }

    private static void range(Case c) throws Exception {
        try (Group g = new Group(c, "cg-range")) {
            Uuid id = g.topic("cg-range-t", 5);
            g.send(g.join("b", "cg-range-t").setServerAssignor("range"));
            g.send(g.join("a", "cg-range-t").setServerAssignor("range"));
            g.send(g.beat("b", 2));
            g.send(g.beat("b", 2).setTopicPartitions(owned(id, 3, 4)));
            g.send(g.beat("a", 3));
            g.send(g.beat("a", 3).setServerAssignor("uniform"));
            g.describe();
            g.send(g.join("c", "cg-range-t").setServerAssignor("uniform").setInstanceId("z"));
            g.describe();
            g.records();
        }
    }

    private static void subscriptions(Case c) throws Exception {
        try (Group g = new Group(c, "cg-subs")) {
            Uuid t = g.topic("cg-subs-t", 2);
            Uuid u = g.topic("cg-subs-u", 3);
            g.send(g.join("a", "cg-subs-t"));
            g.send(g.join("b", "cg-subs-u"));
            g.send(g.beat("a", 2));
            g.send(g.beat("a", 3).setSubscribedTopicNames(List.of("cg-subs-u")));
            g.send(g.beat("a", 3).setTopicPartitions(List.of()));
            g.send(g.beat("b", 3));
            g.send(g.beat("b", 3).setTopicPartitions(owned(u, 0, 1)));
            g.send(g.beat("a", 4));
            g.describe();
            g.send(g.beat("b", 4).setSubscribedTopicNames(List.of()));
            g.send(g.beat("b", 4).setTopicPartitions(List.of()));
            g.send(g.beat("a", 4));
            g.send(g.beat("a", 5));
            g.describe();
            g.records();
        }
    }

    private static void commit(Group g, int version, String member, int epoch, int partition, String instance) throws Exception {
        var offset = new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(7);
        var topic = new OffsetCommitRequestData.OffsetCommitRequestTopic().setPartitions(List.of(offset));
        if (version >= 10) topic.setTopicId(WireCases.topicId(g.c, "cg-offsets-t"));
        else topic.setName("cg-offsets-t");
        var request = new OffsetCommitRequestData().setGroupId(g.name).setMemberId(member).setGenerationIdOrMemberEpoch(epoch)
            .setGroupInstanceId(instance).setTopics(List.of(topic));
        g.c.line("commit v" + version + " " + member + "@" + epoch + " " + partition + " -> "
            + g.show(g.wire.call(ApiKeys.OFFSET_COMMIT, version, request), version));
    }

    private static void fetch(Group g, String member, int epoch) throws Exception {
        var group = new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(g.name).setMemberId(member).setMemberEpoch(epoch)
            .setTopics(List.of(new OffsetFetchRequestData.OffsetFetchRequestTopics().setName("cg-offsets-t").setPartitionIndexes(List.of(0, 1))));
        var request = new OffsetFetchRequestData().setGroups(List.of(group)).setRequireStable(true);
        g.c.line("fetch " + member + "@" + epoch + " -> " + g.show(g.wire.call(ApiKeys.OFFSET_FETCH, 9, request), 9));
    }

    private static void offsets(Case c) throws Exception {
        try (Group g = new Group(c, "cg-offsets")) {
            Uuid id = g.topic("cg-offsets-t", 4);
            g.send(g.join("a", "cg-offsets-t"));
            g.send(g.join("b", "cg-offsets-t"));
            g.send(g.beat("a", 2));
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0, 1)));
            for (int version : new int[] {8, 9, 10}) {
                commit(g, version, "a", 3, 0, null);
                commit(g, version, "a", 4, 0, null);
                commit(g, version, "a", 2, 0, null);
                commit(g, version, "a", 1, 0, null);
                commit(g, version, "a", 2, 3, null);
                commit(g, version, "b", 2, 3, null);
                commit(g, version, "x", 3, 0, null);
                commit(g, version, "", -1, 0, null);
            }
            fetch(g, "a", 3);
            fetch(g, "a", 2);
            fetch(g, "a", 4);
            fetch(g, "x", 3);
            fetch(g, null, -1);
            fetch(g, "", -1);
            fetch(g, "a", -1);
            g.send(g.beat("a", -1));
            g.send(g.beat("b", -1));
            commit(g, 9, "", -1, 1, null);
            commit(g, 9, "a", 3, 1, null);
            c.each("delete", c.admin.deleteConsumerGroups(List.of(g.name)).deletedGroups());
        }
    }

    /** A member of the classic protocol. */
    static final class Classic {
        final Group g;
        final String label;
        String id = "";
        String instance;
        int generation = -1;
        List<String> topics = List.of();
        Map<String, List<Integer>> owned = new LinkedHashMap<>();
        String protocol = "range";
        final Wire wire;

        Classic(Group g, String label, String... topics) throws Exception {
            this.g = g;
            this.label = label;
            this.topics = List.of(topics);
            this.wire = new Wire(g.c);
        }

        JoinGroupRequestData request() {
            var subscription = new ConsumerProtocolSubscription().setTopics(topics);
            owned.forEach((topic, partitions) -> subscription.ownedPartitions().add(
                new ConsumerProtocolSubscription.TopicPartition().setTopic(topic).setPartitions(partitions)));
            var protocols = new JoinGroupRequestData.JoinGroupRequestProtocolCollection();
            ByteBuffer metadata = MessageUtil.toVersionPrefixedByteBuffer((short) 3, subscription);
            protocols.add(new JoinGroupRequestData.JoinGroupRequestProtocol().setName(protocol).setMetadata(Utils.toArray(metadata)));
            return new JoinGroupRequestData().setGroupId(g.name).setMemberId(id).setGroupInstanceId(instance).setProtocolType("consumer")
                .setSessionTimeoutMs(30_000).setRebalanceTimeoutMs(30_000).setProtocols(protocols);
        }

        JoinGroupResponseData join() throws Exception {
            var response = (JoinGroupResponseData) wire.call(ApiKeys.JOIN_GROUP, 9, request());
            if (!response.memberId().isEmpty() && !g.names.containsKey(response.memberId())) g.names.put(response.memberId(), label.toUpperCase());
            if (!response.memberId().isEmpty()) id = response.memberId();
            g.c.line(label + " join -> " + g.show(response, 9).replaceAll("\"metadata\":\"[^\"]*\"", "\"metadata\":\"M\""));
            if (response.errorCode() == 79) return join();
            generation = response.generationId();
            return response;
        }

        void sync(Map<String, List<Integer>> assignment) throws Exception {
            var request = new SyncGroupRequestData().setGroupId(g.name).setMemberId(id).setGroupInstanceId(instance)
                .setGenerationId(generation).setProtocolType("consumer").setProtocolName(protocol);
            if (assignment != null) {
                var message = new ConsumerProtocolAssignment();
                assignment.forEach((topic, partitions) -> message.assignedPartitions().add(
                    new ConsumerProtocolAssignment.TopicPartition().setTopic(topic).setPartitions(partitions)));
                request.setAssignments(List.of(new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(id)
                    .setAssignment(Utils.toArray(MessageUtil.toVersionPrefixedByteBuffer((short) 3, message)))));
            }
            var response = (SyncGroupResponseData) wire.call(ApiKeys.SYNC_GROUP, 5, request);
            owned = new LinkedHashMap<>();
            String assigned = "none";
            if (response.assignment().length > 0) {
                var parts = ConsumerProtocol.deserializeConsumerProtocolAssignment(ByteBuffer.wrap(response.assignment()));
                parts.assignedPartitions().forEach(topic -> owned.put(topic.topic(), topic.partitions()));
                assigned = ByteBuffer.wrap(response.assignment()).getShort() + " " + parts.assignedPartitions() + " " + parts.userData();
            }
            g.c.line(label + " sync -> error " + response.errorCode() + " " + response.protocolType() + " " + response.protocolName() + " " + assigned);
        }

        short beat() throws Exception {
            var response = (HeartbeatResponseData) wire.call(ApiKeys.HEARTBEAT, 4, new HeartbeatRequestData().setGroupId(g.name)
                .setMemberId(id).setGroupInstanceId(instance).setGenerationId(generation));
            g.c.line(label + " heartbeat@" + generation + " -> " + response.errorCode());
            return response.errorCode();
        }

        void leave() throws Exception {
            var identity = new LeaveGroupRequestData.MemberIdentity().setMemberId(id).setGroupInstanceId(instance);
            g.c.line(label + " leave -> " + g.show(wire.call(ApiKeys.LEAVE_GROUP, 5,
                new LeaveGroupRequestData().setGroupId(g.name).setMembers(List.of(identity))), 5));
        }
    }

    private static void types(Group g) throws Exception {
        g.c.admin.listGroups().all().get().stream().filter(group -> group.groupId().equals(g.name)).forEach(group ->
            g.c.line("listed " + group.type().map(Object::toString).orElse("") + " " + group.groupState().map(Object::toString).orElse("") + " " + group.protocol()));
    }

    private static void migrate(Case c) throws Exception {
        try (Group g = new Group(c, "cg-migrate")) {
            Uuid id = g.topic("cg-migrate-t", 4);
            var x = new Classic(g, "x", "cg-migrate-t");
            x.join();
            x.sync(Map.of("cg-migrate-t", List.of(0, 1, 2, 3)));
            x.beat();
            types(g);
            g.records();
            g.send(g.beat("a", 1));
            g.send(g.beat("a", -1));
            g.send(g.join("a", "cg-migrate-t"));
            types(g);
            g.records();
            g.describe();
            x.beat();
            x.sync(null);
            x.join();
            x.sync(null);
            x.beat();
            x.join();
            g.records();
            x.sync(null);
            x.beat();
            g.send(g.beat("a", 2));
            g.describe();
            x.generation = 1;
            x.beat();
            x.sync(null);
            x.generation = 2;
            g.send(g.beat(x.id, 2));
            g.send(g.beat("a", -1));
            types(g);
            g.records();
            x.beat();
            x.join();
            x.sync(Map.of("cg-migrate-t", List.of(0, 1, 2, 3)));
            g.records();
            g.describe();
            types(g);
        }
    }

    private static void staticDowngrade(Case c) throws Exception {
        try (Group g = new Group(c, "cg-down")) {
            g.topic("cg-down-t", 3);
            g.send(g.join("a", "cg-down-t").setInstanceId("i"));
            var x = new Classic(g, "x", "cg-down-t");
            x.instance = "i";
            x.join();
            types(g);
            g.records();
            x.sync(null);
            x.beat();
            g.send(g.beat("a", 2).setInstanceId("i"));
            g.send(g.join("b", "cg-down-t").setInstanceId("i"));
            types(g);
            g.records();
            x.beat();
        }
    }

    private static void mixed(Case c) throws Exception {
        try (Group g = new Group(c, "cg-mixed")) {
            Uuid id = g.topic("cg-mixed-t", 6);
            g.send(g.join("a", "cg-mixed-t"));
            var x = new Classic(g, "x", "cg-mixed-t");
            x.join();
            x.sync(null);
            x.beat();
            g.describe();
            g.send(g.beat("a", 2));
            x.beat();
            g.send(g.beat("a", 2).setTopicPartitions(owned(id, 0, 1, 2)));
            x.beat();
            x.join();
            x.sync(null);
            x.beat();
            var y = new Classic(g, "y", "cg-mixed-t");
            y.protocol = "sticky";
            y.join();
            y.protocol = "range";
            y.join();
            x.beat();
            y.beat();
            g.send(g.beat("a", 3));
            g.describe();
            y.leave();
            x.beat();
            y.beat();
            x.id = "a";
            x.beat();
            x.leave();
            g.describe();
        }
    }

    private static void empty(Case c) throws Exception {
        try (Group g = new Group(c, "cg-empty")) {
            g.topic("cg-empty-t", 2);
            g.send(g.join("a", "cg-empty-t"));
            g.send(g.beat("a", -1));
            types(g);
            var x = new Classic(g, "x", "cg-empty-t");
            x.join();
            x.sync(Map.of("cg-empty-t", List.of(0, 1)));
            types(g);
            g.records();
            x.leave();
            types(g);
            g.send(g.join("a", "cg-empty-t"));
            types(g);
            g.records();
        }
    }

    /** What a member of the random case believes. */
    private static final class Believer {
        int epoch;
        String instance;
        List<Integer> owned = List.of();
        List<Integer> told = List.of();
    }

    /**
     * Requests drawn from a seed, right and wrong ones. There is one topic and members have one letter, so that no answer
     * depends on the order of a hash map.
     */
    private static void random(Case c, int seed) throws Exception {
        var random = new Random(seed);
        try (Group g = new Group(c, "cg-random-" + seed)) {
            String topic = "cg-random-t" + seed;
            Uuid id = g.topic(topic, 7);
            Map<String, Believer> members = new TreeMap<>();
            String[] assignors = {null, "range", "uniform"};
            for (int step = 0; step < 250; step++) {
                String name = String.valueOf((char) ('a' + random.nextInt(6)));
                Believer member = members.computeIfAbsent(name, unused -> new Believer());
                int action = random.nextInt(20);
                if (member.epoch == 0 && action < 14 || action == 0) {
                    if (random.nextInt(3) == 0) member.instance = "i" + random.nextInt(3);
                    var request = g.join(name, random.nextInt(3) == 0 ? new String[] {topic, "nothing"} : new String[] {topic})
                        .setInstanceId(member.instance).setServerAssignor(assignors[random.nextInt(3)]);
                    hear(member, g.send(request));
                } else if (action == 1 || action == 2) {
                    int epoch = member.instance != null && random.nextBoolean() ? -2 : -1;
                    g.send(g.beat(name, epoch).setInstanceId(member.instance));
                    members.put(name, new Believer());
                    if (epoch == -2) members.get(name).instance = member.instance;
                } else if (action == 3) {
                    g.send(g.beat(name, random.nextInt(12)).setInstanceId(random.nextBoolean() ? member.instance : null));
                } else if (action == 4) {
                    var request = g.beat(name, member.epoch).setInstanceId(member.instance)
                        .setSubscribedTopicNames(random.nextInt(3) == 0 ? List.of() : List.of(topic, "nothing"));
                    hear(member, g.send(request));
                } else if (action == 5) {
                    g.describe();
                } else if (action < 12) {
                    if (action % 2 == 0) member.owned = member.owned.stream().filter(member.told::contains).toList();
                    else member.owned = member.told;
                    var request = g.beat(name, member.epoch).setInstanceId(member.instance)
                        .setTopicPartitions(member.owned.isEmpty() ? List.of() : owned(id, member.owned.toArray(new Integer[0])));
                    hear(member, g.send(request));
                } else {
                    hear(member, g.send(g.beat(name, member.epoch).setInstanceId(member.instance)));
                }
            }
            g.records();
        }
    }

    /** The same with members of both protocols. One of the new protocol stays, so that no JoinGroup waits for others. */
    private static void randomMixed(Case c, int seed) throws Exception {
        var random = new Random(seed);
        try (Group g = new Group(c, "cg-both-" + seed)) {
            String topic = "cg-both-t" + seed;
            Uuid id = g.topic(topic, 9);
            Map<String, Believer> members = new TreeMap<>();
            Map<String, Classic> classics = new TreeMap<>();
            for (int step = 0; step < 200; step++) {
                int action = step == 0 ? 0 : random.nextInt(10);
                if (random.nextInt(2) == 0 || step == 0) {
                    String name = step == 0 ? "a" : String.valueOf((char) ('a' + random.nextInt(3)));
                    Believer member = members.computeIfAbsent(name, unused -> new Believer());
                    if (member.epoch == 0 || action == 0) {
                        hear(member, g.send(g.join(name, topic)));
                    } else if (action == 1 && !name.equals("a")) {
                        g.send(g.beat(name, -1));
                        members.remove(name);
                    } else if (action < 7) {
                        member.owned = action % 2 == 0 ? member.owned.stream().filter(member.told::contains).toList() : member.told;
                        hear(member, g.send(g.beat(name, member.epoch)
                            .setTopicPartitions(member.owned.isEmpty() ? List.of() : owned(id, member.owned.toArray(new Integer[0])))));
                    } else {
                        hear(member, g.send(g.beat(name, member.epoch)));
                    }
                    continue;
                }
                String name = String.valueOf((char) ('x' + random.nextInt(3)));
                Classic classic = classics.get(name);
                if (classic == null) {
                    classic = new Classic(g, name, topic);
                    classic.id = name;
                    classics.put(name, classic);
                }
                if (classic.generation < 0 || action < 3) {
                    if (random.nextInt(4) == 0) classic.owned = new LinkedHashMap<>();
                    classic.join();
                    if (random.nextInt(5) > 0) classic.sync(null);
                } else if (action == 3) {
                    classic.sync(null);
                } else if (action == 4 && random.nextBoolean()) {
                    classic.leave();
                    classics.remove(name);
                } else if (action == 5) {
                    g.describe();
                } else if (action == 6) {
                    int generation = classic.generation;
                    classic.generation = random.nextInt(12);
                    classic.beat();
                    classic.generation = generation;
                } else {
                    classic.beat();
                }
            }
            g.records();
        }
    }

    private static void hear(Believer member, ConsumerGroupHeartbeatResponseData response) {
        if (response.errorCode() == 0) {
            member.epoch = response.memberEpoch();
            if (response.assignment() != null) {
                member.told = response.assignment().topicPartitions().stream().flatMap(topic -> topic.partitions().stream()).sorted().toList();
            }
        } else if (response.errorCode() != 111) {
            member.epoch = 0;
            member.owned = List.of();
            member.told = List.of();
        }
    }
}
