import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of the group chaos, a thread each, until the input ends: `ChaosMember BOOTSTRAP TOPIC FOLDER NAME:GROUP:ASSIGNOR:INSTANCE...`.
 *
 * ASSIGNOR is `range`, `cooperative-sticky`, or `consumer` for the consumer protocol; INSTANCE is `-` for a dynamic member. What a
 * member does it writes to FOLDER/NAME.log, and never does it before it is written; `src/chaos_log.rs` says what the lines are.
 */
public final class ChaosMember implements ConsumerRebalanceListener {
    private final Map<String, Object> configs;
    private final String topic;
    private final BufferedWriter log;
    private KafkaConsumer<byte[], byte[]> consumer;
    /** What was read of the partitions it has, and not committed. */
    private final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();

    private ChaosMember(String bootstrap, String topic, String folder, String[] spec) throws IOException {
        this.topic = topic;
        log = Files.newBufferedWriter(Path.of(folder, spec[0] + ".log"), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        configs = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", spec[1], "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "max.poll.records", 100, "reconnect.backoff.max.ms", 200, "fetch.max.wait.ms", 200));
        if (spec[2].equals("consumer")) {
            configs.put("group.protocol", "consumer");
        } else {
            configs.put("session.timeout.ms", 6000);
            configs.put("heartbeat.interval.ms", 500);
            configs.put("partition.assignment.strategy", spec[2].equals("range")
                ? "org.apache.kafka.clients.consumer.RangeAssignor" : "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        }
        if (!spec[3].equals("-")) {
            configs.put("group.instance.id", spec[3]);
        }
    }

    public static void main(String[] args) throws Exception {
        List<Runnable> works = new ArrayList<>();
        for (int at = 3; at < args.length; at++) {
            var member = new ChaosMember(args[0], args[1], args[2], args[at].split(":"));
            works.add(member::live);
        }
        Program.untilInputEnds(works);
    }

    private void line(String text) {
        Instant now = Instant.now();
        try {
            log.write(now.getEpochSecond() * 1_000_000_000L + now.getNano() + " " + text + "\n");
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private void flush() {
        try {
            log.flush();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** What this member has now, but for `without`. */
    private void owns(Collection<TopicPartition> without) {
        var mine = new TreeSet<Integer>();
        for (TopicPartition partition : consumer.assignment()) {
            if (!without.contains(partition)) {
                mine.add(partition.partition());
            }
        }
        String list = mine.isEmpty() ? "-" : mine.stream().map(String::valueOf).collect(Collectors.joining(","));
        line("owns " + consumer.groupMetadata().generationId() + " " + list);
        flush();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        // Whoever had them before may have come further.
        next.keySet().removeAll(partitions);
        owns(List.of());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        next.keySet().removeAll(partitions);
        owns(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        next.keySet().removeAll(partitions);
        owns(partitions);
    }

    private void live() {
        while (!Program.isOver()) {
            try (var one = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer = one;
                next.clear();
                line("start");
                consumer.subscribe(List.of(topic), this);
                while (!Program.isOver()) {
                    poll();
                }
            } catch (Exception error) {
                // Fenced, or the instance that was killed is not yet given up.
                line("# " + error.toString().replace('\n', ' ') + " by " + error.getCause());
                flush();
                pause();
            }
        }
        line("left");
        flush();
    }

    private void poll() {
        for (var record : consumer.poll(Duration.ofMillis(100))) {
            line("read " + record.partition() + " " + record.offset() + " " + new String(record.value()));
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        if (next.isEmpty()) {
            return;
        }
        next.forEach((partition, to) -> line("commit " + partition.partition() + " " + to.offset()));
        flush();
        try {
            consumer.commitSync(next);
            next.forEach((partition, to) -> line("committed " + partition.partition() + " " + to.offset()));
            next.clear();
        } catch (org.apache.kafka.clients.consumer.CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException
            | org.apache.kafka.common.errors.TimeoutException late) {
            // It is tried again with what comes next, unless another has the partitions then.
            line("# " + late.getClass().getSimpleName());
        }
        flush();
    }

    private static void pause() {
        try {
            Thread.sleep(500);
        } catch (InterruptedException none) {
            Thread.currentThread().interrupt();
        }
    }
}
