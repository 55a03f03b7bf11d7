import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What log compaction leaves, and that the cleaner's backoff can be changed while it runs. */
final class CompactionCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("compaction/newest of each key", CompactionCases::newest);
        cases.put("compaction/lag keeps what is young", CompactionCases::lag);
        cases.put("compaction/compact and delete", CompactionCases::compactAndDelete);
    }

    private static final long HOUR = 3_600_000L;

    /** The cleaner looks often while `body` runs. */
    private static void often(Case c, Case.Body body) throws Exception {
        backoff(c, OpType.SET);
        try {
            body.run(c);
        } finally {
            backoff(c, OpType.DELETE);
        }
    }

    private static void backoff(Case c, OpType op) throws Exception {
        var broker = new ConfigResource(ConfigResource.Type.BROKER, "");
        var entry = new ConfigEntry("log.cleaner.backoff.ms", "200");
        c.admin.incrementalAlterConfigs(Map.of(broker, List.of(new AlterConfigOp(entry, op)))).all().get();
    }

    /** Batches of an hour each, every one of which begins a segment: keys repeat, every fifth record is a tombstone. */
    private static void fill(Case c, String topic, String codec, long from, int batches) throws Exception {
        // The flush and not the clock ends a batch.
        try (var producer = ProduceCases.producer(c, Map.of("compression.type", codec, "linger.ms", 5000, "delivery.timeout.ms", 20000))) {
            for (int b = 0; b < batches; b++) {
                for (int n = 0; n < 12; n++) {
                    byte[] value = n % 5 == 4 ? null : ProduceCases.bytes("value " + n + " of batch " + b);
                    producer.send(new ProducerRecord<>(topic, 0, from + b * HOUR + n, ProduceCases.bytes("key-" + (b * 5 + n) % 23), value));
                }
                producer.flush();
            }
        }
    }

    private static List<ConsumerRecord<byte[], byte[]>> all(Case c, TopicPartition tp) throws Exception {
        long end = c.admin.listOffsets(Map.of(tp, OffsetSpec.latest())).partitionResult(tp).get().offset();
        Map<String, Object> configs = new HashMap<>(Map.of("bootstrap.servers", c.bootstrap, "enable.auto.commit", false, "auto.offset.reset", "earliest"));
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            while (consumer.position(tp) < end) {
                consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            }
        }
        return records;
    }

    /** Waits until no key is twice among the first records, which are all but those of the last batches. */
    private static void show(Case c, TopicPartition tp, long clean) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = List.of();
        for (int tries = 0; tries < 100; tries++) {
            records = all(c, tp);
            Set<String> seen = new TreeSet<>();
            if (records.stream().filter(r -> r.offset() < clean).allMatch(r -> seen.add(Case.hex(r.key())))) {
                break;
            }
            Thread.sleep(300);
        }
        records.forEach(r -> c.line(r.offset() + " ts " + r.timestamp() + " " + Case.hex(r.key()) + " = " + Case.hex(r.value())));
    }

    private static void newest(Case c) throws Exception {
        often(c, d -> {
            var tp = new TopicPartition("compacting", 0);
            d.topic("compacting", 1, Map.of("cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "0"));
            fill(d, "compacting", "none", ProduceCases.DAY_0, 4);
            fill(d, "compacting", "zstd", ProduceCases.DAY_0 + 10 * HOUR, 4);
            fill(d, "compacting", "lz4", ProduceCases.DAY_0 + 20 * HOUR, 2);
            // All but the active segment.
            show(d, tp, 108);
        });
    }

    private static void lag(Case c) throws Exception {
        often(c, d -> {
            var tp = new TopicPartition("lagging", 0);
            d.topic("lagging", 1, Map.of("cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "0",
                "min.compaction.lag.ms", "" + 1000 * HOUR));
            fill(d, "lagging", "snappy", ProduceCases.DAY_0, 4);
            // From here on records are younger than the lag.
            fill(d, "lagging", "snappy", System.currentTimeMillis() / HOUR * HOUR - 10 * HOUR, 4);
            show(d, tp, 48);
        });
    }

    private static void compactAndDelete(Case c) throws Exception {
        often(c, d -> {
            var tp = new TopicPartition("both", 0);
            d.topic("both", 1, Map.of("cleanup.policy", "compact,delete", "segment.ms", "1000", "min.cleanable.dirty.ratio", "1",
                "retention.ms", "" + 1000 * HOUR));
            fill(d, "both", "gzip", System.currentTimeMillis() / HOUR * HOUR - 10 * HOUR, 3);
            d.attempt("delete records", () -> d.admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(5))).lowWatermarks().get(tp).get().lowWatermark());
            fill(d, "both", "gzip", ProduceCases.DAY_0, 3);
            var topic = new ConfigResource(ConfigResource.Type.TOPIC, "both");
            var retention = new AlterConfigOp(new ConfigEntry("retention.ms", "" + HOUR), OpType.SET);
            d.admin.incrementalAlterConfigs(Map.of(topic, List.of(retention))).all().get();
            // The cleaner's threads delete, too: everything is older than an hour.
            long start = 0;
            for (int tries = 0; tries < 200 && start < 72; tries++) {
                start = d.admin.listOffsets(Map.of(tp, OffsetSpec.earliest())).partitionResult(tp).get().offset();
                Thread.sleep(200);
            }
            d.line("starts at " + start);
        });
    }
}
