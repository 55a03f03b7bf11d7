import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/** Each API key at each of its versions, as bytes on a connection; and bytes that are no request. */
final class WireCases {
    /** The APIs of one node without the newer groups. */
    static final List<ApiKeys> SERVED = List.of(
        ApiKeys.PRODUCE, ApiKeys.FETCH, ApiKeys.LIST_OFFSETS, ApiKeys.METADATA, ApiKeys.API_VERSIONS, ApiKeys.CREATE_TOPICS,
        ApiKeys.DELETE_TOPICS, ApiKeys.DELETE_RECORDS, ApiKeys.INIT_PRODUCER_ID, ApiKeys.OFFSET_FOR_LEADER_EPOCH, ApiKeys.DESCRIBE_CONFIGS,
        ApiKeys.ALTER_CONFIGS, ApiKeys.DESCRIBE_LOG_DIRS, ApiKeys.CREATE_PARTITIONS, ApiKeys.INCREMENTAL_ALTER_CONFIGS,
        ApiKeys.DESCRIBE_QUORUM, ApiKeys.UPDATE_FEATURES, ApiKeys.DESCRIBE_CLUSTER, ApiKeys.DESCRIBE_PRODUCERS, ApiKeys.UNREGISTER_BROKER,
        ApiKeys.LIST_CONFIG_RESOURCES, ApiKeys.DESCRIBE_TOPIC_PARTITIONS, ApiKeys.FIND_COORDINATOR, ApiKeys.JOIN_GROUP, ApiKeys.SYNC_GROUP,
        ApiKeys.HEARTBEAT, ApiKeys.LEAVE_GROUP, ApiKeys.OFFSET_COMMIT, ApiKeys.OFFSET_FETCH, ApiKeys.OFFSET_DELETE, ApiKeys.LIST_GROUPS,
        ApiKeys.DESCRIBE_GROUPS, ApiKeys.DELETE_GROUPS, ApiKeys.ADD_PARTITIONS_TO_TXN, ApiKeys.ADD_OFFSETS_TO_TXN, ApiKeys.END_TXN,
        ApiKeys.WRITE_TXN_MARKERS, ApiKeys.TXN_OFFSET_COMMIT, ApiKeys.DESCRIBE_TRANSACTIONS, ApiKeys.LIST_TRANSACTIONS);

    /** Values that are a server's own: an id, a time, a size on its disk. */
    private static final Set<String> OWN = Set.of(
        "topicId", "finalizedFeaturesEpoch", "producerId", "totalBytes", "usableBytes", "sessionId", "lastFetchTimestamp", "lastCaughtUpTimestamp",
        "replicaDirectoryId", "leaderEpochOfQuorum", "logAppendTimeMs", "inter.broker.protocol.version", "isCordoned");

    static void add(Map<String, Case.Body> cases) {
        cases.put("wire/api versions", WireCases::apiVersions);
        cases.put("wire/unsupported versions", WireCases::unsupported);
        cases.put("wire/metadata", c -> all(c, ApiKeys.METADATA, WireCases::metadata));
        cases.put("wire/list offsets", c -> all(c, ApiKeys.LIST_OFFSETS, WireCases::listOffsets));
        cases.put("wire/create topics", c -> all(c, ApiKeys.CREATE_TOPICS, WireCases::createTopics));
        cases.put("wire/create partitions", c -> all(c, ApiKeys.CREATE_PARTITIONS, WireCases::createPartitions));
        cases.put("wire/delete topics", c -> all(c, ApiKeys.DELETE_TOPICS, WireCases::deleteTopics));
        cases.put("wire/delete records", c -> all(c, ApiKeys.DELETE_RECORDS, WireCases::deleteRecords));
        cases.put("wire/init producer id", c -> all(c, ApiKeys.INIT_PRODUCER_ID, v -> new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60000)));
        cases.put("wire/offset for leader epoch", c -> all(c, ApiKeys.OFFSET_FOR_LEADER_EPOCH, WireCases::offsetForLeaderEpoch));
        cases.put("wire/describe configs", c -> all(c, ApiKeys.DESCRIBE_CONFIGS, WireCases::describeConfigs));
        cases.put("wire/alter configs", c -> all(c, ApiKeys.ALTER_CONFIGS, WireCases::alterConfigs));
        cases.put("wire/incremental alter configs", c -> all(c, ApiKeys.INCREMENTAL_ALTER_CONFIGS, WireCases::incrementalAlterConfigs));
        cases.put("wire/describe cluster", c -> all(c, ApiKeys.DESCRIBE_CLUSTER, v -> new DescribeClusterRequestData().setIncludeClusterAuthorizedOperations(true)));
        cases.put("wire/describe cluster of controllers", c -> all(c, ApiKeys.DESCRIBE_CLUSTER, v -> new DescribeClusterRequestData().setEndpointType((byte) 2)));
        cases.put("wire/describe quorum", WireCases::describeQuorum);
        cases.put("wire/list config resources", WireCases::listConfigResources);
        cases.put("wire/describe topic partitions", c -> all(c, ApiKeys.DESCRIBE_TOPIC_PARTITIONS, WireCases::describeTopicPartitions));
        cases.put("wire/describe producers", c -> all(c, ApiKeys.DESCRIBE_PRODUCERS, WireCases::describeProducers));
        cases.put("wire/describe log dirs", c -> all(c, ApiKeys.DESCRIBE_LOG_DIRS, WireCases::describeLogDirs));
        cases.put("wire/update features", c -> all(c, ApiKeys.UPDATE_FEATURES, WireCases::updateFeatures));
        cases.put("wire/unregister broker", c -> all(c, ApiKeys.UNREGISTER_BROKER, v -> new UnregisterBrokerRequestData().setBrokerId(44)));
        cases.put("wire/fetch", c -> all(c, ApiKeys.FETCH, v -> fetch(c, v)));
        cases.put("wire/fetch order", WireCases::fetchOrder);
        cases.put("wire/produce", c -> all(c, ApiKeys.PRODUCE, v -> produce(c, v)));
        cases.put("wire/bad bytes", WireCases::badBytes);
        cases.put("wire/pipelined", WireCases::pipelined);
    }

    interface Request {
        ApiMessage at(short version) throws Exception;
    }

    private static void prepare(Case c) throws Exception {
        if (!c.admin.listTopics().names().get().contains("wire")) {
            c.topic("wire", 2);
            ProduceCases.fill(c, "wire", 0, 10, "none");
        }
    }

    private static void all(Case c, ApiKeys key, Request request) throws Exception {
        prepare(c);
        for (short version : key.allVersions()) {
            if (version > key.latestVersion(false)) {
                continue;
            }
            c.attempt("v" + version, () -> {
                try (Wire wire = new Wire(c)) {
                    return json(wire.call(key, version, request.at(version)), version);
                }
            });
        }
    }

    static String json(ApiMessage response, short version) throws Exception {
        Class<?> converter = Class.forName(response.getClass().getName() + "JsonConverter");
        for (var method : converter.getMethods()) {
            if (method.getName().equals("write") && method.getParameterCount() == 2) {
                JsonNode node = (JsonNode) method.invoke(null, response, version);
                normalise(node);
                return node.toString();
            }
        }
        throw new IllegalStateException("no converter for " + response.getClass());
    }

    /** Puts the items of all arrays in order again, after what they hold was given other names. */
    static String sorted(String json) throws Exception {
        JsonNode node = new com.fasterxml.jackson.databind.ObjectMapper().readTree(json);
        normalise(node);
        return node.toString();
    }

    private static void normalise(JsonNode node) {
        if (node instanceof ObjectNode object) {
            List<String> names = new ArrayList<>();
            object.fieldNames().forEachRemaining(names::add);
            for (String name : names) {
                if (OWN.contains(name)) {
                    String zero = object.get(name).asText();
                    boolean none = zero.equals("0") || zero.equals("-1") || zero.equals(Uuid.ZERO_UUID.toString());
                    object.put(name, none ? "none" : "some");
                } else {
                    normalise(object.get(name));
                }
            }
        } else if (node instanceof ArrayNode array) {
            array.forEach(WireCases::normalise);
            List<JsonNode> items = new ArrayList<>();
            array.forEach(items::add);
            items.sort(Comparator.comparing(JsonNode::toString));
            array.removeAll();
            array.addAll(items);
        }
    }

    private static void apiVersions(Case c) throws Exception {
        for (short version : ApiKeys.API_VERSIONS.allVersions()) {
            var request = new ApiVersionsRequestData().setClientSoftwareName("wire").setClientSoftwareVersion("1");
            try (Wire wire = new Wire(c)) {
                var response = (ApiVersionsResponseData) wire.call(ApiKeys.API_VERSIONS, version, request);
                c.line("v" + version + " error " + response.errorCode() + " throttle " + response.throttleTimeMs());
                for (ApiKeys key : SERVED) {
                    var found = response.apiKeys().find(key.id);
                    c.line(" " + key.name + " " + (found == null ? "absent" : found.minVersion() + "-" + found.maxVersion()));
                }
                response.setApiKeys(new ApiVersionsResponseData.ApiVersionCollection());
                c.line(json(response, version));
            }
        }
        var nameless = new ApiVersionsRequestData().setClientSoftwareName("not a name!").setClientSoftwareVersion("");
        try (Wire wire = new Wire(c)) {
            c.line("bad name: " + ((ApiVersionsResponseData) wire.call(ApiKeys.API_VERSIONS, 3, nameless)).errorCode());
        }
    }

    private static void unsupported(Case c) throws Exception {
        // An ApiVersions request of a version to come is answered at version 0, so that the client can find a version.
        try (Wire wire = new Wire(c)) {
            ByteBuffer frame = ByteBuffer.allocate(15).putInt(11).putShort((short) 18).putShort((short) 99).putInt(7).putShort((short) -1);
            wire.raw(frame.array());
            ByteBuffer answer = ByteBuffer.wrap(wire.frame());
            c.line("ApiVersions v99: correlation " + answer.getInt() + " error " + answer.getShort() + " keys " + (answer.getInt() > 0));
        }
        for (int[] each : new int[][] {{3, 99}, {0, 2}, {1, 3}, {3, -1}, {999, 0}, {-5, 0}, {19, 1}, {0, 99}}) {
            try (Wire wire = new Wire(c)) {
                ByteBuffer frame = ByteBuffer.allocate(14).putInt(10).putShort((short) each[0]).putShort((short) each[1]).putInt(7).putShort((short) -1);
                wire.raw(frame.array());
                c.line("key " + each[0] + " version " + each[1] + " " + wire.afterwards());
            }
        }
    }

    private static ApiMessage metadata(short version) {
        var topics = new ArrayList<MetadataRequestData.MetadataRequestTopic>();
        for (String name : List.of("wire", "never-was", "not valid")) {
            topics.add(new MetadataRequestData.MetadataRequestTopic().setName(name));
        }
        var request = new MetadataRequestData().setTopics(topics);
        if (version >= 4) {
            request.setAllowAutoTopicCreation(false);
        } else {
            topics.remove(1);
        }
        if (version >= 8) {
            request.setIncludeTopicAuthorizedOperations(true);
        }
        if (version >= 8 && version <= 10) {
            request.setIncludeClusterAuthorizedOperations(true);
        }
        if (version >= 12) {
            topics.add(new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(new Uuid(3, 4)));
        }
        return request;
    }

    private static ApiMessage listOffsets(short version) {
        var topic = new ListOffsetsRequestData.ListOffsetsTopic().setName("wire");
        long[] times = {-1, -2, version >= 7 ? -3 : -1, ProduceCases.DAY_0 + 25};
        for (long time : times) {
            topic.partitions().add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(0).setTimestamp(time));
        }
        topic.setPartitions(topic.partitions().subList((version % 4), (version % 4) + 1));
        topic.partitions().add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(9).setTimestamp(-1));
        var unknown = new ListOffsetsRequestData.ListOffsetsTopic().setName("never-was");
        unknown.partitions().add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(0).setTimestamp(-1));
        if (version >= 4) {
            topic.partitions().add(new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(1).setTimestamp(-1).setCurrentLeaderEpoch(9));
        }
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(topic, unknown));
    }

    private static ApiMessage createTopics(short version) {
        var topics = new CreateTopicsRequestData.CreatableTopicCollection();
        topics.add(new CreateTopicsRequestData.CreatableTopic().setName("wire-created-" + version).setNumPartitions(2).setReplicationFactor((short) 1));
        topics.add(new CreateTopicsRequestData.CreatableTopic().setName("wire").setNumPartitions(2).setReplicationFactor((short) 1));
        topics.add(new CreateTopicsRequestData.CreatableTopic().setName("not valid").setNumPartitions(2).setReplicationFactor((short) 1));
        for (int twice = 0; twice < 2; twice++) {
            topics.mustAdd(new CreateTopicsRequestData.CreatableTopic().setName("wire-twice").setNumPartitions(1 + twice).setReplicationFactor((short) 1));
        }
        return new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(5000);
    }

    private static ApiMessage createPartitions(short version) {
        var topics = new CreatePartitionsRequestData.CreatePartitionsTopicCollection();
        for (String name : List.of("wire", "never-was")) {
            topics.add(new CreatePartitionsRequestData.CreatePartitionsTopic().setName(name).setCount(2).setAssignments(null));
        }
        return new CreatePartitionsRequestData().setTopics(topics).setTimeoutMs(5000);
    }

    private static ApiMessage deleteTopics(short version) {
        var request = new DeleteTopicsRequestData().setTimeoutMs(5000);
        List<String> names = List.of("never-was", "wire-created-" + version, "not valid");
        if (version < 6) {
            return request.setTopicNames(names);
        }
        for (String name : names) {
            request.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(name));
        }
        request.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(null).setTopicId(new Uuid(5, 6)));
        return request;
    }

    private static ApiMessage deleteRecords(short version) {
        var request = new DeleteRecordsRequestData().setTimeoutMs(5000);
        for (String name : List.of("wire", "never-was")) {
            var topic = new DeleteRecordsRequestData.DeleteRecordsTopic().setName(name);
            for (int partition : new int[] {1, 9}) {
                topic.partitions().add(new DeleteRecordsRequestData.DeleteRecordsPartition().setPartitionIndex(partition).setOffset(partition == 1 ? 0 : 5));
            }
            request.topics().add(topic);
        }
        return request;
    }

    private static ApiMessage offsetForLeaderEpoch(short version) {
        var request = new OffsetForLeaderEpochRequestData().setReplicaId(-1);
        for (String name : List.of("wire", "never-was")) {
            var topic = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic(name);
            for (int epoch : new int[] {0, 5}) {
                topic.partitions().add(new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(epoch == 0 ? 0 : 1).setLeaderEpoch(epoch).setCurrentLeaderEpoch(-1));
            }
            request.topics().add(topic);
        }
        return request;
    }

    private static ApiMessage describeConfigs(short version) {
        var request = new DescribeConfigsRequestData().setIncludeSynonyms(true);
        request.resources().add(new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) 2).setResourceName("wire")
            .setConfigurationKeys(List.of("retention.ms", "no.such.config", "cleanup.policy")));
        request.resources().add(new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) 2).setResourceName("never-was").setConfigurationKeys(null));
        request.resources().add(new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) 77).setResourceName("x").setConfigurationKeys(null));
        return request;
    }

    private static ApiMessage alterConfigs(short version) {
        var request = new AlterConfigsRequestData().setValidateOnly(version == 1);
        for (String name : List.of("wire", "never-was")) {
            var resource = new AlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) 2).setResourceName(name);
            resource.configs().add(new AlterConfigsRequestData.AlterableConfig().setName("flush.ms").setValue("77777"));
            request.resources().add(resource);
        }
        return request;
    }

    private static ApiMessage incrementalAlterConfigs(short version) {
        var request = new IncrementalAlterConfigsRequestData();
        for (String name : List.of("wire", "never-was")) {
            var resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) 2).setResourceName(name);
            resource.configs().add(new IncrementalAlterConfigsRequestData.AlterableConfig().setName("flush.ms").setConfigOperation((byte) 1).setValue(null));
            request.resources().add(resource);
        }
        return request;
    }

    private static ApiMessage describeTopicPartitions(short version) {
        var request = new DescribeTopicPartitionsRequestData().setResponsePartitionLimit(2);
        for (String name : List.of("never-was", "not valid", "wire", "wire-twice")) {
            request.topics().add(new DescribeTopicPartitionsRequestData.TopicRequest().setName(name));
        }
        return request.setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName("wire").setPartitionIndex(1));
    }

    private static ApiMessage describeProducers(short version) {
        var request = new DescribeProducersRequestData();
        request.topics().add(new DescribeProducersRequestData.TopicRequest().setName("wire").setPartitionIndexes(List.of(1, 9)));
        request.topics().add(new DescribeProducersRequestData.TopicRequest().setName("never-was").setPartitionIndexes(List.of(0)));
        return request;
    }

    private static ApiMessage describeLogDirs(short version) {
        var topics = new DescribeLogDirsRequestData.DescribableLogDirTopicCollection();
        topics.add(new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic("wire").setPartitions(List.of(0, 1, 9)));
        return new DescribeLogDirsRequestData().setTopics(topics);
    }

    private static ApiMessage updateFeatures(short version) {
        var updates = new UpdateFeaturesRequestData.FeatureUpdateKeyCollection();
        updates.add(new UpdateFeaturesRequestData.FeatureUpdateKey().setFeature("no.such.feature").setMaxVersionLevel((short) 3));
        return new UpdateFeaturesRequestData().setFeatureUpdates(updates);
    }

    private static void describeQuorum(Case c) throws Exception {
        for (String topic : List.of("__cluster_metadata", "wire")) {
            for (int index : new int[] {0, 3}) {
                for (short version : ApiKeys.DESCRIBE_QUORUM.allVersions()) {
                    var data = new DescribeQuorumRequestData.PartitionData().setPartitionIndex(index);
                    var request = new DescribeQuorumRequestData();
                    request.topics().add(new DescribeQuorumRequestData.TopicData().setTopicName(topic).setPartitions(List.of(data)));
                    c.attempt(topic + "-" + index + " v" + version, () -> {
                        try (Wire wire = new Wire(c)) {
                            var response = (DescribeQuorumResponseData) wire.call(ApiKeys.DESCRIBE_QUORUM, version, request);
                            for (var found : response.topics().stream().flatMap(t -> t.partitions().stream()).toList()) {
                                // The log of the metadata grows as each server likes: positive or not is what is compared.
                                found.setLeaderEpoch(Integer.signum(found.leaderEpoch())).setHighWatermark(Long.signum(found.highWatermark()));
                                for (var replicas : List.of(found.currentVoters(), found.observers())) {
                                    replicas.forEach(r -> r.setLogEndOffset(Long.signum(r.logEndOffset())));
                                }
                            }
                            return json(response, version);
                        }
                    });
                }
            }
        }
    }

    private static void listConfigResources(Case c) throws Exception {
        for (short version : ApiKeys.LIST_CONFIG_RESOURCES.allVersions()) {
            for (List<Byte> types : List.of(List.<Byte>of(), List.of((byte) 4), List.of((byte) 8), List.of((byte) 16, (byte) 32), List.of((byte) 77), List.of((byte) 4, (byte) 0))) {
                if (types.isEmpty() && version > 0) {
                    continue;
                }
                c.attempt("v" + version + " " + types, () -> {
                    try (Wire wire = new Wire(c)) {
                        return json(wire.call(ApiKeys.LIST_CONFIG_RESOURCES, version, new ListConfigResourcesRequestData().setResourceTypes(types)), version);
                    }
                });
            }
        }
    }

    static Uuid topicId(Case c, String topic) throws Exception {
        return c.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
    }

    private static ApiMessage fetch(Case c, short version) throws Exception {
        var request = new FetchRequestData().setMaxWaitMs(100).setMinBytes(1).setMaxBytes(1 << 20);
        if (version >= 7) {
            request.setSessionId(0).setSessionEpoch(-1);
        }
        for (String name : List.of("wire", "never-was")) {
            var topic = new FetchRequestData.FetchTopic();
            if (version >= 13) {
                topic.setTopicId(name.equals("wire") ? topicId(c, name) : new Uuid(8, 8));
            } else {
                topic.setTopic(name);
            }
            for (int partition : new int[] {0, 1, 9}) {
                topic.partitions().add(new FetchRequestData.FetchPartition().setPartition(partition).setFetchOffset(partition == 1 ? 77 : 3).setPartitionMaxBytes(1 << 20));
            }
            request.topics().add(topic);
        }
        return request;
    }

    /** The order in which what is there and what is not is answered; elsewhere arrays are compared sorted. */
    private static void fetchOrder(Case c) throws Exception {
        prepare(c);
        Uuid id = topicId(c, "wire");
        for (short version : new short[] {4, 12, 13, 18}) {
            try (Wire wire = new Wire(c)) {
                var response = (FetchResponseData) wire.call(ApiKeys.FETCH, version, fetch(c, version));
                for (var topic : response.responses()) {
                    String name = version < 13 ? topic.topic() : topic.topicId().equals(id) ? "wire" : "unknown id";
                    c.line("v" + version + " " + name + " " + topic.partitions().stream().map(p -> p.partitionIndex() + ":" + p.errorCode()).toList());
                }
            }
        }
    }

    private static ApiMessage produce(Case c, short version) throws Exception {
        if (!c.admin.listTopics().names().get().contains("wire-produced")) {
            c.topic("wire-produced", 1);
        }
        return SequenceCases.produce(c, version, "wire-produced", SequenceCases.batch(-1, (short) -1, -1, 3));
    }

    private static void badBytes(Case c) throws Exception {
        byte[][] tries = {
            {0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff}, {(byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff}, {0, 0, 0, 0}, {0, 0, 0, 2, 0, 18},
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(), {0, 0, 0, 12, 0, 3, 0, 9, 0, 0, 0, 1, 0, 99, 1, 2},
            {0, 0, 0, 14, 0, 19, 0, 2, 0, 0, 0, 1, (byte) 0xff, (byte) 0xff, 0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff},
        };
        for (byte[] bytes : tries) {
            try (Wire wire = new Wire(c)) {
                wire.raw(bytes);
                c.line(Case.hex(bytes) + " " + wire.afterwards());
            }
        }
        c.line("still serving: " + (c.admin.describeCluster().clusterId().get() != null));
    }

    private static void pipelined(Case c) throws Exception {
        prepare(c);
        try (Wire wire = new Wire(c)) {
            int count = 50;
            for (int n = 0; n < count; n++) {
                wire.send(ApiKeys.METADATA, (short) 12, metadata((short) 12));
            }
            List<Integer> order = new ArrayList<>();
            for (int n = 0; n < count; n++) {
                order.add(ByteBuffer.wrap(wire.frame()).getInt());
            }
            c.line("answered in order " + order);
        }
    }
}
