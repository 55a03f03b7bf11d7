import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Groups of one member that read and commit until the input ends, and then to the end: `LabReader BOOTSTRAP TOPIC FOLDER PROTOCOL:PROCESS...`.
 * PROTOCOL is a group protocol (classic, consumer), the group is called `lab-PROCESS`; the histories are FOLDER/PROCESS.history, as in
 * go/lab.go. Whatever the consumer throws ends the program.
 */
public final class LabReader {
    public static void main(String[] args) throws Exception {
        List<Runnable> works = new ArrayList<>();
        for (int at = 3; at < args.length; at++) {
            String[] spec = args[at].split(":");
            works.add(() -> read(args, spec[0], spec[1]));
        }
        Program.untilInputEnds(works);
        System.exit(0);
    }

    private static void read(String[] args, String protocol, String process) {
        Map<String, Object> configs = Map.of("bootstrap.servers", args[0], "group.id", "lab-" + process, "group.protocol", protocol,
            "auto.offset.reset", "earliest", "auto.commit.interval.ms", 500);
        try (BufferedWriter out = Files.newBufferedWriter(Path.of(args[2], process + ".history"));
             var consumer = new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(args[1]), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    for (var one : partitions) {
                        line(out, "seek", process, one.toString(), -1, "-", now());
                    }
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }
            });
            Map<TopicPartition, Long> ends = null;
            Map<TopicPartition, Long> next = new HashMap<>();
            while (ends == null || ends.entrySet().stream().anyMatch(end -> next.getOrDefault(end.getKey(), 0L) < end.getValue())) {
                var records = consumer.poll(Duration.ofMillis(200));
                long time = now();
                for (var record : records) {
                    var partition = new TopicPartition(record.topic(), record.partition());
                    line(out, "poll", process, partition.toString(), record.offset(), record.value(), time);
                    next.put(partition, record.offset() + 1);
                }
                if (Program.isOver() && ends == null) {
                    ends = consumer.endOffsets(consumer.partitionsFor(args[1]).stream().map(one -> new TopicPartition(one.topic(), one.partition())).toList());
                }
            }
            consumer.commitSync();
            for (var committed : consumer.committed(next.keySet()).entrySet()) {
                OffsetAndMetadata offset = committed.getValue();
                if (offset == null || offset.offset() < ends.get(committed.getKey())) {
                    throw new IllegalStateException(committed + " is committed of " + ends);
                }
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    private static void line(BufferedWriter out, String what, String process, String key, long offset, String value, long time) {
        try {
            out.write(what + "\t" + process + "\tok\t" + key + "\t" + offset + "\t" + value + "\t" + time + "\n");
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
