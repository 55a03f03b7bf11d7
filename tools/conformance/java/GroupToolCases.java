import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

/** kafka-consumer-groups and kafka-groups, their main methods in this JVM: what they print and the code they end with. */
final class GroupToolCases {
    private static final long TIME = 1_600_000_000_000L;

    static void add(Map<String, Case.Body> cases) {
        cases.put("group tools/classic", c -> live(c, "classic"));
        cases.put("group tools/consumer", c -> live(c, "consumer"));
        cases.put("group tools/reset offsets", GroupToolCases::reset);
        cases.put("group tools/delete", GroupToolCases::delete);
        cases.put("group tools/wrong", GroupToolCases::wrong);
    }

    interface Main {
        void run(String[] args) throws Exception;
    }

    private static final class Ended extends RuntimeException {
        final int code;

        Ended(int code, String message) {
            super(message);
            this.code = code;
        }
    }

    /** Runs a tool. Its lines are sorted, since it prints in the order of hash maps, and ids that the server made are called so. */
    private static synchronized void tool(Case c, Main main, String line) {
        var bytes = new ByteArrayOutputStream();
        var stream = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        PrintStream out = System.out;
        PrintStream err = System.err;
        int[] code = {-1};
        Exit.Procedure exit = (status, message) -> {
            if (code[0] < 0) {
                code[0] = status;
            }
            throw new Ended(status, message);
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        System.setOut(stream);
        System.setErr(stream);
        try {
            main.run(("--bootstrap-server " + c.bootstrap + " " + line).split(" "));
        } catch (Ended ended) {
            // noted
        } catch (Throwable error) {
            stream.println(Case.error(error));
        } finally {
            System.setOut(out);
            System.setErr(err);
            Exit.resetExitProcedure();
            Exit.resetHaltProcedure();
        }
        c.line("$ " + line.replaceAll("--from-file [^ ]*", "--from-file FILE"));
        var lines = new ArrayList<String>();
        for (String text : bytes.toString(StandardCharsets.UTF_8).split("\n")) {
            String plain = text.replaceAll("-?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "-ID").replaceAll("\\b(?=[A-Z0-9_-]*[a-z])(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{22}\\b", "ID").replaceAll("\\s+", " ").trim();
            boolean isTrace = plain.startsWith("at ") || plain.startsWith("[") || plain.contains("Caused by");
            boolean isOthers = line.contains("--list") || line.contains("--all-groups");
            if (!plain.isEmpty() && !isTrace && (!isOthers || plain.contains("tools-") || plain.contains("GROUP"))) {
                lines.add(plain);
            }
        }
        lines.stream().sorted().forEach(c::line);
        c.line("ended with " + Math.max(code[0], 0));
    }

    private static void groups(Case c, String line) {
        tool(c, org.apache.kafka.tools.consumer.group.ConsumerGroupCommand::main, line);
    }

    private static void kafkaGroups(Case c, String line) {
        tool(c, org.apache.kafka.tools.GroupsCommand::main, line);
    }

    private static void fill(Case c, String topic, int partitions, int each) throws Exception {
        c.topic(topic, partitions);
        try (var producer = new KafkaProducer<>(Map.of("bootstrap.servers", c.bootstrap), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int n = 0; n < partitions * each; n++) {
                producer.send(new ProducerRecord<>(topic, n % partitions, TIME + n * 1000L, null, ("record " + n).getBytes())).get();
            }
        }
    }

    private static KafkaConsumer<byte[], byte[]> member(Case c, String group, String protocol, String name) {
        var configs = new HashMap<String, Object>(Map.of("bootstrap.servers", c.bootstrap, "group.id", group, "group.protocol", protocol, "client.id", name));
        configs.put("auto.offset.reset", "earliest");
        configs.put("enable.auto.commit", false);
        return new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Polls until each has its share. */
    private static void settle(List<KafkaConsumer<byte[], byte[]>> members, int share) {
        long end = System.currentTimeMillis() + 40_000;
        while (!members.stream().allMatch(m -> m.assignment().size() == share)) {
            members.forEach(m -> m.poll(Duration.ofMillis(100)));
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException("the group does not settle: " + members.stream().map(m -> m.assignment().size()).toList());
            }
        }
    }

    /** A group of two members, seen by the tools while it lives, and after. */
    private static void live(Case c, String protocol) throws Exception {
        String topic = "tools-live-" + protocol;
        String group = "tools-" + protocol;
        fill(c, topic, 4, 3);
        try (var one = member(c, group, protocol, "m"); var two = member(c, group, protocol, "m")) {
            one.subscribe(List.of(topic));
            settle(List.of(one), 4);
            var told = new TreeMap<TopicPartition, OffsetAndMetadata>((a, b) -> a.partition() - b.partition());
            for (int p = 0; p < 3; p++) {
                told.put(new TopicPartition(topic, p), new OffsetAndMetadata(p, "told"));
            }
            one.commitSync(told);
            two.subscribe(List.of(topic));
            settle(List.of(one, two), 2);
            groups(c, "--describe --group " + group);
            groups(c, "--describe --group " + group + " --offsets --verbose");
            groups(c, "--describe --group " + group + " --members");
            groups(c, "--describe --group " + group + " --members --verbose");
            groups(c, "--describe --group " + group + " --state");
            groups(c, "--describe --group " + group + " --state --verbose");
            groups(c, "--describe --all-groups --state");
            groups(c, "--list");
            groups(c, "--list --state");
            groups(c, "--list --state stable,empty");
            groups(c, "--list --type");
            groups(c, "--list --type consumer");
            groups(c, "--list --type classic --state Stable");
            kafkaGroups(c, "--list");
            kafkaGroups(c, "--list --group-type " + protocol);
            kafkaGroups(c, "--list --consumer");
            kafkaGroups(c, "--list --share");
            kafkaGroups(c, "--list --protocol consumer");
            kafkaGroups(c, "--list --protocol other");
            groups(c, "--reset-offsets --group " + group + " --all-topics --to-earliest --execute");
            groups(c, "--delete --group " + group);
            groups(c, "--delete-offsets --group " + group + " --topic " + topic);
        }
        groups(c, "--describe --group " + group);
        groups(c, "--describe --group " + group + " --members");
        groups(c, "--describe --all-groups --all-topics --state");
        groups(c, "--describe --group " + group + " --state");
        groups(c, "--list --state empty");
    }

    private static void reset(Case c) throws Exception {
        fill(c, "tools-reset", 3, 10);
        fill(c, "tools-other", 1, 2);
        try (var admin = member(c, "tools-reset", "classic", "reset")) {
            var told = new HashMap<TopicPartition, OffsetAndMetadata>();
            for (int p = 0; p < 3; p++) {
                told.put(new TopicPartition("tools-reset", p), new OffsetAndMetadata(5));
            }
            told.put(new TopicPartition("tools-other", 0), new OffsetAndMetadata(1));
            admin.commitSync(told);
        }
        Path plan = Files.createTempFile("plan", ".csv");
        Files.writeString(plan, "\"tools-reset\",0,7\n\"tools-reset\",2,3\n");
        Path plans = Files.createTempFile("plans", ".csv");
        Files.writeString(plans, "\"tools-reset\",\"tools-reset\",1,9\n\"tools-fresh\",\"tools-other\",0,2\n");
        for (String how : List.of("--to-earliest", "--to-latest", "--to-offset 2", "--to-offset 99", "--shift-by -1", "--shift-by 3", "--shift-by -100",
            "--to-datetime 2020-09-13T12:26:49.000Z", "--to-datetime 2020-09-13T12:26:49.000", "--to-datetime 2039-01-01T00:00:00.000Z", "--by-duration P1D",
            "--by-duration P20000D", "--to-current", "--from-file " + plan)) {
            String what = "--reset-offsets --group tools-reset --topic tools-reset " + how;
            groups(c, what + " --dry-run");
            groups(c, what + " --dry-run --export");
            groups(c, what + " --execute");
            groups(c, "--describe --group tools-reset --offsets");
        }
        groups(c, "--reset-offsets --group tools-reset --topic tools-reset:0,2 --to-offset 4 --execute");
        groups(c, "--reset-offsets --group tools-reset --topic tools-reset:1 --topic tools-other --to-latest --execute");
        groups(c, "--reset-offsets --group tools-reset --all-topics --to-earliest --dry-run");
        groups(c, "--reset-offsets --group tools-reset --group tools-fresh --from-file " + plans + " --execute");
        groups(c, "--reset-offsets --group tools-fresh --topic tools-reset --to-offset 1 --execute --export");
        groups(c, "--reset-offsets --group tools-reset --all-topics --to-current");
        groups(c, "--describe --group tools-reset --group tools-fresh --offsets");
        Files.delete(plan);
        Files.delete(plans);
    }

    private static void delete(Case c) throws Exception {
        fill(c, "tools-delete", 2, 4);
        fill(c, "tools-kept", 1, 4);
        for (String group : List.of("tools-delete-a", "tools-delete-b")) {
            try (var admin = member(c, group, "classic", "delete")) {
                var told = new HashMap<TopicPartition, OffsetAndMetadata>();
                told.put(new TopicPartition("tools-delete", 0), new OffsetAndMetadata(1));
                told.put(new TopicPartition("tools-delete", 1), new OffsetAndMetadata(2));
                told.put(new TopicPartition("tools-kept", 0), new OffsetAndMetadata(3));
                admin.commitSync(told);
            }
        }
        groups(c, "--delete-offsets --group tools-delete-a --topic tools-delete:1");
        groups(c, "--describe --group tools-delete-a");
        groups(c, "--delete-offsets --group tools-delete-a --topic tools-delete --topic tools-kept");
        groups(c, "--describe --group tools-delete-a");
        groups(c, "--delete-offsets --group tools-never --topic tools-delete");
        groups(c, "--delete-offsets --group tools-delete-b --topic tools-nowhere");
        groups(c, "--delete --group tools-delete-a --group tools-delete-b --group tools-never");
        groups(c, "--describe --group tools-delete-b");
        groups(c, "--list");
    }

    private static void wrong(Case c) {
        for (String line : Arrays.asList("--describe --group tools-never", "--describe --group tools-never --members", "--describe --group tools-never --state",
            "--reset-offsets --group tools-never --topic tools-nowhere --to-earliest --execute", "--delete --group tools-never",
            "--list --state sleeping", "--list --type strange",
            "--reset-offsets --group tools-never --topic tools-reset --shift-by much --dry-run",
            "--reset-offsets --group tools-never --topic tools-reset --to-datetime yesterday --dry-run")) {
            groups(c, line);
        }
        kafkaGroups(c, "--list --group-type strange");
    }
}
