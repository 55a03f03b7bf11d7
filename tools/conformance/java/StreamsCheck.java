import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Feeds `StreamsApp`, computes by itself what must come out, and compares it with what is committed: of joins every pair
 * once, of sums and counts the last value of each key.
 *
 * <pre>
 *   StreamsCheck BOOTSTRAP PARTITIONS ORDERS PER-SECOND SEED
 * </pre>
 *
 * Prints `fed` when everything is sent, `same` when everything came out, and what is wrong otherwise.
 */
public final class StreamsCheck {
    private static final int CUSTOMERS = 50;
    /** Events are of the last hour: what a window's changelog keeps is counted from now, and older state would be lost with its segments. */
    private static final long BEGIN = (System.currentTimeMillis() - 3_600_000) / StreamsApp.WINDOW_MS * StreamsApp.WINDOW_MS;
    private static final long APART_MS = 100;
    private static final Duration PATIENCE = Duration.ofSeconds(240);
    /** What comes too much comes soon after. */
    private static final Duration AFTERWARDS = Duration.ofSeconds(2);

    private record Event(String customer, int number, long amount, long at) {}

    /** Of each output topic what is to be in it: lines and how often. */
    private final Map<String, Map<String, Integer>> expected = new TreeMap<>();

    public static void main(String[] args) throws Exception {
        int partitions = Integer.parseInt(args[1]);
        int count = Integer.parseInt(args[2]);
        double rate = Double.parseDouble(args[3]);
        var random = new Random(Long.parseLong(args[4]));
        List<Event> orders = new ArrayList<>();
        List<Event> payments = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            var order = new Event("customer-" + random.nextInt(CUSTOMERS), n, random.nextInt(1000), BEGIN + n * APART_MS);
            orders.add(order);
            if (random.nextInt(10) < 7) {
                payments.add(new Event(order.customer, n, 0, order.at + random.nextInt(3000)));
            }
        }
        var check = new StreamsCheck();
        check.expect(orders, payments);
        feed(args[0], orders, payments, rate);
        System.out.println("fed");
        System.exit(check.compare(args[0], partitions) ? 0 : 1);
    }

    private void add(String topic, String line) {
        expected.computeIfAbsent(topic, t -> new HashMap<>()).merge(line, 1, Integer::sum);
    }

    private void expect(List<Event> orders, List<Event> payments) {
        Map<String, Integer> windows = new TreeMap<>();
        Map<String, Long> totals = new TreeMap<>();
        Map<String, List<Event>> paidBy = new HashMap<>();
        payments.forEach(payment -> paidBy.computeIfAbsent(payment.customer, c -> new ArrayList<>()).add(payment));
        for (Event order : orders) {
            add("enriched", order.customer + " " + order.number + " name-of-" + order.customer);
            windows.merge(order.customer + "@" + order.at / StreamsApp.WINDOW_MS * StreamsApp.WINDOW_MS, 1, Integer::sum);
            totals.merge(StreamsApp.category(order.number), order.amount, Long::sum);
            for (Event payment : paidBy.getOrDefault(order.customer, List.of())) {
                if (Math.abs(payment.at - order.at) <= StreamsApp.JOIN_MS) {
                    add("paid", order.customer + " " + order.number + "-" + payment.number);
                }
            }
        }
        windows.forEach((window, n) -> add("windows", window + " " + n));
        totals.forEach((category, sum) -> add("totals", category + " " + sum));
    }

    private static void feed(String bootstrap, List<Event> orders, List<Event> payments, double rate) throws Exception {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "linger.ms", 5);
        try (var producer = new KafkaProducer<>(configs, new StringSerializer(), new StringSerializer())) {
            for (int c = 0; c < CUSTOMERS; c++) {
                producer.send(new ProducerRecord<>("customers", "customer-" + c, "name-of-customer-" + c)).get();
            }
            System.out.println("begun");
            long began = System.nanoTime();
            int paid = 0;
            for (Event order : orders) {
                producer.send(new ProducerRecord<>("orders", null, order.at, order.customer, order.number + " " + order.amount));
                for (; paid < payments.size() && payments.get(paid).number <= order.number; paid++) {
                    Event payment = payments.get(paid);
                    producer.send(new ProducerRecord<>("payments", null, payment.at, payment.customer, "" + payment.number));
                }
                long ahead = (long) (order.number / rate * 1e9) - (System.nanoTime() - began);
                if (ahead > 5_000_000) {
                    Thread.sleep(ahead / 1_000_000);
                }
            }
        }
    }

    private boolean compare(String bootstrap, int partitions) {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (String topic : expected.keySet()) {
                for (int p = 0; p < partitions; p++) {
                    all.add(new TopicPartition(topic, p));
                }
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<String, Map<String, Integer>> found = new TreeMap<>();
            Map<String, String> lastOf = new HashMap<>();
            long end = System.nanoTime() + PATIENCE.toNanos();
            while (System.nanoTime() < end) {
                boolean isSame = found.equals(expected);
                var records = consumer.poll(isSame ? AFTERWARDS : Duration.ofMillis(200));
                if (isSame && records.isEmpty()) {
                    System.out.println("same");
                    expected.forEach((topic, lines) -> System.out.println(topic + " " + lines.size()));
                    return true;
                }
                for (var record : records) {
                    var lines = found.computeIfAbsent(record.topic(), t -> new HashMap<>());
                    String line = record.key() + " " + record.value();
                    if (record.topic().equals("windows") || record.topic().equals("totals")) {
                        // Updates: what a key was before does not count.
                        String before = lastOf.put(record.topic() + " " + record.key(), line);
                        if (before != null) {
                            lines.remove(before);
                        }
                        lines.put(line, 1);
                    } else {
                        lines.merge(line, 1, Integer::sum);
                    }
                }
            }
            expected.forEach((topic, lines) -> tell(topic, lines, found.getOrDefault(topic, Map.of())));
            return false;
        }
    }

    private static void tell(String topic, Map<String, Integer> expected, Map<String, Integer> found) {
        var missing = expected.entrySet().stream().filter(e -> !e.getValue().equals(found.get(e.getKey()))).toList();
        var extra = found.entrySet().stream().filter(e -> !e.getValue().equals(expected.get(e.getKey()))).toList();
        System.out.println(topic + ": " + missing.size() + " not as expected " + missing.stream().limit(5).toList() + ", " + extra.size()
            + " not expected " + extra.stream().limit(5).toList());
    }
}
