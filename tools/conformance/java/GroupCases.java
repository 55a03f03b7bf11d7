import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;

/** Classic groups as bytes on connections: the life of a group, what each request is told in each state, every version. */
final class GroupCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("groups/find coordinator", GroupCases::find);
        cases.put("groups/unknown group", GroupCases::unknown);
        cases.put("groups/life", GroupCases::life);
        cases.put("groups/wrong", GroupCases::wrong);
        cases.put("groups/old versions", GroupCases::old);
        cases.put("groups/protocols", GroupCases::protocols);
        cases.put("groups/static", GroupCases::statics);
        cases.put("groups/sessions end", GroupCases::sessions);
        cases.put("groups/admin", GroupCases::admin);
    }

    /** The ids the server gave, and what they are called in the output. */
    static final class Names {
        final Map<String, String> byId = new LinkedHashMap<>();

        String show(String text) {
            for (var entry : byId.entrySet()) {
                text = text.replace(entry.getKey(), entry.getValue());
            }
            return text.replaceAll("\"[a-z]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\"", "\"<new>\"");
        }
    }

    /** A member with a connection of its own. */
    static final class Member implements AutoCloseable {
        final Case c;
        final Names names;
        final String group;
        final String name;
        final Wire wire;
        String id = "";
        String instance;
        int generation = -1;
        int session = 10_000;
        int rebalance = 10_000;
        String type = "consumer";
        List<String> protocols = List.of("range");
        short version = 9;

        Member(Case c, Names names, String group, String name) throws Exception {
            this.c = c;
            this.names = names;
            this.group = group;
            this.name = name;
            this.wire = new Wire(c);
        }

        String show(ApiMessage response, int version) throws Exception {
            return WireCases.sorted(names.show(WireCases.json(response, (short) version)));
        }

        JoinGroupRequestData joinRequest() {
            var offered = new JoinGroupRequestData.JoinGroupRequestProtocolCollection();
            for (String protocol : protocols) {
                offered.add(new JoinGroupRequestData.JoinGroupRequestProtocol().setName(protocol).setMetadata(subscription(protocol)));
            }
            return new JoinGroupRequestData().setGroupId(group).setMemberId(id).setGroupInstanceId(instance).setSessionTimeoutMs(session)
                .setRebalanceTimeoutMs(rebalance).setProtocolType(type).setProtocols(offered);
        }

        /** What a consumer says: Apache Kafka's coordinator ends a rebalance in an error if it cannot read it. */
        private byte[] subscription(String protocol) {
            var said = new ConsumerProtocolSubscription().setTopics(List.of("grouped")).setUserData(ByteBuffer.wrap((protocol + " of " + name).getBytes()));
            ByteBuffer bytes = MessageUtil.toVersionPrefixedByteBuffer((short) 1, said);
            byte[] copy = new byte[bytes.remaining()];
            bytes.get(copy);
            return copy;
        }

        void sendJoin() throws Exception {
            wire.send(ApiKeys.JOIN_GROUP, version, joinRequest());
        }

        /** Waits for the answer to a join. */
        void joined(String what) throws Exception {
            var response = (JoinGroupResponseData) wire.receive(ApiKeys.JOIN_GROUP, version);
            if (!response.memberId().isEmpty() && !names.byId.containsKey(response.memberId())) {
                names.byId.put(response.memberId(), "<" + name + (names.byId.containsValue("<" + name + ">") ? " again" : "") + ">");
            }
            if (!response.memberId().isEmpty()) {
                id = response.memberId();
            }
            if (response.errorCode() == 0) {
                generation = response.generationId();
            }
            c.line(name + " " + what + ": " + show(response, version));
        }

        void join(String what) throws Exception {
            sendJoin();
            joined(what);
        }

        SyncGroupRequestData syncRequest(Member... assigned) {
            var assignments = new ArrayList<SyncGroupRequestData.SyncGroupRequestAssignment>();
            for (Member member : assigned) {
                assignments.add(new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(member.id).setAssignment(("for " + member.name).getBytes()));
            }
            var request = new SyncGroupRequestData().setGroupId(group).setMemberId(id).setGenerationId(generation).setAssignments(assignments);
            if (version >= 5) {
                request.setGroupInstanceId(instance);
            }
            return request.setProtocolType(type).setProtocolName(protocols.get(0));
        }

        short syncVersion() {
            return (short) Math.min(version, 5);
        }

        void sendSync(Member... assigned) throws Exception {
            wire.send(ApiKeys.SYNC_GROUP, syncVersion(), syncRequest(assigned));
        }

        void synced(String what) throws Exception {
            c.line(name + " " + what + ": " + show(wire.receive(ApiKeys.SYNC_GROUP, syncVersion()), syncVersion()));
        }

        void sync(String what, Member... assigned) throws Exception {
            sendSync(assigned);
            synced(what);
        }

        void call(String what, ApiKeys key, int version, ApiMessage request) {
            c.attempt(name + " " + what, () -> show(wire.call(key, version, request), version));
        }

        HeartbeatRequestData heartbeatRequest() {
            return new HeartbeatRequestData().setGroupId(group).setMemberId(id).setGenerationId(generation).setGroupInstanceId(instance);
        }

        void heartbeat(String what) {
            call(what, ApiKeys.HEARTBEAT, 4, heartbeatRequest());
        }

        void leave(String what) {
            var leaving = new LeaveGroupRequestData.MemberIdentity().setMemberId(id).setGroupInstanceId(instance);
            call(what, ApiKeys.LEAVE_GROUP, 5, new LeaveGroupRequestData().setGroupId(group).setMembers(List.of(leaving)));
        }

        OffsetCommitRequestData commitRequest(long offset) {
            var partition = new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(0).setCommittedOffset(offset)
                .setCommittedLeaderEpoch(3).setCommittedMetadata("from " + name);
            var topic = new OffsetCommitRequestData.OffsetCommitRequestTopic().setName("grouped").setPartitions(List.of(partition));
            return new OffsetCommitRequestData().setGroupId(group).setMemberId(id).setGenerationIdOrMemberEpoch(generation)
                .setGroupInstanceId(instance).setTopics(List.of(topic));
        }

        void commit(String what, long offset) {
            call(what, ApiKeys.OFFSET_COMMIT, 9, commitRequest(offset));
        }

        void describe(String what) {
            call(what, ApiKeys.DESCRIBE_GROUPS, 6, new DescribeGroupsRequestData().setGroups(List.of(group)));
        }

        void fetchOffsets(String what) {
            var asked = new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group).setTopics(null);
            call(what, ApiKeys.OFFSET_FETCH, 9, new OffsetFetchRequestData().setGroups(List.of(asked)).setRequireStable(true));
        }

        @Override
        public void close() throws Exception {
            wire.close();
        }
    }

    private static void prepare(Case c, String... groups) throws Exception {
        if (!c.admin.listTopics().names().get().contains("grouped")) {
            c.topic("grouped", 2);
        }
        for (String group : groups) {
            await(c, group);
        }
    }

    /** The coordinator is there; the first question makes the topic. */
    static void await(Case c, String group) throws Exception {
        for (int tries = 0; tries < 200; tries++) {
            try (Wire wire = new Wire(c)) {
                var asked = new FindCoordinatorRequestData().setKeyType((byte) 0).setCoordinatorKeys(List.of(group));
                var found = (FindCoordinatorResponseData) wire.call(ApiKeys.FIND_COORDINATOR, 5, asked);
                var listed = (ListGroupsResponseData) wire.call(ApiKeys.LIST_GROUPS, 5, new ListGroupsRequestData());
                if (found.coordinators().get(0).errorCode() == 0 && listed.errorCode() == 0) {
                    return;
                }
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException("no coordinator");
    }

    private static void find(Case c) throws Exception {
        await(c, "any");
        for (short version = 0; version <= 6; version++) {
            for (byte type = 0; type <= 2; type++) {
                if (type == 1 || version == 0 && type > 0 || type == 2 && version == 6) {
                    // Coordinators of transactions and shared partitions are another story.
                    continue;
                }
                var request = new FindCoordinatorRequestData().setKeyType(type);
                if (version < 4) {
                    request.setKey("any");
                } else {
                    request.setCoordinatorKeys(List.of("any", "other", ""));
                }
                short at = version;
                c.attempt("v" + version + " type " + type, () -> {
                    try (Wire wire = new Wire(c)) {
                        return WireCases.json(wire.call(ApiKeys.FIND_COORDINATOR, at, request), at);
                    }
                });
            }
        }
    }

    /** Every request of every version for a group that is not there, and for one without a name. */
    private static void unknown(Case c) throws Exception {
        prepare(c, "never-was", "");
        for (String group : List.of("never-was", "")) {
            Names names = new Names();
            try (Member m = new Member(c, names, group, "m(" + group + ")")) {
                m.id = "who";
                m.generation = 3;
                for (short v = 0; v <= 9; v++) {
                    m.version = v;
                    m.call("join v" + v, ApiKeys.JOIN_GROUP, v, m.joinRequest());
                }
                for (short v = 0; v <= 5; v++) {
                    m.version = v;
                    m.call("sync v" + v, ApiKeys.SYNC_GROUP, v, m.syncRequest());
                }
                for (short v = 0; v <= 4; v++) {
                    m.call("heartbeat v" + v, ApiKeys.HEARTBEAT, v, m.heartbeatRequest());
                }
                for (short v = 0; v <= 5; v++) {
                    var request = new LeaveGroupRequestData().setGroupId(group);
                    if (v < 3) {
                        request.setMemberId("who");
                    } else {
                        request.setMembers(List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId("who"),
                            new LeaveGroupRequestData.MemberIdentity().setMemberId("").setGroupInstanceId("i")));
                    }
                    m.call("leave v" + v, ApiKeys.LEAVE_GROUP, v, request);
                }
                for (short v = 0; v <= 6; v++) {
                    m.call("describe v" + v, ApiKeys.DESCRIBE_GROUPS, v,
                        new DescribeGroupsRequestData().setGroups(List.of(group)).setIncludeAuthorizedOperations(v >= 3));
                }
                for (short v = 0; v <= 2; v++) {
                    m.call("delete v" + v, ApiKeys.DELETE_GROUPS, v, new DeleteGroupsRequestData().setGroupsNames(List.of(group, group)));
                }
                for (short v = 2; v <= 9; v++) {
                    m.generation = 3;
                    m.call("commit of a member v" + v, ApiKeys.OFFSET_COMMIT, v, m.commitRequest(5));
                }
                m.call("delete offsets", ApiKeys.OFFSET_DELETE, 0, offsetDelete(group));
                fetchAll(m);
            }
        }
    }

    static OffsetDeleteRequestData offsetDelete(String group) {
        var partitions = new ArrayList<OffsetDeleteRequestData.OffsetDeleteRequestPartition>();
        for (int p : new int[] {0, 1, 9}) {
            partitions.add(new OffsetDeleteRequestData.OffsetDeleteRequestPartition().setPartitionIndex(p));
        }
        var topics = new OffsetDeleteRequestData.OffsetDeleteRequestTopicCollection();
        topics.add(new OffsetDeleteRequestData.OffsetDeleteRequestTopic().setName("grouped").setPartitions(partitions));
        topics.add(new OffsetDeleteRequestData.OffsetDeleteRequestTopic().setName("never-was").setPartitions(partitions));
        return new OffsetDeleteRequestData().setGroupId(group).setTopics(topics);
    }

    /** OffsetFetch in all versions, of some partitions and of everything. */
    static void fetchAll(Member m) throws Exception {
        Uuid grouped = m.c.admin.describeTopics(List.of("grouped")).allTopicNames().get().get("grouped").topicId();
        m.names.byId.put(grouped.toString(), "<grouped>");
        for (short v = 1; v <= 10; v++) {
            for (boolean everything : new boolean[] {false, true}) {
                if (everything && v < 2) {
                    continue;
                }
                var request = new OffsetFetchRequestData().setRequireStable(v >= 7 && everything);
                if (v < 8) {
                    request.setGroupId(m.group);
                    request.setTopics(everything ? null : List.of(
                        new OffsetFetchRequestData.OffsetFetchRequestTopic().setName("grouped").setPartitionIndexes(List.of(0, 1, 7)),
                        new OffsetFetchRequestData.OffsetFetchRequestTopic().setName("never-was").setPartitionIndexes(List.of(0))));
                } else {
                    var known = new OffsetFetchRequestData.OffsetFetchRequestTopics().setPartitionIndexes(List.of(0, 1, 7));
                    var other = new OffsetFetchRequestData.OffsetFetchRequestTopics().setPartitionIndexes(List.of(0));
                    if (v < 10) {
                        known.setName("grouped");
                        other.setName("never-was");
                    } else {
                        known.setTopicId(grouped);
                        other.setTopicId(new Uuid(3, 4));
                    }
                    var group = new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(m.group).setTopics(everything ? null : List.of(known, other));
                    var second = new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(m.group + "-second").setTopics(everything ? null : List.of(known));
                    request.setGroups(List.of(group, second));
                }
                m.call("fetch v" + v + (everything ? " everything" : ""), ApiKeys.OFFSET_FETCH, v, request);
            }
        }
    }

    private static void life(Case c) throws Exception {
        prepare(c, "life");
        Names names = new Names();
        try (Member a = new Member(c, names, "life", "a"); Member b = new Member(c, names, "life", "b"); Member s = new Member(c, names, "life", "s")) {
            a.join("without an id");
            a.describe("with one who has only an id");
            a.heartbeat("before it has joined");
            a.join("with its id");
            a.describe("completing");
            a.heartbeat("completing");
            a.commit("completing", 1);
            a.sync("as leader", a);
            a.describe("stable");
            a.commit("stable", 2);
            s.commit("from outside", 3);
            s.fetchOffsets("from outside");
            a.join("leader again");
            a.sync("again", a);
            b.join("without an id");
            b.sendJoin();
            Thread.sleep(200);
            a.heartbeat("while b joins");
            a.describe("preparing");
            a.commit("preparing", 4);
            a.call("sync preparing", ApiKeys.SYNC_GROUP, 5, a.syncRequest(a));
            a.sendJoin();
            a.joined("with b");
            b.joined("with a");
            b.sendSync();
            Thread.sleep(100);
            a.sync("for both", a, b);
            b.synced("from a");
            a.describe("stable with two");
            b.sync("again while stable");
            b.join("follower again, unchanged");
            b.commit("b stable", 5);
            a.leave("leaves");
            b.heartbeat("after a left");
            b.join("after a left");
            b.describe("b alone completing");
            b.sync("b alone", b);
            b.leave("leaves");
            b.describe("empty");
            b.heartbeat("after it left");
            b.commit("after it left", 6);
            s.commit("from outside, empty", 7);
            s.fetchOffsets("at the end");
        }
    }

    private static void wrong(Case c) throws Exception {
        prepare(c, "wrong");
        Names names = new Names();
        try (Member a = new Member(c, names, "wrong", "a"); Member x = new Member(c, names, "wrong", "x")) {
            x.session = 5;
            x.call("session too short", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.session = 99_999_999;
            x.call("session too long", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.session = 10_000;
            x.type = "";
            x.call("no type", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.type = "consumer";
            x.protocols = List.of();
            x.call("no protocols", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.protocols = List.of("range");
            a.join("id");
            a.join("joins");
            a.sync("syncs", a);
            x.type = "connect";
            x.call("other type", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.type = "consumer";
            x.protocols = List.of("other");
            x.call("other protocol", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.protocols = List.of("range");
            x.id = "who";
            x.generation = a.generation;
            x.call("unknown member joins", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.call("unknown member syncs", ApiKeys.SYNC_GROUP, 5, x.syncRequest());
            x.heartbeat("unknown member beats");
            x.commit("unknown member commits", 1);
            x.leave("unknown member leaves");
            x.instance = "i";
            x.call("unknown instance joins", ApiKeys.JOIN_GROUP, 9, x.joinRequest());
            x.call("unknown instance syncs", ApiKeys.SYNC_GROUP, 5, x.syncRequest());
            x.heartbeat("unknown instance beats");
            x.commit("unknown instance commits", 1);
            x.leave("unknown instance leaves");
            int right = a.generation;
            for (int generation : new int[] {right - 1, right + 1, -1}) {
                a.generation = generation;
                a.call("sync with generation " + (generation - right), ApiKeys.SYNC_GROUP, 5, a.syncRequest());
                a.heartbeat("beat with generation " + (generation < 0 ? "none" : generation - right));
                a.commit("commit with generation " + (generation < 0 ? "none" : generation - right), 1);
            }
            a.generation = right;
            a.call("sync with another type", ApiKeys.SYNC_GROUP, 5, a.syncRequest().setProtocolType("connect"));
            a.call("sync with another protocol", ApiKeys.SYNC_GROUP, 5, a.syncRequest().setProtocolName("other"));
            a.call("sync without a type", ApiKeys.SYNC_GROUP, 5, a.syncRequest().setProtocolType(null));
            a.call("sync without a protocol v4", ApiKeys.SYNC_GROUP, 4, a.syncRequest().setProtocolName(null));
            a.call("metadata too large", ApiKeys.OFFSET_COMMIT, 9, large(a, 4097));
            a.call("metadata just fits", ApiKeys.OFFSET_COMMIT, 9, large(a, 4096));
            a.call("delete while stable", ApiKeys.DELETE_GROUPS, 2, new DeleteGroupsRequestData().setGroupsNames(List.of("wrong", "never-was", "wrong")));
            a.call("delete offsets while stable", ApiKeys.OFFSET_DELETE, 0, offsetDelete("wrong"));
            a.leave("leaves");
        }
    }

    private static OffsetCommitRequestData large(Member m, int size) {
        var request = m.commitRequest(9);
        request.topics().get(0).partitions().get(0).setCommittedMetadata("\u00e9".repeat(size));
        return request;
    }

    /** Each version of JoinGroup and SyncGroup through one generation, and commits in all versions. */
    private static void old(Case c) throws Exception {
        prepare(c, "old");
        Uuid grouped = c.admin.describeTopics(List.of("grouped")).allTopicNames().get().get("grouped").topicId();
        for (short version = 0; version <= 9; version++) {
            Names names = new Names();
            names.byId.put(grouped.toString(), "<grouped>");
            try (Member m = new Member(c, names, "old", "v" + version)) {
                m.version = version;
                if (version >= 4) {
                    m.join("id");
                }
                m.join("joins");
                m.sync("syncs", m);
                for (short v = 2; v <= 10; v++) {
                    var request = m.commitRequest(v);
                    var partitions = new ArrayList<>(request.topics().get(0).partitions());
                    partitions.add(partitions.get(0).duplicate().setPartitionIndex(1).setCommittedMetadata(null));
                    partitions.add(partitions.get(0).duplicate().setPartitionIndex(9));
                    var known = request.topics().get(0).setPartitions(partitions);
                    var other = new OffsetCommitRequestData.OffsetCommitRequestTopic().setName("never-was").setPartitions(List.of(partitions.get(0).duplicate()));
                    if (v >= 10) {
                        known.setName("").setTopicId(grouped);
                        other.setName("").setTopicId(new Uuid(3, 4));
                    }
                    if (v >= 2 && v <= 4) {
                        request.setRetentionTimeMs(1_000_000);
                    }
                    m.call("commits v" + v, ApiKeys.OFFSET_COMMIT, v, request.setTopics(List.of(known, other)));
                }
                if (version == 9) {
                    fetchAll(m);
                }
                var leave = new LeaveGroupRequestData().setGroupId("old");
                short at = (short) Math.min(version, 5);
                if (at < 3) {
                    leave.setMemberId(m.id);
                } else {
                    leave.setMembers(List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId(m.id)));
                }
                m.call("leaves", ApiKeys.LEAVE_GROUP, at, leave);
            }
        }
    }

    private static void protocols(Case c) throws Exception {
        prepare(c, "protocols");
        Names names = new Names();
        try (Member a = new Member(c, names, "protocols", "a"); Member b = new Member(c, names, "protocols", "b"); Member d = new Member(c, names, "protocols", "d")) {
            a.protocols = List.of("roundrobin", "range", "cooperative-sticky");
            b.protocols = List.of("range", "roundrobin");
            d.protocols = List.of("cooperative-sticky", "roundrobin");
            a.join("id");
            b.join("id");
            a.sendJoin();
            Thread.sleep(50);
            b.sendJoin();
            a.joined("with b, one vote each");
            b.joined("with a");
            d.join("id");
            d.sendJoin();
            Thread.sleep(100);
            a.sendJoin();
            Thread.sleep(50);
            b.sendJoin();
            a.joined("with d, only one is left");
            b.joined("with d");
            d.joined("with a and b");
            a.describe("the three");
            b.leave("leaves");
            a.leave("leaves");
            d.leave("leaves");
        }
    }

    private static void statics(Case c) throws Exception {
        prepare(c, "static");
        Names names = new Names();
        try (Member a = new Member(c, names, "static", "a"); Member b = new Member(c, names, "static", "b")) {
            a.instance = "one";
            b.instance = "two";
            a.sendJoin();
            Thread.sleep(50);
            b.sendJoin();
            a.joined("first");
            b.joined("second");
            b.sendSync();
            Thread.sleep(50);
            a.sync("for both", a, b);
            b.synced("from a");
            a.describe("stable");
            try (Member again = new Member(c, names, "static", "b2")) {
                again.instance = "two";
                again.join("comes back without its id");
                b.heartbeat("the one before");
                b.commit("the one before", 1);
                b.call("sync of the one before", ApiKeys.SYNC_GROUP, 5, b.syncRequest());
                b.call("join of the one before", ApiKeys.JOIN_GROUP, 9, b.joinRequest());
                b.leave("the one before leaves");
                again.sync("gets what it had");
                again.heartbeat("beats");
                again.commit("commits", 2);
            }
            try (Member leader = new Member(c, names, "static", "a2")) {
                leader.instance = "one";
                leader.join("the leader comes back without its id");
                leader.describe("after the leader came back");
                leader.version = 8;
                leader.id = "";
                leader.join("once more, in version 8");
            }
            try (Member other = new Member(c, names, "static", "b3")) {
                other.instance = "two";
                other.protocols = List.of("roundrobin", "range");
                other.join("comes back with more protocols");
            }
            var byInstance = new LeaveGroupRequestData.MemberIdentity().setMemberId("").setGroupInstanceId("two").setReason("test");
            var unknown = new LeaveGroupRequestData.MemberIdentity().setMemberId("").setGroupInstanceId("three");
            var one = new LeaveGroupRequestData.MemberIdentity().setMemberId("").setGroupInstanceId("one");
            a.call("an administrator removes them", ApiKeys.LEAVE_GROUP, 5, new LeaveGroupRequestData().setGroupId("static").setMembers(List.of(byInstance, unknown, one)));
            a.describe("at the end");
        }
    }

    private static void sessions(Case c) throws Exception {
        prepare(c, "sessions");
        Names names = new Names();
        try (Member a = new Member(c, names, "sessions", "a"); Member b = new Member(c, names, "sessions", "b")) {
            a.session = b.session = 6_000;
            a.join("id");
            b.join("id");
            a.sendJoin();
            Thread.sleep(50);
            b.sendJoin();
            a.joined("joins");
            b.joined("joins");
            b.sendSync();
            Thread.sleep(50);
            a.sync("syncs", a, b);
            b.synced("from a");
            for (int second = 0; second < 4; second++) {
                Thread.sleep(1500);
                a.heartbeat("beats");
            }
            Thread.sleep(1500);
            a.heartbeat("b is gone");
            a.join("alone");
            a.sync("alone", a);
            b.heartbeat("b comes late");
            a.leave("leaves");
        }
    }

    private static void admin(Case c) throws Exception {
        prepare(c, "admin-1", "admin-2");
        Names names = new Names();
        try (Member a = new Member(c, names, "admin-1", "a"); Member outside = new Member(c, names, "admin-2", "outside")) {
            outside.commit("makes a simple group", 11);
            outside.describe("a simple group");
            a.join("id");
            a.join("joins");
            a.sync("syncs", a);
            a.commit("commits", 12);
            for (short v = 0; v <= 5; v++) {
                a.call("list v" + v, ApiKeys.LIST_GROUPS, v, new ListGroupsRequestData());
            }
            for (var states : List.of(List.of("Stable"), List.of("empty", "nothing"), List.of("Dead"))) {
                a.call("list " + states, ApiKeys.LIST_GROUPS, 4, new ListGroupsRequestData().setStatesFilter(states));
            }
            for (var types : List.of(List.of("classic"), List.of("Consumer"), List.of("nothing"))) {
                a.call("list " + types, ApiKeys.LIST_GROUPS, 5, new ListGroupsRequestData().setTypesFilter(types));
            }
            for (short v = 0; v <= 6; v++) {
                a.call("describe v" + v, ApiKeys.DESCRIBE_GROUPS, v, new DescribeGroupsRequestData().setGroups(List.of("admin-1", "admin-2", "never-was"))
                    .setIncludeAuthorizedOperations(v >= 3));
            }
            a.leave("leaves");
            a.call("delete offsets", ApiKeys.OFFSET_DELETE, 0, offsetDelete("admin-1"));
            a.fetchOffsets("after the deletion");
            a.call("delete groups", ApiKeys.DELETE_GROUPS, 2, new DeleteGroupsRequestData().setGroupsNames(List.of("admin-1", "admin-2", "never-was")));
            a.describe("after it was deleted");
            outside.fetchOffsets("after it was deleted");
        }
    }
}
