import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;

/** What a case has at hand: the server under test, a client to it, and the canonical lines it prints. */
final class Case {
    final String bootstrap;
    final int port;
    final String dir;
    final Admin admin;
    private final List<String> lines = new ArrayList<>();

    Case(String bootstrap, String dir, Admin admin) {
        this.bootstrap = bootstrap;
        this.port = Integer.parseInt(bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
        this.dir = dir;
        this.admin = admin;
    }

    interface Body {
        void run(Case c) throws Exception;
    }

    List<String> lines() {
        return lines;
    }

    /** Adds a line; what differs between two servers by nature is replaced by a word. */
    void line(String text) {
        lines.add(normal(text));
    }

    String normal(String text) {
        return text.replace(dir, "DIR")
            .replaceAll("\\b" + port + "\\b", "PORT")
            .replaceAll("\\b" + (port + 1) + "\\b", "CONTROLLER_PORT")
            .replaceAll("\\bin \\d+ ?ms\\b", "in N ms")
            .replace("\n", "\\n");
    }

    /** Prints `what` and either the value or the error it ends in. */
    void attempt(String what, Callable<?> call) {
        try {
            line(what + " -> " + call.call());
        } catch (Throwable error) {
            line(what + " -> " + error(error));
        }
    }

    /** Prints one line for each key of a result that holds one future a key. */
    <K, V> void each(String what, Map<K, KafkaFuture<V>> futures) {
        Map<String, KafkaFuture<V>> sorted = new TreeMap<>();
        futures.forEach((key, future) -> sorted.put(String.valueOf(key), future));
        sorted.forEach((key, future) -> attempt(what + " " + key, future::get));
    }

    static String error(Throwable error) {
        Throwable cause = error;
        while (cause instanceof ExecutionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getClass().getSimpleName() + ": " + cause.getMessage();
    }

    static String hex(byte[] bytes) {
        if (bytes == null) {
            return "null";
        }
        StringBuilder text = new StringBuilder();
        for (byte b : bytes) {
            text.append(b >= 0x20 && b < 0x7f ? String.valueOf((char) b) : String.format("\\x%02x", b));
        }
        return text.toString();
    }

    static <T> List<String> sorted(Collection<T> values) {
        List<String> texts = new ArrayList<>();
        for (T value : values) {
            texts.add(String.valueOf(value));
        }
        texts.sort(null);
        return texts;
    }

    /** A topic that is there, and whose partitions have a leader, when this returns. */
    void topic(String name, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        awaitTopic(name, partitions);
    }

    void topic(String name, int partitions) throws Exception {
        topic(name, partitions, Map.of());
    }

    /** Returns when the broker knows the topic and leads its partitions: a client asks again until then, bytes on a wire do not. */
    void awaitTopic(String name, int partitions) throws Exception {
        awaitLeaders(name, partitions);
        Map<TopicPartition, OffsetSpec> ends = new TreeMap<>(Comparator.comparingInt(TopicPartition::partition));
        for (int p = 0; p < partitions; p++) {
            ends.put(new TopicPartition(name, p), OffsetSpec.latest());
        }
        admin.listOffsets(ends).all().get();
    }

    private void awaitLeaders(String name, int partitions) throws Exception {
        for (int tries = 0; tries < 200; tries++) {
            try {
                var found = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
                boolean led = found.partitions().stream().allMatch(p -> p.leader() != null && !p.leader().isEmpty());
                if (found.partitions().size() == partitions && led) {
                    return;
                }
            } catch (ExecutionException notYet) {
                // the broker has not learnt of it
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("topic " + name + " did not come up");
    }

    /** Waits until the broker's own view no longer has the topic. */
    void awaitGone(String name) throws Exception {
        for (int tries = 0; tries < 200; tries++) {
            if (!admin.listTopics().names().get().contains(name)) {
                return;
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("topic " + name + " did not go");
    }
}
