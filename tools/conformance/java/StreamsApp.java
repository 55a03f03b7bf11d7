import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * An ordinary application of Kafka Streams with {@code exactly_once_v2}: a join with a global table, a join of two streams in
 * a window, a count in windows, and a sum by another key, which takes a topic in between. It runs until it is killed.
 * `StreamsCheck` knows what it must have written.
 *
 * <pre>
 *   StreamsApp BOOTSTRAP STATE-FOLDER
 * </pre>
 */
public final class StreamsApp {
    static final long WINDOW_MS = 10_000;
    static final long JOIN_MS = 2_000;
    static final int CATEGORIES = 7;

    public static void main(String[] args) {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "shop");
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put("auto.offset.reset", "earliest");
        // Who is killed comes back as the same member, so that nobody waits for a session to end.
        properties.put(StreamsConfig.mainConsumerPrefix("group.instance.id"), "only");
        var streams = new KafkaStreams(topology(), properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.start();
    }

    private static Topology topology() {
        var builder = new StreamsBuilder();
        // Values: an order is "number amount", a payment "number".
        KStream<String, String> orders = builder.stream("orders");
        KStream<String, String> payments = builder.stream("payments");
        var customers = builder.<String, String>globalTable("customers");
        orders.join(customers, (customer, order) -> customer, (order, name) -> number(order) + " " + name).to("enriched");
        orders.groupByKey()
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW_MS), Duration.ofHours(10)))
            .count()
            .toStream()
            .map((window, count) -> new org.apache.kafka.streams.KeyValue<>(window.key() + "@" + window.window().start(), count.toString()))
            .to("windows");
        orders.groupBy((customer, order) -> category(number(order)), Grouped.with(Serdes.String(), Serdes.String()))
            .aggregate(() -> 0L, (category, order, sum) -> sum + amount(order), Materialized.with(Serdes.String(), Serdes.Long()))
            .toStream()
            .mapValues(sum -> sum.toString())
            .to("totals");
        orders.join(payments, (order, payment) -> number(order) + "-" + payment,
            JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(JOIN_MS), Duration.ofHours(10)),
            StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String())).to("paid");
        return builder.build();
    }

    static int number(String order) {
        return Integer.parseInt(order.substring(0, order.indexOf(' ')));
    }

    static long amount(String order) {
        return Long.parseLong(order.substring(order.indexOf(' ') + 1));
    }

    static String category(int number) {
        return "category-" + number % CATEGORIES;
    }
}
