import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writers of the lab, a producer each, until the input ends: `LabWriter BOOTSTRAP TOPIC PARTITIONS RATE FOLDER CODEC:PROCESS...`.
 * The histories are FOLDER/PROCESS.history, as in go/lab.go; what is not acknowledged soon after the end is unknown.
 */
public final class LabWriter {
    public static void main(String[] args) throws Exception {
        List<Runnable> works = new ArrayList<>();
        for (int at = 5; at < args.length; at++) {
            String[] spec = args[at].split(":");
            works.add(() -> write(args, spec[0], spec[1]));
        }
        Program.untilInputEnds(works);
        System.exit(0);
    }

    private static void write(String[] args, String codec, String process) {
        int partitions = Integer.parseInt(args[2]);
        Map<String, Object> configs = Map.of("bootstrap.servers", args[0], "compression.type", codec, "enable.idempotence", true,
            "acks", "all", "linger.ms", 5, "max.block.ms", 2000);
        try (BufferedWriter out = Files.newBufferedWriter(Path.of(args[4], process + ".history"))) {
            Set<String> open = new HashSet<>();
            var producer = new KafkaProducer<>(configs, new StringSerializer(), new StringSerializer());
            awaitTopic(producer, args[1]);
            for (long n = 0; !Program.isOver(); n++) {
                Thread.sleep(1000 / Integer.parseInt(args[3]));
                int partition = (int) (n % partitions);
                String value = process + String.format("%09d", n);
                String key = args[1] + "-" + partition;
                synchronized (open) {
                    open.add(key + "\t-1\t" + value);
                }
                // What fails before it is sent fails by way of the callback, too.
                producer.send(new ProducerRecord<>(args[1], partition, null, value), (done, error) -> {
                    synchronized (open) {
                        if (open.remove(key + "\t-1\t" + value)) {
                            line(out, process, error == null ? "ok" : "info", key + "\t" + (error == null ? done.offset() : -1) + "\t" + value);
                        }
                    }
                });
            }
            producer.close(Duration.ofSeconds(60));
            synchronized (open) {
                open.forEach(rest -> line(out, process, "info", rest));
                open.clear();
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    /** The first record does not pay for what the client has to find out first. */
    private static void awaitTopic(KafkaProducer<String, String> producer, String topic) {
        while (!Program.isOver()) {
            try {
                producer.partitionsFor(topic);
                return;
            } catch (TimeoutException late) {
                // It asks again.
            }
        }
    }

    private static void line(BufferedWriter out, String process, String outcome, String what) {
        Instant now = Instant.now();
        try {
            out.write("send\t" + process + "\t" + outcome + "\t" + what + "\t" + (now.getEpochSecond() * 1_000_000_000L + now.getNano()) + "\n");
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }
}
