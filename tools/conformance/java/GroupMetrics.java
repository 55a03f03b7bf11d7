import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * The same life of groups on a server, then what the server's metrics say of it: by JMX or by HTTP, the same numbers.
 *
 * Usage: GroupMetrics BOOTSTRAP jmx|http PORT. Output: `## case`, then a line for each metric.
 */
public final class GroupMetrics {
    /** Apache Kafka counts groups every minute. */
    private static final long GAUGES_SECONDS_MAX = 100;

    private static final String COORDINATOR = "kafka.server:type=group-coordinator-metrics";
    private static final String MANAGER = "kafka.coordinator.group:type=GroupMetadataManager,name=";
    private static final String PREFIX = "kafka_server_group_coordinator_metrics_";

    /** Line of the page by MBean and attribute. */
    private static final Map<String, String> METRICS = new LinkedHashMap<>();

    static {
        for (String protocol : List.of("classic", "consumer")) {
            METRICS.put(COORDINATOR + ",protocol=" + protocol + " group-count", PREFIX + "group_count{protocol=\"" + protocol + "\"}");
        }
        for (String state : List.of("Empty", "Assigning", "Reconciling", "Stable", "Dead")) {
            METRICS.put(COORDINATOR + ",state=" + state + " consumer-group-count", PREFIX + "consumer_group_count{state=\"" + state + "\"}");
        }
        for (String name : List.of("NumGroups", "NumGroupsPreparingRebalance", "NumGroupsCompletingRebalance", "NumGroupsStable",
                "NumGroupsDead", "NumGroupsEmpty", "NumOffsets")) {
            METRICS.put(MANAGER + name + " Value", "kafka_coordinator_group_groupmetadatamanager_" + name.toLowerCase());
        }
        for (String name : List.of("offset-commit-count", "offset-expiration-count", "offset-deletion-count",
                "group-completed-rebalance-count", "consumer-group-rebalance-count")) {
            METRICS.put(COORDINATOR + " " + name, PREFIX + name.replace('-', '_'));
        }
        for (String state : List.of("loading", "active", "failed")) {
            METRICS.put(COORDINATOR + ",state=" + state + " num-partitions", PREFIX + "num_partitions{state=\"" + state + "\"}");
        }
    }

    interface Reader {
        Map<String, Double> read() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Reader reader = args[1].equals("jmx") ? jmx(args[2]) : http(args[2]);
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", args[0]))) {
            admin.createTopics(List.of(new NewTopic("measured", 4, (short) 1))).all().get();
            Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(
                new TopicPartition("measured", 0), new OffsetAndMetadata(3), new TopicPartition("measured", 1), new OffsetAndMetadata(4));
            admin.alterConsumerGroupOffsets("simple", offsets).all().get();
            admin.alterConsumerGroupOffsets("deleted", offsets).all().get();
            admin.deleteConsumerGroupOffsets("simple", Set.of(new TopicPartition("measured", 1))).all().get();
            admin.deleteConsumerGroups(List.of("deleted")).all().get();
            AtomicBoolean ends = new AtomicBoolean();
            Member classic = new Member(args[0], "classic", "classic-live", ends);
            Member consumer = new Member(args[0], "consumer", "consumer-live", ends);
            // Each with a second member that comes and goes: its end is a rebalance of the classic group only.
            for (String protocol : List.of("classic", "consumer")) {
                Member first = protocol.equals("classic") ? classic : consumer;
                first.await(4);
                AtomicBoolean leaves = new AtomicBoolean();
                Member second = new Member(args[0], protocol, protocol + "-live", leaves);
                second.await(2);
                first.await(2);
                leaves.set(true);
                second.thread.join();
                first.await(4);
            }
            emptied(args[0], "classic");
            emptied(args[0], "consumer");
            print("groups", settled(reader));
            ends.set(true);
            classic.thread.join();
            consumer.thread.join();
        }
        System.out.println("## end");
        System.exit(0);
    }

    /** A group whose only member has left. */
    private static void emptied(String bootstrap, String protocol) throws Exception {
        AtomicBoolean leaves = new AtomicBoolean();
        Member member = new Member(bootstrap, protocol, protocol + "-gone", leaves);
        member.await(4);
        leaves.set(true);
        member.thread.join();
    }

    /** A consumer that polls until it is told to end, and commits what it has when it gets it for the first time. */
    private static final class Member {
        final Thread thread;
        private volatile int assigned;

        Member(String bootstrap, String protocol, String group, AtomicBoolean ends) {
            Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol,
                "enable.auto.commit", "false", "auto.offset.reset", "earliest");
            thread = new Thread(() -> {
                try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
                    consumer.subscribe(List.of("measured"));
                    boolean hasCommitted = false;
                    while (!ends.get()) {
                        consumer.poll(Duration.ofMillis(50));
                        int now = consumer.assignment().size();
                        // Once: whether a rebalance takes all partitions away between two looks is a matter of time.
                        if (!hasCommitted && now == 4) {
                            hasCommitted = true;
                            // By name: whether a position is known already is a matter of time.
                            Map<TopicPartition, OffsetAndMetadata> begin = new LinkedHashMap<>();
                            consumer.assignment().forEach(partition -> begin.put(partition, new OffsetAndMetadata(0)));
                            consumer.commitSync(begin);
                        }
                        assigned = now;
                    }
                }
            });
            thread.start();
        }

        void await(int partitions) throws Exception {
            for (int tries = 0; assigned != partitions; tries++) {
                if (tries > 3000) {
                    throw new IllegalStateException("a member has " + assigned + " partitions, not " + partitions);
                }
                Thread.sleep(20);
            }
        }
    }

    /** What the metrics say once they have seen the last group. */
    private static Map<String, Double> settled(Reader reader) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(GAUGES_SECONDS_MAX).toNanos();
        while (true) {
            Map<String, Double> found = reader.read();
            boolean seen = found.get(COORDINATOR + ",state=Stable consumer-group-count") == 1
                && found.get(COORDINATOR + ",state=Empty consumer-group-count") == 1
                && found.get(MANAGER + "NumGroupsEmpty Value") == 2;
            if (seen || System.nanoTime() > end) {
                return found;
            }
            Thread.sleep(1000);
        }
    }

    private static void print(String name, Map<String, Double> values) {
        System.out.println("## " + name);
        values.forEach((metric, value) -> System.out.println(metric + " = " + value));
    }

    private static Reader jmx(String port) throws Exception {
        var url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://127.0.0.1:" + port + "/jmxrmi");
        MBeanServerConnection server = JMXConnectorFactory.connect(url).getMBeanServerConnection();
        return () -> {
            Map<String, Double> values = new LinkedHashMap<>();
            for (String metric : METRICS.keySet()) {
                int space = metric.lastIndexOf(' ');
                Object value = server.getAttribute(new ObjectName(metric.substring(0, space)), metric.substring(space + 1));
                values.put(metric, ((Number) value).doubleValue());
            }
            return values;
        };
    }

    private static Reader http(String port) {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics")).build();
        return () -> {
            List<String> lines = client.send(request, HttpResponse.BodyHandlers.ofString()).body().lines().toList();
            Map<String, Double> values = new LinkedHashMap<>();
            METRICS.forEach((metric, line) -> lines.stream().filter(found -> found.startsWith(line + " "))
                .forEach(found -> values.put(metric, Double.valueOf(found.substring(line.length() + 1)))));
            return values;
        };
    }
}
