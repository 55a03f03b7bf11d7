import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The load of the kill rounds: idempotent producers that go on over the server's deaths, and a reader that checks what they were told.
 *
 * Each codec has a topic; the records of a partition are numbered from 0, so the value at each place says what must be there: no gap,
 * no duplicate, no other order. An acknowledged record must have been given its number as its offset, and be read. Commands on standard input, and their answers
 * (`ready` comes first):
 *
 * <pre>
 *   flight        how many requests the producers have sent and not had answered: `flight N`
 *   verify        stops the load, reads all that is new since the last time, compares: `verified ACKNOWLEDGED READ` or `broken ...`
 *   everything    the same from offset 0 on
 *   flowing       waits until a record is acknowledged: `flowing`
 *   pause         stops the load until everything sent is acknowledged, for good: `paused`
 * </pre>
 */
public final class KillLoad {
    private static final List<String> CODECS = List.of("none", "lz4", "zstd");
    private static final int PARTITIONS = 2;
    /** Unacknowledged records a producer may have; bounds how long a verification waits. */
    private static final int IN_FLIGHT_MAX = 3000;

    private final String bootstrap;
    private final Map<TopicPartition, Acknowledged> acknowledged = new HashMap<>();
    private final Map<TopicPartition, Long> verifiedTo = new HashMap<>();
    private final List<String> failures = java.util.Collections.synchronizedList(new ArrayList<>());
    private final List<KafkaProducer<byte[], byte[]>> producers = java.util.Collections.synchronizedList(new ArrayList<>());
    private final AtomicLong unacknowledged = new AtomicLong();
    private final AtomicLong everAcknowledged = new AtomicLong();
    /** Records a producer sends in a second; 0 for as many as it can. */
    private final int pace;
    private volatile boolean isLoading = true;
    private volatile boolean isPaused;
    private volatile boolean isOver;

    /** What was acknowledged of a partition, by its numbers. */
    private static final class Acknowledged {
        /** The highest number ever. */
        long last = -1;
        /** How many since the last verification. */
        long untold;

        synchronized void add(long number) {
            last = Math.max(last, number);
            untold++;
        }
    }

    private KillLoad(String bootstrap, int pace) {
        this.bootstrap = bootstrap;
        this.pace = pace;
    }

    public static void main(String[] args) throws Exception {
        var load = new KillLoad(args[0], Integer.parseInt(args[2]));
        Client.create(args[0], PARTITIONS, Integer.parseInt(args[1]), List.of("kill-none", "kill-lz4", "kill-zstd"));
        List<Thread> threads = new ArrayList<>();
        for (String codec : CODECS) {
            for (int p = 0; p < PARTITIONS; p++) {
                load.acknowledged.put(new TopicPartition("kill-" + codec, p), new Acknowledged());
                load.verifiedTo.put(new TopicPartition("kill-" + codec, p), 0L);
            }
            Thread thread = new Thread(() -> load.produce(codec));
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        System.out.println("ready");
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String command = in.readLine(); command != null && !command.equals("quit"); command = in.readLine()) {
            System.out.println(load.answer(command));
            System.out.flush();
        }
        load.isOver = true;
        System.exit(0);
    }

    private String answer(String command) throws InterruptedException {
        switch (command) {
            case "flight":
                return "flight " + producers.stream().mapToLong(KillLoad::inFlight).sum();
            case "flowing":
                long seen = everAcknowledged.get();
                for (long end = System.currentTimeMillis() + 60_000; everAcknowledged.get() == seen; Thread.sleep(1)) {
                    if (System.currentTimeMillis() > end) {
                        return "broken: nothing was acknowledged for 60 s";
                    }
                }
                return "flowing";
            case "pause":
                isPaused = true;
                isLoading = false;
                for (long end = System.currentTimeMillis() + 60_000; unacknowledged.get() > 0; Thread.sleep(5)) {
                    if (System.currentTimeMillis() > end) {
                        return "broken: " + unacknowledged.get() + " records are not acknowledged after 60 s";
                    }
                }
                return "paused";
            case "everything":
                verifiedTo.replaceAll((partition, offset) -> 0L);
                return verify();
            default:
                return verify();
        }
    }

    private static long inFlight(KafkaProducer<byte[], byte[]> producer) {
        for (var metric : producer.metrics().entrySet()) {
            if (metric.getKey().name().equals("requests-in-flight") && metric.getKey().group().equals("producer-metrics")) {
                return ((Number) metric.getValue().metricValue()).longValue();
            }
        }
        return 0;
    }

    private void produce(String codec) {
        Map<String, Object> configs = Map.of(
            "bootstrap.servers", bootstrap, "compression.type", codec, "enable.idempotence", true, "acks", "all", "linger.ms", 1,
            "delivery.timeout.ms", 600_000, "request.timeout.ms", 5000, "retry.backoff.ms", 10, "retry.backoff.max.ms", 50);
        Map<String, Object> quick = new HashMap<>(configs);
        quick.put("reconnect.backoff.ms", 10);
        quick.put("reconnect.backoff.max.ms", 50);
        long[] next = new long[PARTITIONS];
        AtomicLong inFlight = new AtomicLong();
        try (var producer = new KafkaProducer<>(quick, new ByteArraySerializer(), new ByteArraySerializer())) {
            producers.add(producer);
            for (int n = 0; !isOver; n++) {
                int p = n % PARTITIONS;
                // Looked at and counted in this order, so that `pause` never misses a record that is being sent.
                unacknowledged.incrementAndGet();
                while (!isLoading && !isOver || inFlight.get() >= IN_FLIGHT_MAX) {
                    unacknowledged.decrementAndGet();
                    producer.flush();
                    Thread.sleep(2);
                    unacknowledged.incrementAndGet();
                }
                if (pace > 0 && n % Math.max(1, pace / 100) == 0) {
                    Thread.sleep(10);
                }
                long number = next[p]++;
                var partition = new TopicPartition("kill-" + codec, p);
                inFlight.incrementAndGet();
                producer.send(new ProducerRecord<>(partition.topic(), p, null, value(number)), (done, error) -> {
                    if (error != null) {
                        failures.add(partition + " record " + number + " failed: " + error);
                    } else {
                        if (done.offset() != number) {
                            failures.add(partition + ": record " + number + " was acknowledged at " + done.offset());
                        }
                        acknowledged.get(partition).add(number);
                        everAcknowledged.incrementAndGet();
                    }
                    inFlight.decrementAndGet();
                    unacknowledged.decrementAndGet();
                });
            }
        } catch (Exception error) {
            failures.add(codec + ": " + error);
        }
    }

    private static byte[] value(long number) {
        return (number + " " + "abcdefgh".repeat((int) (number % 40))).getBytes(StandardCharsets.US_ASCII);
    }

    /** Everything acknowledged until now is there, and everything there is the next number: stops and restarts the load. */
    private String verify() {
        isLoading = false;
        long read = 0;
        long told = 0;
        // What was acknowledged before the reading begins must be read; the producers may still be finishing the rest.
        Map<TopicPartition, Long> last = new HashMap<>();
        for (var entry : acknowledged.entrySet()) {
            synchronized (entry.getValue()) {
                last.put(entry.getKey(), entry.getValue().last);
                told += entry.getValue().untold;
                entry.getValue().untold = 0;
            }
        }
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "allow.auto.create.topics", false);
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var ends = consumer.endOffsets(verifiedTo.keySet());
            verifiedTo.replaceAll((partition, to) -> {
                if (ends.get(partition) < to) {
                    failures.add(partition + " ends at " + ends.get(partition) + ", was read up to " + to + " before");
                }
                return Math.min(to, ends.get(partition));
            });
            consumer.assign(verifiedTo.keySet());
            verifiedTo.forEach(consumer::seek);
            Map<TopicPartition, Long> due = new HashMap<>(verifiedTo);
            long deadline = System.currentTimeMillis() + 60_000;
            while (due.entrySet().stream().anyMatch(e -> e.getValue() < ends.get(e.getKey()))) {
                if (System.currentTimeMillis() > deadline) {
                    failures.add("reading to " + ends + " stopped at " + due);
                    break;
                }
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    var partition = new TopicPartition(record.topic(), record.partition());
                    check(partition, record.offset(), due.get(partition), record.value());
                    due.put(partition, record.offset() + 1);
                    read++;
                }
            }
            last.forEach((partition, number) -> {
                if (number >= due.get(partition)) {
                    failures.add(partition + ": record " + number + " was acknowledged, read up to " + due.get(partition));
                }
            });
            verifiedTo.putAll(due);
        } catch (Exception error) {
            failures.add("verify: " + error);
        }
        isLoading = !isPaused;
        return failures.isEmpty() ? "verified " + told + " " + read : broken();
    }

    private String broken() {
        String broken = "broken " + failures.size() + ": " + String.join(" | ", List.copyOf(failures.subList(0, Math.min(8, failures.size()))));
        failures.clear();
        return broken.replace('\n', ' ');
    }

    private void check(TopicPartition partition, long offset, long due, byte[] value) {
        if (offset != due) {
            failures.add(partition + ": offset " + offset + " where " + due + " was due");
        }
        // Numbers are sent in order and never skipped, so that the record at an offset has the offset's number.
        if (!java.util.Arrays.equals(value, value(offset))) {
            String text = new String(value, StandardCharsets.US_ASCII);
            failures.add(partition + "@" + offset + " holds " + text.substring(0, Math.min(20, text.length())));
        }
    }
}
