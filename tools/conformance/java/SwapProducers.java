import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.common.TopicPartition;

/**
 * What a server knows of the producers of partitions, remembered when it goes and held against what the next one knows, after a kill too:
 * what retention and compaction took out of the log lies below a snapshot of the producers that survives it.
 */
final class SwapProducers {
    private final Admin admin;
    private Map<String, ProducerState> remembered;

    SwapProducers(Admin admin) {
        this.admin = admin;
    }

    void remember(Collection<TopicPartition> partitions) throws Exception {
        remembered = told(partitions);
    }

    int count() {
        return remembered.size();
    }

    void compare(Collection<TopicPartition> partitions, List<String> differences) throws Exception {
        var found = told(partitions);
        if (remembered == null) {
            return;
        }
        remembered.forEach((producer, before) -> {
            var now = found.remove(producer);
            if (!before.equals(now)) {
                differences.add("producers - " + producer + " " + before);
                differences.add("producers + " + now);
            }
        });
        found.forEach((producer, now) -> differences.add("producers + " + producer + " " + now));
    }

    private Map<String, ProducerState> told(Collection<TopicPartition> partitions) throws Exception {
        Map<String, ProducerState> told = new TreeMap<>();
        admin.describeProducers(partitions).all().get().forEach((partition, producers) -> producers.activeProducers().forEach(state ->
            told.put(partition + " " + state.producerId(), state)));
        return told;
    }
}
