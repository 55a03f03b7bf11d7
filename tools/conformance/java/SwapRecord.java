import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.ArrayList;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What was written, kept outside of every server, and how it is held against what a server has. */
final class SwapRecord {
    private static final int IDLE_POLLS_MAX = 600;

    private SwapRecord() { }

    static final class Transaction {
        final KafkaProducer<byte[], byte[]> producer;
        final Set<String> topics = new HashSet<>();
        /** Committed with it. */
        final Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        boolean isCommitted;

        Transaction(KafkaProducer<byte[], byte[]> producer) {
            this.producer = producer;
        }
    }

    static final class Topic {
        final String name;
        final Uuid id;
        final boolean isCompacted;
        final boolean isOfAppendTime;
        final List<Partition> partitions = new ArrayList<>();

        Topic(String name, Uuid id, Map<String, String> configs, int partitions) {
            this.name = name;
            this.id = id;
            this.isCompacted = configs.containsKey("cleanup.policy");
            this.isOfAppendTime = configs.containsKey("message.timestamp.type");
            for (int p = 0; p < partitions; p++) {
                this.partitions.add(new Partition());
            }
        }

        /** Of a batch that was sent twice the server tells the time of the batch, and the client gives it to each record. */
        void add(RecordMetadata told, ProducerRecord<byte[], byte[]> record, Transaction transaction) {
            long timestamp = isOfAppendTime || record.timestamp() == null ? told.timestamp() : record.timestamp();
            var one = new Sent(timestamp, text(timestamp, record.key(), record.value(), record.headers()), record.key() == null ? null : new String(record.key()),
                record.value() == null, transaction);
            if (partitions.get(told.partition()).sent.put(told.offset(), one) != null) {
                throw new IllegalStateException("offset " + told.offset() + " of " + told + " was given twice");
            }
        }
    }

    static final class Partition {
        final TreeMap<Long, Sent> sent = new TreeMap<>();
        long start;
    }

    static final class Sent {
        final long timestamp;
        final String text;
        final String key;
        final boolean isTombstone;
        final Transaction transaction;
        /** As it was when it was first read. */
        Optional<Integer> epoch;

        Sent(long timestamp, String text, String key, boolean isTombstone, Transaction transaction) {
            this.timestamp = timestamp;
            this.text = text;
            this.key = key;
            this.isTombstone = isTombstone;
            this.transaction = transaction;
        }

        boolean isVisible() {
            return transaction == null || transaction.isCommitted;
        }
    }

    static String text(long timestamp, byte[] key, byte[] value, Iterable<Header> headers) {
        var text = new StringBuilder().append(timestamp).append(' ').append(Case.hex(key)).append(" = ");
        text.append(value == null ? "null" : new String(value, 0, Math.min(20, value.length)) + ".." + value.length + " " + Arrays.hashCode(value));
        for (Header header : headers) {
            text.append(' ').append(header.key()).append('=').append(Case.hex(header.value()));
        }
        return text.toString();
    }

    /** Reads everything in both isolation levels; says how much that was. */
    static String compare(String bootstrap, Collection<Topic> topics, List<String> differences) {
        int all = compare(bootstrap, topics, "read_uncommitted", differences);
        int committed = compare(bootstrap, topics, "read_committed", differences);
        return all + " records, " + committed + " committed";
    }

    private static int compare(String bootstrap, Collection<Topic> topics, String isolation, List<String> differences) {
        Map<TopicPartition, Map<Long, ConsumerRecord<byte[], byte[]>>> found = new HashMap<>();
        Map<TopicPartition, Long> ends;
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "isolation.level", isolation,
            "allow.auto.create.topics", false, "max.poll.records", 5000, "default.api.timeout.ms", SwapReady.LIMIT_MS);
        int count = 0;
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (Topic topic : topics) {
                for (int p = 0; p < topic.partitions.size(); p++) {
                    found.put(new TopicPartition(topic.name, p), new TreeMap<>());
                }
            }
            consumer.assign(found.keySet());
            consumer.seekToBeginning(found.keySet());
            ends = consumer.endOffsets(found.keySet());
            int idle = 0;
            while (found.keySet().stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                var records = consumer.poll(Duration.ofMillis(100));
                idle = records.isEmpty() ? idle + 1 : 0;
                for (var record : records) {
                    found.get(new TopicPartition(record.topic(), record.partition())).put(record.offset(), record);
                    count++;
                }
                if (idle > IDLE_POLLS_MAX) {
                    differences.add(isolation + ": not everything came: " + ends);
                    return count;
                }
            }
        }
        boolean isCommitted = isolation.equals("read_committed");
        for (Topic topic : topics) {
            for (int p = 0; p < topic.partitions.size(); p++) {
                var at = new TopicPartition(topic.name, p);
                one(isolation + " " + at, isCommitted, ends.get(at), topic, topic.partitions.get(p), found.get(at), differences);
            }
        }
        return count;
    }

    private static void one(String name, boolean isCommitted, long end, Topic topic, Partition partition, Map<Long, ConsumerRecord<byte[], byte[]>> found,
            List<String> differences) {
        Map<String, Long> newest = new HashMap<>();
        for (var entry : partition.sent.entrySet()) {
            if (entry.getKey() < end && entry.getValue().isVisible() && entry.getValue().key != null) {
                newest.put(entry.getValue().key, entry.getKey());
            }
        }
        for (var entry : partition.sent.entrySet()) {
            long offset = entry.getKey();
            Sent sent = entry.getValue();
            boolean mustBe = offset >= partition.start && (isCommitted ? offset < end && sent.isVisible() : true);
            boolean mayGo = topic.isCompacted && (sent.isTombstone || !sent.isVisible() || newest.getOrDefault(sent.key, -1L) != offset);
            var record = found.remove(offset);
            if (record == null) {
                if (mustBe && !mayGo) {
                    differences.add(name + " at " + offset + ": lost: " + sent.text);
                }
                continue;
            }
            if (!mustBe) {
                differences.add(name + " at " + offset + ": must not be seen: " + sent.text);
                continue;
            }
            String text = text(record.timestamp(), record.key(), record.value(), record.headers());
            if (!text.equals(sent.text)) {
                differences.add(name + " at " + offset + ": " + text + " instead of " + sent.text);
            }
            if (sent.epoch == null) {
                sent.epoch = record.leaderEpoch();
            } else if (!sent.epoch.equals(record.leaderEpoch())) {
                differences.add(name + " at " + offset + ": leader epoch " + record.leaderEpoch() + " instead of " + sent.epoch);
            }
        }
        found.forEach((offset, record) -> differences.add(name + " at " + offset + ": never written: " + text(record.timestamp(), record.key(), record.value(), record.headers())));
    }
}
