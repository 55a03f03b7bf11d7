import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;

/**
 * The Java scripts of the conformance run: each case prints canonical lines, the runner compares those of two servers.
 *
 * Usage: Conformance BOOTSTRAP LOG_DIR [CASE_PREFIX,...]. Output: `## case`, then its lines.
 */
public final class Conformance {
    private static final long CASE_SECONDS_MAX = 120;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String dir = args[1];
        String[] prefixes = (args.length > 2 ? args[2] : "").split(",", -1);
        Map<String, Case.Body> cases = new LinkedHashMap<>();
        ClusterCases.add(cases);
        TopicCases.add(cases);
        ConfigCases.add(cases);
        ProduceCases.add(cases);
        ConsumeCases.add(cases);
        OffsetCases.add(cases);
        CompactionCases.add(cases);
        WireCases.add(cases);
        GroupCases.add(cases);
        ConsumerGroupCases.add(cases);
        GroupToolCases.add(cases);
        GroupSettingCases.add(cases);
        SequenceCases.add(cases);
        TransactionCases.add(cases);
        TransactionVersionCases.add(cases);
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        ExecutorService threads = Executors.newCachedThreadPool();
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "default.api.timeout.ms", 20000, "request.timeout.ms", 15000, "client.id", "conformance");
        try (Admin admin = Admin.create(config)) {
            for (Map.Entry<String, Case.Body> entry : cases.entrySet()) {
                if (Arrays.stream(prefixes).noneMatch(prefix -> isMeant(entry.getKey(), prefix))) {
                    continue;
                }
                Case c = new Case(bootstrap, dir, admin);
                String broken = run(threads, entry.getValue(), c);
                out.println("## " + entry.getKey());
                for (String line : List.copyOf(c.lines())) {
                    out.println(line);
                }
                if (broken != null) {
                    out.println(c.normal("BROKEN " + broken));
                }
                out.flush();
            }
        }
        out.println("## end");
        out.flush();
        System.exit(0);
    }

    /** Cases for a server with other settings must be asked for. */
    private static boolean isMeant(String name, String prefix) {
        boolean isOther = name.startsWith(GroupSettingCases.PREFIX) || name.startsWith(TransactionVersionCases.PREFIX);
        return name.startsWith(prefix) && (!prefix.isEmpty() || !isOther);
    }

    private static String run(ExecutorService threads, Case.Body body, Case c) {
        var running = threads.submit(() -> {
            body.run(c);
            return null;
        });
        try {
            running.get(CASE_SECONDS_MAX, TimeUnit.SECONDS);
            return null;
        } catch (TimeoutException late) {
            running.cancel(true);
            return "did not end within " + CASE_SECONDS_MAX + " s";
        } catch (Exception error) {
            return Case.error(error);
        }
    }
}
