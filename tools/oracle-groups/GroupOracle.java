// Asks Apache Kafka's own classes about consumer groups. Run with Kafka's jars on the class path and this file as source:
//   assign < lines   runs a server-side assignor on the group of each line and prints the new target
//   hash   < lines   prints the hash of the topics of each line, as it stands in ConsumerGroupMetadataValue
//   regex  < lines   says of each "pattern TAB topic TAB topic..." whether RE2/J takes it and which topics match whole
// Maps are given in the order of their keys, so that Kafka's answers do not depend on hash codes. Topic ids are small numbers
// for the same reason: a HashSet of them is walked in their order.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage.TopicMetadata;
import org.apache.kafka.coordinator.group.Utils;
import org.apache.kafka.coordinator.group.api.assignor.GroupAssignment;
import org.apache.kafka.coordinator.group.api.assignor.MemberAssignment;
import org.apache.kafka.coordinator.group.api.assignor.PartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.PartitionAssignorException;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

public class GroupOracle {
    static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            switch (arguments[0]) {
                case "assign" -> OUT.println(assign(line.split("\t", -1)));
                case "hash" -> OUT.println(hash(line));
                default -> OUT.println(regex(line.split("\t", -1)));
            }
        }
        OUT.flush();
    }

    static Uuid topic(String number) {
        return new Uuid(0L, Long.parseLong(number));
    }

    static Map<Uuid, Set<Integer>> partitions(String text) {
        Map<Uuid, Set<Integer>> result = new TreeMap<>();
        for (String entry : text.isEmpty() ? new String[0] : text.split(",")) {
            String[] halves = entry.split("=");
            Set<Integer> numbers = new TreeSet<>();
            for (String number : halves[1].split("\\.")) numbers.add(Integer.parseInt(number));
            result.put(topic(halves[0]), numbers);
        }
        return result;
    }

    // assignor TAB homogeneous|heterogeneous TAB topic:count,... TAB member;member;...
    // where a member is id|instance|topic,topic|topic=0.1.2,topic=3
    static String assign(String[] fields) {
        Map<Uuid, Integer> counts = new HashMap<>();
        for (String entry : fields[2].split(",")) {
            String[] halves = entry.split(":");
            counts.put(topic(halves[0]), Integer.parseInt(halves[1]));
        }
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new TreeMap<>();
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        for (String text : fields[3].split(";")) {
            String[] parts = text.split("\\|", -1);
            Set<Uuid> subscribed = new TreeSet<>();
            for (String number : parts[2].isEmpty() ? new String[0] : parts[2].split(",")) subscribed.add(topic(number));
            Map<Uuid, Set<Integer>> assigned = partitions(parts[3]);
            assigned.forEach((id, numbers) -> numbers.forEach(number ->
                inverted.computeIfAbsent(id, unused -> new HashMap<>()).put(number, parts[0])));
            Optional<String> instance = parts[1].isEmpty() ? Optional.empty() : Optional.of(parts[1]);
            members.put(parts[0], new MemberSubscriptionAndAssignmentImpl(Optional.empty(), instance, subscribed,
                new Assignment(assigned)));
        }
        SubscriptionType type =
            fields[1].equals("homogeneous") ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        SubscribedTopicDescriber topics = new SubscribedTopicDescriber() {
            @Override
            public int numPartitions(Uuid id) {
                return counts.getOrDefault(id, -1);
            }

            @Override
            public Set<String> racksForPartition(Uuid id, int partition) {
                throw new IllegalStateException("asked for racks");
            }
        };
        PartitionAssignor assignor = fields[0].equals("uniform") ? new UniformAssignor() : new RangeAssignor();
        try {
            GroupAssignment result = assignor.assign(new GroupSpecImpl(Collections.unmodifiableMap(members), type,
                inverted), topics);
            List<String> lines = new ArrayList<>();
            for (String id : members.keySet()) {
                MemberAssignment assignment = result.members().get(id);
                lines.add(id + "|" + text(assignment == null ? Map.of() : assignment.partitions()));
            }
            return String.join(";", lines);
        } catch (PartitionAssignorException error) {
            return "error: " + error.getMessage();
        }
    }

    static String text(Map<Uuid, Set<Integer>> assignment) {
        List<String> topics = new ArrayList<>();
        new TreeMap<>(assignment).forEach((id, numbers) -> {
            List<String> sorted = new ArrayList<>();
            new TreeSet<>(numbers).forEach(number -> sorted.add("" + number));
            topics.add(id.getLeastSignificantBits() + "=" + String.join(".", sorted));
        });
        return String.join(",", topics);
    }

    // name|id|rack.rack/rack.rack;name|id|... in any order: one slash-separated part for each partition
    static String hash(String line) {
        Map<String, Long> hashes = new HashMap<>();
        for (String text : line.isEmpty() ? new String[0] : line.split(";")) {
            String[] parts = text.split("\\|", -1);
            hashes.put(parts[0], Utils.computeTopicHash(parts[0], image(parts)));
        }
        return "" + Utils.computeGroupHash(hashes);
    }

    // An image with one topic.
    static CoordinatorMetadataImage image(String[] parts) {
        String[] partitions = parts[2].split("/", -1);
        TopicMetadata metadata = (TopicMetadata) proxy(TopicMetadata.class, (unused, method, arguments) ->
            switch (method.getName()) {
                case "name" -> parts[0];
                case "id" -> Uuid.fromString(parts[1]);
                case "partitionCount" -> partitions.length;
                default -> {
                    String racks = partitions[(Integer) arguments[0]];
                    yield new ArrayList<>(racks.isEmpty() ? List.of() : List.of(racks.split("\\.")));
                }
            });
        return (CoordinatorMetadataImage) proxy(CoordinatorMetadataImage.class,
            (unused, method, arguments) -> Optional.of(metadata));
    }

    static Object proxy(Class<?> type, InvocationHandler handler) {
        return Proxy.newProxyInstance(GroupOracle.class.getClassLoader(), new Class<?>[] {type}, handler);
    }

    static String regex(String[] fields) {
        Pattern pattern;
        try {
            pattern = Pattern.compile(fields[0]);
        } catch (PatternSyntaxException error) {
            return "error: " + error.getDescription();
        }
        StringBuilder matches = new StringBuilder("ok");
        for (int at = 1; at < fields.length; at++) {
            matches.append(pattern.matcher(fields[at]).matches() ? " 1" : " 0");
        }
        return matches.toString();
    }
}
