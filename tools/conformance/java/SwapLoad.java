import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The load of the rounds in which Milena and Apache Kafka trade places on one directory: one process that outlives all servers, draws
 * what it does from a seed, remembers everything it was told, and compares. Producers and open transactions go on over the exchange.
 * Commands on standard input, and their answers (`ready` comes first):
 *
 * <pre>
 *   step N        N random actions, everything acknowledged: `done ...`
 *   remember      notes what the server says of itself, for the next one: `remembered N`
 *   flight        begins to send and does not wait: `flying N`
 *   settle        waits until what flies is acknowledged: `settled N`
 *   compare [killed]  what the server says, and every record, beside what is remembered (of one that was killed): `same ...` or `broken ...`
 *   members       waits until the living members of groups were given everything that flew: `members N`
 *   starts        where partitions begin of which records were deleted: `TOPIC PARTITION OFFSET,...`
 *   finish        ends the open transactions: `finished N`
 * </pre>
 */
public final class SwapLoad {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final int TOPICS_MAX = 7;
    private static final int TRANSACTIONAL = 3;
    private static final String FLIGHT = "flight";

    private final String bootstrap;
    private final short replicas;
    private final Random random;
    private final Admin admin;
    private final SwapView view;
    private final Map<String, SwapRecord.Topic> topics = new TreeMap<>();
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private final Map<Integer, SwapRecord.Transaction> open = new TreeMap<>();
    private final List<Flying> flying = new ArrayList<>();
    private final SwapExpected expected = new SwapExpected();
    private final Map<String, SwapMember> members = new TreeMap<>();
    private final Map<String, Integer> done = new TreeMap<>();
    private int named;
    private int sent;
    /** Producers are forgotten by the times of their records. */
    private final long begin = System.currentTimeMillis();

    record Flying(SwapRecord.Topic topic, ProducerRecord<byte[], byte[]> record, SwapRecord.Transaction transaction, Future<RecordMetadata> told) { }

    private SwapLoad(String bootstrap, long seed, short replicas) {
        this.bootstrap = bootstrap;
        this.replicas = replicas;
        this.random = new Random(seed);
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", SwapReady.LIMIT_MS, "reconnect.backoff.max.ms", 200));
        this.view = new SwapView(admin, expected, replicas > 1);
    }

    public static void main(String[] args) throws Exception {
        var load = new SwapLoad(args[0], Long.parseLong(args[1]), Short.parseShort(args[2]));
        load.create(FLIGHT, 2, Map.of());
        load.live();
        System.out.println("ready");
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String command = in.readLine(); command != null; command = in.readLine()) {
            String answer;
            try {
                answer = load.answer(command.split(" "));
            } catch (Throwable error) {
                error.printStackTrace();
                answer = "broken: " + command + ": " + Case.error(error);
            }
            System.out.println(answer.replace("\n", "\\n"));
            System.out.flush();
        }
        System.exit(0);
    }

    private String answer(String[] words) throws Exception {
        switch (words[0]) {
            case "step":
                for (int n = 0; n < Integer.parseInt(words[1]); n++) {
                    act();
                }
                // One goes over the exchange.
                while (open.isEmpty()) {
                    transact(random.nextInt(TRANSACTIONAL));
                }
                settle();
                return "done " + done;
            case "remember":
                return "remembered " + view.remember(topics, openIds());
            case "members":
                for (var member : members.values()) {
                    member.await(topics.get(FLIGHT));
                }
                return "members " + members.size();
            case "flight":
                for (int n = 0; n < 200; n++) {
                    fly(CODECS.get(n % 5), topics.get(FLIGHT), null);
                }
                return "flying " + flying.size();
            case "settle":
                return "settled " + settle();
            case "compare":
                view.compare(topics, openIds(), words.length > 1);
                List<String> differences = new ArrayList<>();
                var found = SwapRecord.compare(bootstrap, topics.values(), differences);
                return differences.isEmpty() ? "same " + found : "broken: " + String.join("\n", differences.subList(0, Math.min(30, differences.size())));
            case "starts":
                List<String> starts = new ArrayList<>();
                topics.values().forEach(topic -> {
                    for (int p = 0; p < topic.partitions.size(); p++) {
                        if (topic.partitions.get(p).start > 0) {
                            starts.add(topic.name + " " + p + " " + topic.partitions.get(p).start);
                        }
                    }
                });
                return String.join(",", starts);
            case "finish":
                int ended = open.size();
                for (int id : List.copyOf(open.keySet())) {
                    end(id);
                }
                return "finished " + ended;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private List<String> openIds() {
        return open.keySet().stream().map(SwapLoad::transactionalId).toList();
    }

    private static String transactionalId(int id) {
        return "swap-" + id;
    }

    /** A member for each protocol there is; returns when their coordinators' topic is there. */
    private void live() throws Exception {
        for (String protocol : view.hasConsumerProtocol() ? List.of("classic", "consumer") : List.of("classic")) {
            members.put(protocol, new SwapMember(bootstrap, protocol, FLIGHT));
        }
        SwapReady.await("__consumer_offsets", () -> {
            var names = admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
            return names.contains("__consumer_offsets") ? null : "only " + names;
        });
    }

    private void act() throws Exception {
        int draw = random.nextInt(100);
        if (topics.size() < 3 || draw < 8 && topics.size() < TOPICS_MAX) {
            count("create");
            create();
        } else if (draw < 12 && topics.size() > 4) {
            count("delete");
            delete();
        } else if (draw < 16) {
            count("grow");
            grow(any());
        } else if (draw < 24) {
            count("configure");
            configure(any());
        } else if (draw < 27) {
            count("delete records");
            deleteRecords(any());
        } else if (draw < 60) {
            count("produce");
            produce(any());
        } else if (draw < 82) {
            count("transact");
            transact(random.nextInt(TRANSACTIONAL));
        } else if (draw < 96) {
            count("commit offsets");
            commitOffsets(any());
        } else {
            count("entities");
            view.entities(random);
        }
    }

    private void count(String what) {
        done.merge(what, 1, Integer::sum);
    }

    private SwapRecord.Topic any() {
        var names = topics.keySet().stream().filter(name -> !name.equals(FLIGHT)).toList();
        return topics.get(names.get(random.nextInt(names.size())));
    }

    private void create() throws Exception {
        Map<String, String> configs = new HashMap<>();
        if (random.nextInt(3) == 0) {
            configs.put("cleanup.policy", "compact");
            configs.put("min.cleanable.dirty.ratio", "1.0E-4");
            configs.put("segment.ms", "700");
        }
        if (random.nextInt(3) == 0) {
            configs.put("compression.type", List.of("gzip", "snappy", "lz4", "zstd", "uncompressed", "producer").get(random.nextInt(6)));
        }
        if (random.nextInt(4) == 0) {
            configs.put("message.timestamp.type", "LogAppendTime");
        }
        if (random.nextInt(3) == 0) {
            configs.put("segment.bytes", "1048576");
        }
        create("swap-" + named++, 1 + random.nextInt(3), configs);
    }

    private void create(String name, int partitions, Map<String, String> configs) throws Exception {
        var id = new AtomicReference<Uuid>();
        SwapReady.await(name, () -> {
            id.set(admin.createTopics(List.of(new NewTopic(name, partitions, replicas).configs(configs))).topicId(name).get());
            return null;
        });
        awaitTopic(name, partitions);
        var topic = new SwapRecord.Topic(name, id.get(), configs, partitions);
        topics.put(name, topic);
        expectWhole(topic);
        configs.forEach((key, value) -> expectConfig(name, key, value));
    }

    private void awaitTopic(String name, int partitions) throws Exception {
        SwapReady.await(name, () -> {
            try {
                new Case(bootstrap, "none", admin).awaitTopic(name, partitions);
                return null;
            } catch (IllegalStateException notYet) {
                return notYet.getMessage();
            }
        });
    }

    private void expectWhole(SwapRecord.Topic topic) {
        expected.put("topics", topic.name + " ", SwapView.whole(topic.name, topic.id, topic.partitions.size()));
    }

    private void expectConfig(String topic, String key, String value) {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        expected.put("configs", topic + " " + key, resource + " " + key + "=" + value + " DYNAMIC_TOPIC_CONFIG");
    }

    /** Its key begins with the topic, with which it goes. */
    private void expectOffset(String group, TopicPartition partition, OffsetAndMetadata offset) {
        expected.put("groups", partition.topic() + " " + partition.partition() + " " + group, SwapView.offset(group, partition, offset));
    }

    private void delete() throws Exception {
        var topic = any();
        if (isInTransaction(topic)) {
            return;
        }
        admin.deleteTopics(List.of(topic.name)).all().get();
        SwapReady.await(topic.name, () -> admin.listTopics().names().get().contains(topic.name) ? "is still there" : null);
        topics.remove(topic.name);
        expected.removeTopic(topic.name);
    }

    private boolean isInTransaction(SwapRecord.Topic topic) {
        return open.values().stream().anyMatch(transaction -> transaction.topics.contains(topic.name));
    }

    private void grow(SwapRecord.Topic topic) throws Exception {
        int partitions = topic.partitions.size() + 1;
        SwapReady.await(topic.name, () -> {
            admin.createPartitions(Map.of(topic.name, NewPartitions.increaseTo(partitions))).all().get();
            return null;
        });
        awaitTopic(topic.name, partitions);
        topic.partitions.add(new SwapRecord.Partition());
        expectWhole(topic);
    }

    private void configure(SwapRecord.Topic topic) throws Exception {
        String key = List.of("retention.bytes", "max.message.bytes", "flush.messages", "index.interval.bytes").get(random.nextInt(4));
        var kind = random.nextInt(3) == 0 ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET;
        String value = String.valueOf(2_000_000_000 - random.nextInt(1000));
        var change = new AlterConfigOp(new ConfigEntry(key, value), kind);
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic.name), List.of(change))).all().get();
        if (kind == AlterConfigOp.OpType.SET) {
            expectConfig(topic.name, key, value);
        } else {
            expected.remove("configs", topic.name + " " + key);
        }
    }

    private void deleteRecords(SwapRecord.Topic topic) throws Exception {
        int at = random.nextInt(topic.partitions.size());
        var partition = topic.partitions.get(at);
        if (topic.isCompacted || partition.sent.size() < 10 || isInTransaction(topic)) {
            return;
        }
        long before = List.copyOf(partition.sent.keySet()).get(partition.sent.size() / 3);
        admin.deleteRecords(Map.of(new TopicPartition(topic.name, at), RecordsToDelete.beforeOffset(before))).all().get();
        partition.start = before;
    }

    private KafkaProducer<byte[], byte[]> producer(String name, Map<String, Object> own) {
        return producers.computeIfAbsent(name, absent -> {
            Map<String, Object> configs = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 3,
                "delivery.timeout.ms", SwapReady.LIMIT_MS, "max.block.ms", SwapReady.LIMIT_MS, "reconnect.backoff.max.ms", 200, "max.request.size", 4 << 20));
            configs.putAll(own);
            return new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer());
        });
    }

    private void fly(String codec, SwapRecord.Topic topic, SwapRecord.Transaction transaction) {
        int at = random.nextInt(topic.partitions.size());
        byte[] key = topic.isCompacted || random.nextInt(3) > 0 ? ("key-" + random.nextInt(15)).getBytes() : null;
        int size = random.nextInt(20) == 0 ? 60_000 : random.nextInt(400);
        byte[] value = random.nextInt(12) == 0 && key != null ? null : (sent + " " + "abcdefgh".repeat(size / 8)).getBytes();
        var record = new ProducerRecord<>(topic.name, at, topic.isCompacted ? null : begin + sent, key, value);
        for (int n = random.nextInt(4); n > 1; n--) {
            record.headers().add("h" + random.nextInt(2), n == 2 ? null : ("of " + sent).getBytes());
        }
        sent++;
        var producer = transaction != null ? transaction.producer
            : codec.equals("acks=1") ? producer(codec, Map.of("acks", "1", "enable.idempotence", false))
            : producer(codec, Map.of("compression.type", codec));
        flying.add(new Flying(topic, record, transaction, producer.send(record)));
    }

    private int settle() throws Exception {
        int settled = flying.size();
        for (var one : flying) {
            var told = one.told.get();
            one.topic.add(told, one.record, one.transaction);
        }
        flying.clear();
        return settled;
    }

    private void produce(SwapRecord.Topic topic) throws Exception {
        String codec = random.nextInt(6) == 0 ? "acks=1" : CODECS.get(random.nextInt(5));
        for (int n = 1 + random.nextInt(60); n > 0; n--) {
            fly(codec, topic, null);
        }
        settle();
    }

    /** Begins a transaction, goes on with it, or ends it. */
    private void transact(int id) throws Exception {
        var transaction = open.get(id);
        if (transaction != null && random.nextBoolean()) {
            end(id);
            return;
        }
        if (transaction == null) {
            boolean isNew = !producers.containsKey("transactional-" + id);
            var producer = producer("transactional-" + id, Map.of("transactional.id", transactionalId(id), "transaction.timeout.ms", 900_000,
                "compression.type", CODECS.get(id)));
            if (isNew) {
                producer.initTransactions();
            }
            producer.beginTransaction();
            transaction = new SwapRecord.Transaction(producer);
            open.put(id, transaction);
        }
        var topic = any();
        transaction.topics.add(topic.name);
        for (int n = 1 + random.nextInt(20); n > 0; n--) {
            fly(null, topic, transaction);
        }
        transaction.producer.flush();
        settle();
        if (random.nextInt(3) == 0) {
            var offset = new OffsetAndMetadata(random.nextInt(1000), "in a transaction");
            var partition = new TopicPartition(topic.name, 0);
            transaction.producer.sendOffsetsToTransaction(Map.of(partition, offset), new ConsumerGroupMetadata("transacted-" + id));
            transaction.offsets.put(partition, offset);
        }
    }

    private void end(int id) {
        var transaction = open.remove(id);
        if (random.nextBoolean()) {
            transaction.producer.commitTransaction();
            transaction.isCommitted = true;
            transaction.offsets.forEach((partition, offset) -> expectOffset("transacted-" + id, partition, offset));
        } else {
            transaction.producer.abortTransaction();
        }
    }

    private void commitOffsets(SwapRecord.Topic topic) throws Exception {
        int which = random.nextInt(3);
        if (which == 0) {
            Optional<Integer> epoch = random.nextBoolean() ? Optional.of(random.nextInt(3)) : Optional.empty();
            var offset = new OffsetAndMetadata(random.nextInt(100_000), epoch, "note " + random.nextInt(100));
            String group = "simple-" + random.nextInt(3);
            var partition = new TopicPartition(topic.name, 0);
            admin.alterConsumerGroupOffsets(group, Map.of(partition, offset)).all().get();
            expectOffset(group, partition, offset);
            return;
        }
        String protocol = which == 1 || !members.containsKey("consumer") ? "classic" : "consumer";
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "group.id", protocol + "-" + topic.name, "group.protocol", protocol,
            "auto.offset.reset", "earliest", "enable.auto.commit", false, "default.api.timeout.ms", SwapReady.LIMIT_MS);
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic.name));
            SwapReady.await("no assignment in " + configs.get("group.id"), () -> {
                consumer.poll(Duration.ofMillis(50));
                return consumer.assignment().size() < topic.partitions.size() ? String.valueOf(consumer.assignment()) : null;
            });
            consumer.poll(Duration.ofMillis(200));
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            consumer.assignment().forEach(partition -> offsets.put(partition, new OffsetAndMetadata(consumer.position(partition), "read by " + protocol)));
            consumer.commitSync(offsets);
            offsets.forEach((partition, offset) -> expectOffset(protocol + "-" + topic.name, partition, offset));
        }
    }
}
