import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;

/** DescribeConfigs, IncrementalAlterConfigs, ListConfigResources. */
final class ConfigCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("configs/describe topic", ConfigCases::describeTopic);
        cases.put("configs/describe broker", ConfigCases::describeBroker);
        cases.put("configs/describe errors", ConfigCases::describeErrors);
        cases.put("configs/alter topic", ConfigCases::alterTopic);
        cases.put("configs/alter topic errors", ConfigCases::alterTopicErrors);
        cases.put("configs/alter broker", ConfigCases::alterBroker);
        cases.put("configs/alter takes effect", ConfigCases::takesEffect);
        cases.put("configs/list resources", ConfigCases::listResources);
    }

    /** Values that are this machine's, this process's or this version's word for itself. */
    private static final Set<String> OWN = Set.of("inter.broker.protocol.version");

    static void show(Case c, ConfigResource resource, boolean synonyms) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(synonyms);
        var config = c.admin.describeConfigs(List.of(resource), options).all().get().get(resource);
        Map<String, String> sorted = new TreeMap<>();
        for (ConfigEntry e : config.entries()) {
            List<String> names = new ArrayList<>();
            e.synonyms().forEach(s -> names.add(s.name() + "=" + s.value() + "/" + s.source()));
            String value = OWN.contains(e.name()) ? "..." : e.value();
            sorted.put(e.name(), value + " " + e.source() + " " + e.type() + (e.isReadOnly() ? " read only" : "")
                + (e.isSensitive() ? " secret" : "") + (synonyms ? " " + names : ""));
        }
        sorted.forEach((name, text) -> c.line(name + " = " + text));
    }

    private static void describeTopic(Case c) throws Exception {
        c.topic("config-shown", 1, Map.of("retention.ms", "77", "cleanup.policy", "compact"));
        show(c, new ConfigResource(Type.TOPIC, "config-shown"), true);
        show(c, new ConfigResource(Type.TOPIC, "config-shown"), false);
    }

    private static void describeBroker(Case c) throws Exception {
        show(c, new ConfigResource(Type.BROKER, "1"), true);
        c.line("-- default");
        show(c, new ConfigResource(Type.BROKER, ""), true);
    }

    private static void describeErrors(Case c) throws Exception {
        for (ConfigResource resource : List.of(new ConfigResource(Type.TOPIC, "never-was"), new ConfigResource(Type.TOPIC, "not valid"),
            new ConfigResource(Type.TOPIC, ""), new ConfigResource(Type.BROKER, "one"))) {
            c.attempt("describe " + resource, () -> c.admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().size() > 0);
        }
    }

    private static void alter(Case c, ConfigResource resource, boolean validateOnly, OpType type, String... pairs) {
        List<AlterConfigOp> ops = new ArrayList<>();
        for (int n = 0; n < pairs.length; n += 2) {
            ops.add(new AlterConfigOp(new ConfigEntry(pairs[n], pairs[n + 1]), type));
        }
        Map<ConfigResource, Collection<AlterConfigOp>> all = Map.of(resource, ops);
        c.attempt(type + " " + resource.name() + " " + String.join(" ", java.util.Arrays.stream(pairs).map(String::valueOf).toList())
            + (validateOnly ? " (validate)" : ""),
            () -> c.admin.incrementalAlterConfigs(all, new AlterConfigsOptions().validateOnly(validateOnly)).all().get());
    }

    /** What is set on a resource itself, once the broker has learnt of it. */
    private static void ownEntries(Case c, ConfigResource resource, String name, String awaited) throws Exception {
        for (int tries = 0; tries < 100; tries++) {
            var config = c.admin.describeConfigs(List.of(resource)).all().get().get(resource);
            List<String> own = new ArrayList<>();
            String found = null;
            for (ConfigEntry e : config.entries()) {
                if (e.source().name().startsWith("DYNAMIC")) {
                    own.add(e.name() + "=" + e.value() + "/" + e.source());
                    found = e.name().equals(name) ? e.value() : found;
                }
            }
            if (java.util.Objects.equals(found, awaited)) {
                c.line("set: " + Case.sorted(own));
                return;
            }
            Thread.sleep(20);
        }
        c.line("never saw " + name + "=" + awaited);
    }

    private static void alterTopic(Case c) throws Exception {
        c.topic("config-altered", 1);
        var topic = new ConfigResource(Type.TOPIC, "config-altered");
        alter(c, topic, false, OpType.SET, "retention.ms", "60000", "segment.bytes", "2000000");
        ownEntries(c, topic, "retention.ms", "60000");
        alter(c, topic, false, OpType.APPEND, "cleanup.policy", "compact");
        ownEntries(c, topic, "cleanup.policy", "delete,compact");
        alter(c, topic, false, OpType.APPEND, "cleanup.policy", "compact");
        ownEntries(c, topic, "cleanup.policy", "delete,compact");
        alter(c, topic, false, OpType.SUBTRACT, "cleanup.policy", "delete");
        ownEntries(c, topic, "cleanup.policy", "compact");
        alter(c, topic, false, OpType.DELETE, "retention.ms", "");
        ownEntries(c, topic, "retention.ms", null);
        alter(c, topic, true, OpType.SET, "retention.ms", "5");
        alter(c, topic, false, OpType.DELETE, "flush.ms", "");
        ownEntries(c, topic, "retention.ms", null);
    }

    private static void alterTopicErrors(Case c) throws Exception {
        c.topic("config-refused", 1);
        var topic = new ConfigResource(Type.TOPIC, "config-refused");
        alter(c, topic, false, OpType.SET, "retention.ms", "soon");
        alter(c, topic, false, OpType.SET, "no.such.config", "1");
        alter(c, topic, false, OpType.DELETE, "no.such.config", "");
        alter(c, topic, false, OpType.APPEND, "retention.ms", "1");
        alter(c, topic, false, OpType.SUBTRACT, "no.such.config", "1");
        alter(c, topic, false, OpType.SET, "retention.ms", null);
        alter(c, topic, false, OpType.SET, "retention.ms", "1", "retention.ms", "2");
        alter(c, topic, true, OpType.SET, "cleanup.policy", "shred");
        alter(c, topic, false, OpType.SET, "min.insync.replicas", "0", "retention.ms", "9");
        alter(c, topic, false, OpType.SET);
        alter(c, new ConfigResource(Type.TOPIC, "never-was"), false, OpType.SET, "retention.ms", "1");
        alter(c, new ConfigResource(Type.TOPIC, "not valid"), false, OpType.SET, "retention.ms", "1");
        alter(c, new ConfigResource(Type.TOPIC, ""), false, OpType.SET, "retention.ms", "1");
        ownEntries(c, topic, "retention.ms", null);
    }

    private static void alterBroker(Case c) throws Exception {
        var broker = new ConfigResource(Type.BROKER, "1");
        var all = new ConfigResource(Type.BROKER, "");
        alter(c, broker, false, OpType.SET, "log.retention.ms", "9123456789123");
        ownEntries(c, broker, "log.retention.ms", "9123456789123");
        alter(c, all, false, OpType.SET, "message.max.bytes", "2000000");
        ownEntries(c, all, "message.max.bytes", "2000000");
        ownEntries(c, broker, "message.max.bytes", "2000000");
        alter(c, broker, false, OpType.SET, "log.dirs", "/elsewhere");
        alter(c, broker, false, OpType.SET, "node.id", "3");
        alter(c, broker, false, OpType.SET, "no.such.config", "3");
        alter(c, broker, false, OpType.SET, "message.max.bytes", "many");
        alter(c, broker, false, OpType.SET, "num.io.threads", "-1");
        alter(c, broker, true, OpType.SET, "log.cleaner.threads", "2");
        alter(c, new ConfigResource(Type.BROKER, "one"), false, OpType.SET, "log.retention.ms", "1");
        alter(c, broker, false, OpType.DELETE, "log.retention.ms", "");
        ownEntries(c, broker, "log.retention.ms", null);
        alter(c, all, false, OpType.DELETE, "message.max.bytes", "");
        ownEntries(c, all, "message.max.bytes", null);
    }

    private static void takesEffect(Case c) throws Exception {
        c.topic("config-live", 1);
        var topic = new ConfigResource(Type.TOPIC, "config-live");
        c.line("big before " + ProduceCases.sendOne(c, "config-live", 5000));
        alter(c, topic, false, OpType.SET, "max.message.bytes", "1000");
        ownEntries(c, topic, "max.message.bytes", "1000");
        Thread.sleep(300);
        c.line("big after " + ProduceCases.sendOne(c, "config-live", 5000));
        c.line("small after " + ProduceCases.sendOne(c, "config-live", 500));
    }

    private static void listResources(Case c) throws Exception {
        c.topic("config-listed", 1);
        var found = c.admin.listConfigResources(Set.of(Type.TOPIC), new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get();
        c.line("topic listed " + found.contains(new ConfigResource(Type.TOPIC, "config-listed")));
        for (Type type : List.of(Type.BROKER, Type.BROKER_LOGGER, Type.CLIENT_METRICS, Type.GROUP)) {
            c.attempt("list " + type, () -> Case.sorted(
                c.admin.listConfigResources(Set.of(type), new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get()));
        }
        c.attempt("list all has topic", () -> c.admin.listConfigResources().all().get().contains(new ConfigResource(Type.TOPIC, "config-listed")));
    }
}
