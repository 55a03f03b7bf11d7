import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
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
 * What a server says of itself, in sections of lines, remembered when it goes and asked of the next one. A section the server at hand
 * cannot tell (it does not serve the request, or has no authorizer) keeps what was remembered, for the next one that can.
 */
final class SwapView {
    /** Its records come while servers go, so that only its content is compared. */
    private static final String FLIGHT = "flight";

    private final Admin admin;
    private final Map<String, TreeSet<String>> remembered = new TreeMap<>();
    private boolean hasConsumerProtocol;

    SwapView(Admin admin) {
        this.admin = admin;
    }

    boolean hasConsumerProtocol() {
        return hasConsumerProtocol;
    }

    int remember(Map<String, SwapRecord.Topic> topics) throws Exception {
        remembered.putAll(told(topics));
        return remembered.values().stream().mapToInt(TreeSet::size).sum();
    }

    /** What is different from what is remembered; nothing if nothing is. */
    List<String> differences(Map<String, SwapRecord.Topic> topics) throws Exception {
        List<String> differences = new ArrayList<>();
        told(topics).forEach((section, found) -> {
            var expected = remembered.get(section);
            if (expected != null) {
                expected.stream().filter(line -> !found.contains(line)).forEach(line -> differences.add(section + " - " + line));
                found.stream().filter(line -> !expected.contains(line)).forEach(line -> differences.add(section + " + " + line));
            }
        });
        return differences;
    }

    private Map<String, TreeSet<String>> told(Map<String, SwapRecord.Topic> topics) throws Exception {
        Map<String, TreeSet<String>> sections = new HashMap<>();
        section(sections, "features", () -> {
            var features = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
            hasConsumerProtocol = features.containsKey("group.version");
            return List.of("cluster " + admin.describeCluster().clusterId().get(), features);
        });
        section(sections, "topics", () -> {
            List<Object> lines = new ArrayList<>();
            admin.describeTopics(admin.listTopics(new org.apache.kafka.clients.admin.ListTopicsOptions().listInternal(true)).names().get()).allTopicNames().get()
                .forEach((name, topic) -> lines.add(name + " " + topic.topicId() + " " + topic.partitions()));
            return lines;
        });
        section(sections, "configs", () -> configs(topics));
        section(sections, "offsets", () -> offsets(topics));
        section(sections, "producers", () -> producers(topics));
        section(sections, "transactions", this::transactions);
        section(sections, "groups", () -> groups(topics));
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

    private static void section(Map<String, TreeSet<String>> sections, String name, Callable<List<?>> lines) throws Exception {
        try {
            var sorted = new TreeSet<String>();
            lines.call().forEach(line -> sorted.add(String.valueOf(line)));
            sections.put(name, sorted);
        } catch (ExecutionException error) {
            if (!cannot(error)) {
                throw new IllegalStateException(name, error);
            }
        }
    }

    private static boolean cannot(ExecutionException error) {
        return error.getCause() instanceof UnsupportedVersionException || error.getCause() instanceof SecurityDisabledException;
    }

    private List<String> configs(Map<String, SwapRecord.Topic> topics) throws Exception {
        List<ConfigResource> asked = new ArrayList<>(List.of(new ConfigResource(ConfigResource.Type.BROKER, ""), new ConfigResource(ConfigResource.Type.BROKER, "1")));
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

    private List<String> producers(Map<String, SwapRecord.Topic> topics) throws Exception {
        List<String> lines = new ArrayList<>();
        admin.describeProducers(partitions(topics)).all().get().forEach((partition, producers) -> producers.activeProducers().forEach(producer ->
            lines.add(partition + " " + producer)));
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
        List<String> lines = new ArrayList<>();
        for (var group : admin.listConsumerGroups().all().get()) {
            admin.listConsumerGroupOffsets(group.groupId()).partitionsToOffsetAndMetadata().get().forEach((partition, offset) -> {
                if (topics.containsKey(partition.topic())) {
                    lines.add(group.groupId() + " " + partition + " " + offset);
                }
            });
        }
        return lines;
    }

    /** A quota, a credential, an ACL, a config of brokers: where the server can. */
    void entities(Random random) throws Exception {
        int n = random.nextInt(4);
        double rate = 1_000_000_000 + random.nextInt(1000);
        var entity = new ClientQuotaEntity(Map.of("client-id", "nobody-" + n));
        ifItCan(() -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", rate))))).all().get());
        var credential = new UserScramCredentialUpsertion("user-" + n, new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096 + n), "secret".getBytes(), ("salt" + n).getBytes());
        ifItCan(() -> admin.alterUserScramCredentials(List.of(credential)).all().get());
        var acl = new AclBinding(new ResourcePattern(ResourceType.TRANSACTIONAL_ID, "nothing-" + n, PatternType.LITERAL),
            new AccessControlEntry("User:nobody", "*", AclOperation.WRITE, AclPermissionType.ALLOW));
        ifItCan(() -> admin.createAcls(List.of(acl)).all().get());
        var config = new AlterConfigOp(new ConfigEntry("log.cleaner.threads", String.valueOf(1 + random.nextInt(2))), AlterConfigOp.OpType.SET);
        ifItCan(() -> admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.BROKER, ""), List.of(config))).all().get());
    }

    private static void ifItCan(Callable<?> change) throws Exception {
        try {
            change.call();
        } catch (ExecutionException error) {
            if (!cannot(error)) {
                throw error;
            }
        }
    }
}
