import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Produce through Kafka's producer: codecs, acks, idempotence, limits, timestamps. */
final class ProduceCases {
    static final long DAY_0 = 1_700_000_000_000L;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    static void add(Map<String, Case.Body> cases) {
        for (String codec : CODECS) {
            for (String acks : List.of("0", "1", "all")) {
                cases.put("produce/" + codec + " acks=" + acks, c -> codecAndAcks(c, codec, acks));
            }
            cases.put("produce/topic codec " + codec, c -> topicCodec(c, codec));
        }
        cases.put("produce/not idempotent", ProduceCases::notIdempotent);
        cases.put("produce/too large", ProduceCases::tooLarge);
        cases.put("produce/timestamps", ProduceCases::timestamps);
        cases.put("produce/log append time", ProduceCases::logAppendTime);
        cases.put("produce/compacted without key", ProduceCases::compactedWithoutKey);
        cases.put("produce/too few in sync", ProduceCases::tooFewInSync);
        cases.put("produce/auto create", ProduceCases::autoCreate);
        cases.put("produce/unknown partition", ProduceCases::unknownPartition);
        cases.put("produce/invalid topic", ProduceCases::invalidTopic);
        cases.put("produce/nulls, empties and headers", ProduceCases::nulls);
        cases.put("produce/deleted topic", ProduceCases::deletedTopic);
    }

    static Producer<byte[], byte[]> producer(Case c, Map<String, Object> configs) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "bootstrap.servers", c.bootstrap, "linger.ms", 5, "delivery.timeout.ms", 15000, "request.timeout.ms", 10000,
            "max.block.ms", 10000, "retry.backoff.ms", 20, "client.id", "conformance-producer"));
        all.putAll(configs);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** `count` records with keys, fixed timestamps and a header, to one partition. */
    static void fill(Case c, String topic, int partition, int count, String codec) throws Exception {
        // The flush and not the clock ends the batch, so that batches are the same in every run.
        try (var producer = producer(c, Map.of("compression.type", codec, "linger.ms", 5000, "delivery.timeout.ms", 20000))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = 0; n < count; n++) {
                sent.add(producer.send(record(topic, partition, n)));
            }
            producer.flush();
            for (var one : sent) {
                one.get();
            }
        }
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, int n) {
        var headers = new RecordHeaders().add("n", bytes("" + n)).add("empty", new byte[0]).add("null", null);
        return new ProducerRecord<>(topic, partition, DAY_0 + n * 10L, bytes("key-" + n), bytes(("value " + n + " ").repeat(20)), headers);
    }

    static String metadata(RecordMetadata m) {
        return m.topic() + "-" + m.partition() + "@" + m.offset() + " ts " + (m.hasTimestamp() ? stamp(m.timestamp()) : "none") + " key "
            + m.serializedKeySize() + " value " + m.serializedValueSize();
    }

    /** A fixed timestamp of ours, or a word for one the server's clock made. */
    static String stamp(long timestamp) {
        long now = System.currentTimeMillis();
        return timestamp > now - 600_000 && timestamp < now + 600_000 ? "now" : String.valueOf(timestamp);
    }

    static String sendOne(Case c, String topic, int size) {
        try (var producer = producer(c, Map.of())) {
            return metadata(producer.send(new ProducerRecord<>(topic, 0, DAY_0, bytes("k"), new byte[size])).get());
        } catch (Exception error) {
            return Case.error(error);
        }
    }

    private static void codecAndAcks(Case c, String codec, String acks) throws Exception {
        String topic = "produce-" + codec + "-" + acks;
        c.topic(topic, 1);
        try (var producer = producer(c, Map.of("compression.type", codec, "acks", acks, "enable.idempotence", acks.equals("all")))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = 0; n < 25; n++) {
                sent.add(producer.send(record(topic, 0, n)));
            }
            producer.flush();
            for (var one : sent) {
                c.attempt("sent", () -> metadata(one.get()));
            }
        }
        ConsumeCases.dump(c, topic, 0, 25);
    }

    private static void topicCodec(Case c, String codec) throws Exception {
        String topic = "topic-codec-" + codec;
        c.topic(topic, 1, Map.of("compression.type", codec.equals("none") ? "uncompressed" : codec));
        for (String from : CODECS) {
            fill(c, topic, 0, 5, from);
        }
        ConsumeCases.dump(c, topic, 0, 25);
    }

    private static void notIdempotent(Case c) throws Exception {
        c.topic("plain", 1);
        try (var producer = producer(c, Map.of("enable.idempotence", false, "acks", "1"))) {
            for (int n = 0; n < 3; n++) {
                c.line(metadata(producer.send(record("plain", 0, n)).get()));
            }
        }
        ConsumeCases.dump(c, "plain", 0, 3);
    }

    private static void tooLarge(Case c) throws Exception {
        c.topic("small", 1, Map.of("max.message.bytes", "1000"));
        c.line(sendOne(c, "small", 2000));
        c.line(sendOne(c, "small", 500));
        c.topic("large", 1);
        try (var producer = producer(c, Map.of("max.request.size", 3000000))) {
            c.attempt("2 MB", () -> metadata(producer.send(new ProducerRecord<>("large", 0, DAY_0, bytes("k"), new byte[2000000])).get()));
        }
    }

    private static void timestamps(Case c) throws Exception {
        c.topic("stamped", 1, Map.of("message.timestamp.before.max.ms", "3600000", "message.timestamp.after.max.ms", "3600000"));
        long now = System.currentTimeMillis();
        for (long shift : new long[] {0, -7_200_000, 7_200_000}) {
            try (var producer = producer(c, Map.of())) {
                String outcome;
                try {
                    outcome = metadata(producer.send(new ProducerRecord<>("stamped", 0, now + shift, bytes("k"), bytes("v"))).get());
                } catch (Exception error) {
                    outcome = Case.error(error).replaceAll("\\d{9,}", "T");
                }
                c.line("shift " + shift + " " + outcome);
            }
        }
    }

    private static void logAppendTime(Case c) throws Exception {
        c.topic("append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        for (String codec : CODECS) {
            try (var producer = producer(c, Map.of("compression.type", codec))) {
                c.line(codec + " " + metadata(producer.send(record("append-time", 0, 1)).get()));
            }
        }
        ConsumeCases.dump(c, "append-time", 0, 5);
    }

    private static void compactedWithoutKey(Case c) throws Exception {
        c.topic("compacted", 1, Map.of("cleanup.policy", "compact"));
        for (String codec : CODECS) {
            try (var producer = producer(c, Map.of("compression.type", codec))) {
                c.attempt(codec, () -> metadata(producer.send(new ProducerRecord<>("compacted", 0, DAY_0, null, bytes("v"))).get()));
                c.attempt(codec, () -> metadata(producer.send(new ProducerRecord<>("compacted", 0, DAY_0, bytes("k"), (byte[]) null)).get()));
            }
        }
        ConsumeCases.dump(c, "compacted", 0, 5);
    }

    private static void tooFewInSync(Case c) throws Exception {
        c.topic("needs-two", 1, Map.of("min.insync.replicas", "2"));
        for (String acks : List.of("1", "all")) {
            try (var producer = producer(c, Map.of("acks", acks, "enable.idempotence", false, "retries", 0))) {
                c.attempt("acks " + acks, () -> metadata(producer.send(record("needs-two", 0, 1)).get()));
            }
        }
    }

    private static void autoCreate(Case c) throws Exception {
        try (var producer = producer(c, Map.of())) {
            c.line(metadata(producer.send(new ProducerRecord<>("auto-created", null, DAY_0, bytes("k"), bytes("v"))).get()));
            c.line("partitions " + producer.partitionsFor("auto-created").size());
        }
    }

    private static void unknownPartition(Case c) throws Exception {
        c.topic("one-partition", 1);
        try (var producer = producer(c, Map.of("max.block.ms", 800))) {
            c.attempt("partition 7", () -> metadata(producer.send(record("one-partition", 7, 1)).get()));
        }
    }

    private static void invalidTopic(Case c) throws Exception {
        try (var producer = producer(c, Map.of("max.block.ms", 3000))) {
            c.attempt("invalid", () -> metadata(producer.send(record("not valid", 0, 1)).get()));
        }
    }

    private static void nulls(Case c) throws Exception {
        c.topic("nulls", 1);
        try (var producer = producer(c, Map.of())) {
            c.line(metadata(producer.send(new ProducerRecord<>("nulls", 0, DAY_0, null, (byte[]) null)).get()));
            c.line(metadata(producer.send(new ProducerRecord<>("nulls", 0, 0L, new byte[0], new byte[0])).get()));
            var headers = new RecordHeaders();
            for (int n = 0; n < 50; n++) {
                headers.add("h" + n % 7, n % 3 == 0 ? null : new byte[n]);
            }
            c.line(metadata(producer.send(new ProducerRecord<>("nulls", 0, DAY_0, bytes("k"), bytes("v"), headers)).get()));
        }
        ConsumeCases.dump(c, "nulls", 0, 3);
        c.line(c.admin.listOffsets(Map.of(new TopicPartition("nulls", 0), org.apache.kafka.clients.admin.OffsetSpec.latest()))
            .partitionResult(new TopicPartition("nulls", 0)).get().offset() + " at the end");
    }

    private static void deletedTopic(Case c) throws Exception {
        c.topic("short-lived", 1);
        try (var producer = producer(c, Map.of("max.block.ms", 5000))) {
            c.line(metadata(producer.send(record("short-lived", 0, 1)).get()));
            c.admin.deleteTopics(List.of("short-lived")).all().get();
            c.awaitGone("short-lived");
            c.topic("short-lived", 1);
            c.line("after the second creation " + metadata(producer.send(record("short-lived", 0, 2)).get()));
        }
        ConsumeCases.dump(c, "short-lived", 0, 1);
    }
}
