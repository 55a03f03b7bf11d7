import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;

/**
 * `SwapDump DUMP_CLASS DIR all|records`: kafka-dump-log, of the version on the class path, on every file under the directory, indexes
 * included unless only records are asked for. Prints how many files it read; ends with 1 and the line if the tool complains of one.
 */
public final class SwapDump {
    private static final List<String> COMPLAINTS = List.of("isvalid: false", "Mismatches in", "mismatch", "Found out of order", "Found shallow", "Error at ",
        "Exception", "Corrupt", "invalid bytes", "Could not", "could not");
    private static int files;

    public static void main(String[] args) throws Exception {
        var out = System.out;
        var said = new ByteArrayOutputStream();
        // Before the tool's class is there: Scala keeps the stream it finds at first.
        System.setOut(new PrintStream(said));
        var tool = Class.forName(args[0]).getMethod("main", String[].class);
        var groups = new TreeMap<String, List<String>>();
        collect(new File(args[1]), args[2].equals("all"), groups);
        for (var group : groups.entrySet()) {
            List<String> words = new ArrayList<>(List.of("--deep-iteration", "--files", String.join(",", group.getValue())));
            if (!group.getKey().isEmpty()) {
                words.add(group.getKey());
            }
            tool.invoke(null, (Object) words.toArray(new String[0]));
            System.out.flush();
            String last = "";
            for (String line : said.toString().split("\n")) {
                if (line.startsWith("Dumping ")) {
                    last = line;
                }
                if (COMPLAINTS.stream().anyMatch(line::contains)) {
                    out.println(last + ": " + line);
                    System.exit(1);
                }
            }
            said.reset();
        }
        out.println(files + " files");
        System.exit(0);
    }

    private static void collect(File folder, boolean isAll, TreeMap<String, List<String>> groups) {
        File[] found = folder.listFiles();
        Arrays.sort(found);
        for (File file : found) {
            String name = file.getName();
            boolean isRecords = name.endsWith(".log") || name.endsWith(".checkpoint") && name.contains("-");
            if (file.isDirectory() && !name.endsWith("-delete")) {
                collect(file, isAll, groups);
            } else if (isRecords || isAll && (name.endsWith("index") || name.endsWith(".snapshot"))) {
                String topic = folder.getName();
                String decoder = !isRecords ? ""
                    : topic.equals("__cluster_metadata-0") ? "--cluster-metadata-decoder"
                    : topic.startsWith("__consumer_offsets-") ? "--offsets-decoder"
                    : topic.startsWith("__transaction_state-") ? "--transaction-log-decoder" : "";
                groups.computeIfAbsent(decoder, none -> new ArrayList<>()).add(file.getPath());
                files++;
            }
        }
    }
}
