import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListSet;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The only member of a group, which lives through every exchange: it reads a topic and commits, and must be given everything, never
 * anything from before an offset whose commit was acknowledged.
 */
final class SwapMember implements Runnable {
    /** How their groups' names begin. */
    static final String LIVING = "living-";

    private final String group;
    private final String topic;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Map<Integer, ConcurrentSkipListSet<Long>> seen = new ConcurrentHashMap<>();
    private final Map<TopicPartition, Long> committed = new HashMap<>();
    private volatile String broken;

    SwapMember(String bootstrap, String protocol, String topic) {
        this.group = LIVING + protocol;
        this.topic = topic;
        this.consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "reconnect.backoff.max.ms", 200), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var thread = new Thread(this, group);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        try {
            consumer.subscribe(List.of(topic));
            while (true) {
                once();
            }
        } catch (WakeupException over) {
            consumer.close();
        } catch (Throwable error) {
            error.printStackTrace();
            broken = Case.error(error);
        }
    }

    private void once() {
        var records = consumer.poll(Duration.ofMillis(100));
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (var partition : records.partitions()) {
            for (var record : records.records(partition)) {
                if (record.offset() < committed.getOrDefault(partition, 0L)) {
                    broken = partition + ": was given " + record.offset() + " again after its commit of " + committed.get(partition);
                }
                seen.computeIfAbsent(partition.partition(), none -> new ConcurrentSkipListSet<>()).add(record.offset());
                next.put(partition, new OffsetAndMetadata(record.offset() + 1));
            }
        }
        if (next.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(next);
            next.forEach((partition, offset) -> committed.put(partition, offset.offset()));
        } catch (CommitFailedException | RebalanceInProgressException | RetriableException notCommitted) {
            // What was given will be given once more.
        }
    }

    /** Waits until it was given everything that is in the topic. */
    void await(SwapRecord.Topic all) throws Exception {
        SwapReady.await(group, () -> {
            for (int p = 0; broken == null && p < all.partitions.size(); p++) {
                var missing = new ConcurrentSkipListSet<>(all.partitions.get(p).sent.keySet());
                missing.removeAll(seen.getOrDefault(p, new ConcurrentSkipListSet<>()));
                if (!missing.isEmpty()) {
                    return missing.size() + " records of partition " + p + " did not come, the first at " + missing.first();
                }
            }
            return null;
        });
        if (broken != null) {
            throw new IllegalStateException(group + ": " + broken);
        }
    }
}
