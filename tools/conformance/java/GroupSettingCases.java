import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatResponseData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/**
 * Groups under other settings than the defaults (`scripts.rs` has them): what ends by itself ends soon, groups are small, and none changes its
 * protocol. And the settings of one group.
 */
final class GroupSettingCases {
    static final String PREFIX = "group settings/";

    static void add(Map<String, Case.Body> cases) {
        cases.put(PREFIX + "a consumer dies", GroupSettingCases::session);
        cases.put(PREFIX + "a consumer keeps what it shall give back", GroupSettingCases::rebalance);
        cases.put(PREFIX + "offsets expire", GroupSettingCases::expiry);
        cases.put(PREFIX + "offsets of a group that reads expire", GroupSettingCases::expiryOfReaders);
        cases.put(PREFIX + "offsets of deleted topics", GroupSettingCases::tombstones);
        cases.put(PREFIX + "no migration", GroupSettingCases::migration);
        cases.put(PREFIX + "full groups", GroupSettingCases::full);
        cases.put(PREFIX + "metadata of offsets", GroupSettingCases::metadata);
        cases.put(PREFIX + "racks", GroupSettingCases::racks);
        cases.put(PREFIX + "of one group", GroupSettingCases::ofGroup);
    }

    private static void set(Case c, String group, String... pairs) throws Exception {
        var ops = new java.util.ArrayList<AlterConfigOp>();
        for (int n = 0; n < pairs.length; n += 2) {
            var kind = pairs[n + 1] == null ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET;
            ops.add(new AlterConfigOp(new ConfigEntry(pairs[n], pairs[n + 1] == null ? "" : pairs[n + 1]), kind));
        }
        c.admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), ops)).all().get();
    }

    /** Heartbeats until the epoch has changed or there is an error, and tells of that answer. */
    private static ConsumerGroupHeartbeatResponseData moves(ConsumerGroupCases.Group g, String member, int epoch) throws Exception {
        for (int tries = 0; ; tries++) {
            var response = (ConsumerGroupHeartbeatResponseData) g.wire.call(ApiKeys.CONSUMER_GROUP_HEARTBEAT, 1, g.beat(member, epoch));
            if (tries == 300 || response.errorCode() != 0 || response.memberEpoch() != epoch) {
                g.c.line(member + "@" + epoch + " -> " + g.show(response, 1));
                return response;
            }
            Thread.sleep(100);
        }
    }

    private static void session(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-session")) {
            set(c, g.name, "consumer.session.timeout.ms", "6000", "consumer.heartbeat.interval.ms", "500");
            g.topic("gs-session-t", 4);
            g.send(g.join("a", "gs-session-t"));
            g.send(g.join("b", "gs-session-t"));
            moves(g, "b", 3);
            g.send(g.beat("a", 2));
            g.describe();
            g.records();
        }
    }

    private static void rebalance(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-rebalance")) {
            Uuid id = g.topic("gs-rebalance-t", 4);
            g.send(g.join("a", "gs-rebalance-t").setRebalanceTimeoutMs(3000));
            g.send(g.join("b", "gs-rebalance-t").setRebalanceTimeoutMs(3000));
            // It is told to give two back, and says all the time that it has them.
            g.send(g.beat("a", 2).setTopicPartitions(ConsumerGroupCases.owned(id, 0, 1, 2, 3)));
            moves(g, "a", 2);
            moves(g, "b", 3);
            g.describe();
            g.records();
        }
    }

    private static String commit(ConsumerGroupCases.Group g, int version, String member, int generation, long retention, String metadata, String... topics)
        throws Exception {
        var list = new java.util.ArrayList<OffsetCommitRequestData.OffsetCommitRequestTopic>();
        for (String topic : topics) {
            var partition = new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(0).setCommittedOffset(5).setCommittedMetadata(metadata);
            var other = new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(1).setCommittedOffset(6).setCommittedMetadata("");
            list.add(new OffsetCommitRequestData.OffsetCommitRequestTopic().setName(topic).setPartitions(List.of(partition, other)));
        }
        var request = new OffsetCommitRequestData().setGroupId(g.name).setMemberId(member).setGenerationIdOrMemberEpoch(generation).setTopics(list);
        if (version < 5) {
            request.setRetentionTimeMs(retention);
        }
        String shown = g.show(g.wire.call(ApiKeys.OFFSET_COMMIT, version, request), version);
        g.c.line("commit v" + version + " of " + (member.isEmpty() ? "nobody" : "a member") + " -> " + shown);
        return shown;
    }

    /** Waits until so many partitions have offsets, then tells which. */
    private static void fetched(ConsumerGroupCases.Group g, int wanted) throws Exception {
        var request = new OffsetFetchRequestData().setRequireStable(true)
            .setGroups(List.of(new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(g.name).setTopics(null)));
        for (int tries = 0; ; tries++) {
            var response = (OffsetFetchResponseData) g.wire.call(ApiKeys.OFFSET_FETCH, 9, request);
            long found = response.groups().get(0).topics().stream().mapToLong(topic -> topic.partitions().size()).sum();
            if (tries == 300 || found == wanted) {
                g.c.line("offsets -> " + g.show(response, 9));
                return;
            }
            Thread.sleep(100);
        }
    }

    private static void expiry(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-expiry")) {
            g.topic("gs-expiry-t", 2);
            g.topic("gs-expiry-u", 2);
            commit(g, 2, "", -1, 1000, "m", "gs-expiry-t");
            commit(g, 9, "", -1, -1, "m", "gs-expiry-u");
            fetched(g, 2);
            commit(g, 4, "", -1, 1000, "m", "gs-expiry-u");
            // With its last offset the group goes.
            fetched(g, 0);
            for (int tries = 0; tries < 100 && c.admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(g.name)); tries++) {
                Thread.sleep(100);
            }
            c.line("listed " + c.admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(g.name)));
            g.records();
        }
    }

    private static void expiryOfReaders(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-readers")) {
            g.topic("gs-readers-t", 2);
            g.topic("gs-readers-u", 2);
            var x = new ConsumerGroupCases.Classic(g, "x", "gs-readers-t");
            x.join();
            x.sync(Map.of("gs-readers-t", List.of(0, 1)));
            // What the group reads does not expire.
            commit(g, 4, x.id, x.generation, 1000, "m", "gs-readers-t", "gs-readers-u");
            fetched(g, 2);
            x.beat();
            x.leave();
            fetched(g, 0);
        }
    }

    private static void tombstones(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-deleted")) {
            g.topic("gs-deleted-t", 2);
            g.topic("gs-deleted-u", 2);
            g.send(g.join("a", "gs-deleted-t"));
            commit(g, 9, "a", 2, -1, "m", "gs-deleted-t", "gs-deleted-u");
            fetched(g, 4);
            g.records();
            c.admin.deleteTopics(List.of("gs-deleted-u")).all().get();
            c.awaitGone("gs-deleted-u");
            fetched(g, 2);
            g.records();
            c.admin.deleteTopics(List.of("gs-deleted-t")).all().get();
            c.awaitGone("gs-deleted-t");
            fetched(g, 0);
        }
    }

    private static void migration(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-migration"); var h = new ConsumerGroupCases.Group(c, "gs-migration-too")) {
            g.topic("gs-migration-t", 2);
            var x = new ConsumerGroupCases.Classic(g, "x", "gs-migration-t");
            // An id that is given first would be forgotten with the empty group, which expires.
            x.instance = "x";
            x.join();
            x.sync(Map.of("gs-migration-t", List.of(0, 1)));
            g.send(g.join("a", "gs-migration-t"));
            x.beat();
            x.leave();
            // One without members may change.
            g.send(g.join("a", "gs-migration-t"));
            x.id = "";
            x.join();
            g.send(g.beat("a", -1));
            x.join();
            x.leave();
            h.names.putAll(g.names);
            h.send(h.join("a", "gs-migration-t"));
            var y = new ConsumerGroupCases.Classic(h, "y", "gs-migration-t");
            y.instance = "y";
            y.join();
            h.send(h.beat("a", -1));
            y.join();
            y.leave();
        }
    }

    private static void full(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-full"); var h = new ConsumerGroupCases.Group(c, "gs-full-too")) {
            g.topic("gs-full-t", 2);
            g.send(g.join("a", "gs-full-t"));
            g.send(g.join("b", "gs-full-t").setInstanceId("i"));
            g.send(g.join("c", "gs-full-t"));
            g.send(g.join("c", "gs-full-t").setInstanceId("j"));
            g.send(g.beat("b", -2).setInstanceId("i"));
            g.send(g.join("c", "gs-full-t").setInstanceId("i"));
            g.send(g.join("a", "gs-full-t"));
            g.describe();
            var all = new java.util.ArrayList<Thread>();
            for (String name : List.of("x", "y")) {
                var one = new ConsumerGroupCases.Classic(h, name, "gs-full-t");
                all.add(new Thread(() -> {
                    try {
                        one.wire.call(ApiKeys.JOIN_GROUP, 3, one.request());
                    } catch (Exception error) {
                        c.line("BROKEN " + error);
                    }
                }));
            }
            all.forEach(Thread::start);
            for (Thread one : all) {
                one.join();
            }
            var z = new ConsumerGroupCases.Classic(h, "z", "gs-full-t");
            z.join();
            c.each("delete", c.admin.deleteConsumerGroups(List.of(h.name)).deletedGroups());
        }
    }

    private static void metadata(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-metadata")) {
            g.topic("gs-metadata-t", 2);
            for (String text : new String[] {null, "", "0123456789", "01234567890", "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"}) {
                commit(g, 9, "", -1, -1, text, "gs-metadata-t");
            }
            fetched(g, 2);
        }
    }

    private static void racks(Case c) throws Exception {
        try (var g = new ConsumerGroupCases.Group(c, "gs-racks")) {
            Uuid id = g.topic("gs-racks-t", 4);
            g.send(g.join("b", "gs-racks-t").setRackId("r1"));
            g.send(g.join("a", "gs-racks-t").setRackId("r2"));
            g.send(g.beat("b", 2));
            g.send(g.beat("b", 2).setTopicPartitions(ConsumerGroupCases.owned(id, 0, 1)));
            g.send(g.beat("a", 3));
            g.send(g.beat("a", 3).setRackId("r1"));
            g.describe();
            g.records();
        }
    }

    private static void ofGroup(Case c) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, "gs-own");
        ConfigCases.show(c, resource, true);
        for (String[] pair : new String[][] {
            {"consumer.session.timeout.ms", "999"}, {"consumer.session.timeout.ms", "60001"}, {"consumer.heartbeat.interval.ms", "99"},
            {"consumer.heartbeat.interval.ms", "15001"}, {"consumer.heartbeat.interval.ms", "x"}, {"consumer.assignment.interval.ms", "-1"},
            {"consumer.session.timeout.ms", "1000"}, {"consumer.nothing", "1"}, {"consumer.heartbeat.interval.ms", "1500"},
            {"consumer.session.timeout.ms", "5000"}, {"consumer.assignment.interval.ms", "0"}, {"consumer.session.timeout.ms", null},
            {"consumer.session.timeout.ms", null}}) {
            c.attempt(pair[0] + "=" + pair[1], () -> {
                set(c, "gs-own", pair);
                return "set";
            });
        }
        ConfigCases.show(c, resource, true);
        c.attempt("of a group without a name", () -> {
            set(c, "", "consumer.heartbeat.interval.ms", "1000");
            return "set";
        });
        try (var g = new ConsumerGroupCases.Group(c, "gs-own")) {
            g.topic("gs-own-t", 1);
            g.send(g.join("a", "gs-own-t"));
            set(c, g.name, "consumer.heartbeat.interval.ms", "700");
            for (int tries = 0; tries < 100; tries++) {
                var response = (ConsumerGroupHeartbeatResponseData) g.wire.call(ApiKeys.CONSUMER_GROUP_HEARTBEAT, 1, g.beat("a", 2));
                if (response.heartbeatIntervalMs() == 700) {
                    break;
                }
                Thread.sleep(50);
            }
            g.send(g.beat("a", 2));
        }
    }
}
