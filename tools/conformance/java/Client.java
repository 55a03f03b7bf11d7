import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * One of the conformance run's clients: Kafka's own.
 *
 * <pre>
 *   Client produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
 *   Client consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...
 *   Client group BOOTSTRAP GROUP TOPIC classic|consumer   a member until its input ends: prints each record, commits what it has read
 *   Client create BOOTSTRAP PARTITIONS TOPIC...
 *   Client fill BOOTSTRAP TOPIC...       records of fixed content and time, every codec, one partition
 *   Client dump BOOTSTRAP TOPIC...       every record with all it carries, one line each
 *   Client committed BOOTSTRAP PARTITIONS TOPIC...   the values of what is committed, one line each
 *   Client transact BOOTSTRAP TOPIC      a few transactions of fixed content, the last one open
 * </pre>
 */
public final class Client {
    public static void main(String[] args) throws Exception {
        List<String> rest = Arrays.asList(args).subList(2, args.length);
        switch (args[0]) {
            case "produce" -> produce(args);
            case "consume" -> consume(args);
            case "group" -> group(args);
            case "create" -> create(args[1], Integer.parseInt(rest.get(0)), 1, rest.subList(1, rest.size()));
            case "fill" -> fill(args[1], rest);
            case "dump" -> dump(args[1], rest);
            case "committed" -> committed(args[1], Integer.parseInt(rest.get(0)), rest.subList(1, rest.size()));
            case "transact" -> transact(args[1], rest.get(0));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static void create(String bootstrap, int partitions, int replicas, List<String> topics) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            Case c = new Case(bootstrap, "none", admin);
            admin.createTopics(topics.stream().map(t -> new NewTopic(t, partitions, (short) replicas)).toList()).all().get();
            for (String topic : topics) {
                c.awaitTopic(topic, partitions);
            }
        }
    }

    private static List<byte[]> lines(byte[] content) {
        List<byte[]> lines = new ArrayList<>();
        int start = 0;
        for (int at = 0; at <= content.length; at++) {
            if (at == content.length ? at > start : content[at] == '\n') {
                lines.add(Arrays.copyOfRange(content, start, at));
                start = at + 1;
            }
        }
        return lines;
    }

    private static void produce(String[] args) throws Exception {
        int partitions = Integer.parseInt(args[3]);
        Map<String, Object> configs = Map.of("bootstrap.servers", args[1], "compression.type", args[4], "linger.ms", 5, "max.request.size", 2 << 20);
        var failure = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer())) {
            int n = 0;
            for (byte[] line : lines(Files.readAllBytes(Path.of(args[7])))) {
                byte[] value = args[5].equals("files") ? Files.readAllBytes(Path.of(new String(line))) : line;
                byte[] key = args[6].equals("keyed") ? String.valueOf(n).getBytes() : null;
                producer.send(new ProducerRecord<>(args[2], n % partitions, key, value), (done, error) -> {
                    if (error != null) {
                        failure.set(error);
                    }
                });
                n++;
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }

    private static void field(DataOutputStream out, byte[] value) throws Exception {
        out.writeInt(value == null ? -1 : value.length);
        if (value != null) {
            out.write(value);
        }
    }

    interface Each {
        void take(ConsumerRecord<byte[], byte[]> record) throws Exception;
    }

    private static void readAll(String bootstrap, List<TopicPartition> partitions, Each each) throws Exception {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "allow.auto.create.topics", false);
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long left = 0;
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(partitions);
            for (var end : consumer.endOffsets(partitions).entrySet()) {
                left += end.getValue() - starts.get(end.getKey());
            }
            long deadline = System.currentTimeMillis() + 60_000;
            while (left > 0) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    each.take(record);
                    left--;
                    deadline = System.currentTimeMillis() + 60_000;
                }
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(left + " records did not come");
                }
            }
        }
    }

    private static void consume(String[] args) throws Exception {
        Map<TopicPartition, DataOutputStream> files = new HashMap<>();
        for (String topic : Arrays.asList(args).subList(4, args.length)) {
            for (int p = 0; p < Integer.parseInt(args[3]); p++) {
                var file = new FileOutputStream(args[2] + "/" + topic + "-" + p);
                files.put(new TopicPartition(topic, p), new DataOutputStream(new BufferedOutputStream(file, 1 << 16)));
            }
        }
        readAll(args[1], List.copyOf(files.keySet()), record -> {
            var file = files.get(new TopicPartition(record.topic(), record.partition()));
            field(file, record.key());
            field(file, record.value());
        });
        for (var file : files.values()) {
            file.close();
        }
    }

    private static void group(String[] args) throws Exception {
        Map<String, Object> configs = Map.of("bootstrap.servers", args[1], "group.id", args[2], "group.protocol", args[4],
            "auto.offset.reset", "earliest", "enable.auto.commit", false);
        var isOver = new java.util.concurrent.atomic.AtomicBoolean();
        var listener = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException closed) {
                // the same as its end
            }
            isOver.set(true);
        });
        listener.setDaemon(true);
        listener.start();
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[3]));
            while (!isOver.get()) {
                var records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                records.forEach(r -> System.out.println("record " + r.partition() + " " + r.offset()));
                try {
                    consumer.commitSync();
                } catch (org.apache.kafka.clients.consumer.CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException late) {
                    // whoever has the partitions now reads them again
                }
            }
        }
    }

    private static void fill(String bootstrap, List<String> topics) throws Exception {
        create(bootstrap, 1, 1, topics);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            Case c = new Case(bootstrap, "none", admin);
            for (String topic : topics) {
                for (String codec : ProduceCases.CODECS) {
                    ProduceCases.fill(c, topic, 0, 40, codec);
                }
            }
        }
    }

    private static void dump(String bootstrap, List<String> topics) throws Exception {
        for (String topic : topics) {
            System.out.println("# " + topic);
            readAll(bootstrap, List.of(new TopicPartition(topic, 0)), record -> System.out.println(ConsumeCases.record(record)));
        }
    }

    private static void committed(String bootstrap, int partitions, List<String> topics) throws Exception {
        for (String topic : topics) {
            for (int p = 0; p < partitions; p++) {
                for (var record : TransactionCases.read(bootstrap, List.of(new TopicPartition(topic, p)), "read_committed")) {
                    System.out.println(topic + " " + p + " " + new String(record.value()));
                }
            }
        }
    }

    private static void transact(String bootstrap, String topic) throws Exception {
        create(bootstrap, 1, 1, List.of(topic));
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "transactional.id", "transact-" + topic, "transaction.timeout.ms", 600_000,
            // The flush sends, so that both records are in one batch.
            "linger.ms", 10_000);
        // It is not closed: that would abort the open transaction.
        var producer = new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        for (int n = 0; n < 5; n++) {
            producer.beginTransaction();
            producer.send(ProduceCases.record(topic, 0, n));
            producer.send(ProduceCases.record(topic, 0, n + 100));
            producer.flush();
            if (n % 2 == 1) {
                producer.abortTransaction();
            } else if (n < 4) {
                producer.commitTransaction();
            }
        }
        System.exit(0);
    }
}
