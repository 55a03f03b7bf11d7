import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What was asked of the servers and acknowledged, kept outside of them: the lines their answers must consist of, by section. Of these
 * sections nothing else may be told, but for the lines no client asked for (internal topics, configs of brokers).
 */
final class SwapExpected {
    private static final Set<String> SECTIONS = Set.of("configs", "topics", "groups", "quotas", "scram", "acls");

    private final Map<String, TreeMap<String, String>> lines = new HashMap<>();

    void put(String section, String key, Object line) {
        lines.computeIfAbsent(section, none -> new TreeMap<>()).put(key, String.valueOf(line));
    }

    void remove(String section, String key) {
        lines.getOrDefault(section, new TreeMap<>()).remove(key);
    }

    boolean has(String section, String key) {
        return lines.getOrDefault(section, new TreeMap<>()).containsKey(key);
    }

    boolean hasCommitted(String group) {
        return lines.getOrDefault("groups", new TreeMap<>()).values().stream().anyMatch(line -> line.startsWith(group + " "));
    }

    /** Everything of a topic, whose keys begin with its name and a blank. */
    void removeTopic(String name) {
        lines.values().forEach(of -> of.keySet().removeIf(key -> key.startsWith(name + " ")));
    }

    void compare(String section, Collection<String> told, List<String> differences) {
        if (!SECTIONS.contains(section)) {
            return;
        }
        var expected = new TreeSet<>(lines.getOrDefault(section, new TreeMap<>()).values());
        expected.stream().filter(line -> !told.contains(line)).forEach(line -> differences.add(section + " lost " + line));
        told.stream().filter(line -> isAsked(section, line) && !expected.contains(line)).forEach(line -> differences.add(section + " never asked for " + line));
    }

    private static boolean isAsked(String section, String line) {
        return switch (section) {
            case "configs" -> line.endsWith(" DYNAMIC_TOPIC_CONFIG");
            case "topics" -> line.startsWith("whole ");
            default -> true;
        };
    }
}
