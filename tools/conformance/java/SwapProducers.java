import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.common.TopicPartition;

/**
 * What a server knows of the producers of partitions, remembered when it goes and held against what the next one knows: all of it after a
 * clean end. A killed server leaves no snapshot of the end, and the next one reads the producers out of the log, which no longer has all: of a
 * batch whose newest record was compacted away the time is earlier, and a producer whose batches were all deleted may not be in it: with
 * their segment goes what only it knew (`LogLoader.recoverSegment`).
 */
final class SwapProducers {
    private final Admin admin;
    private Map<String, One> remembered;

    private record One(TopicPartition partition, ProducerState state) {
        String timeless() {
            return partition + " " + state.producerId() + " " + state.producerEpoch() + " " + state.lastSequence() + " " + state.coordinatorEpoch() + " "
                + state.currentTransactionStartOffset();
        }
    }

    SwapProducers(Admin admin) {
        this.admin = admin;
    }

    void remember(Collection<TopicPartition> partitions) throws Exception {
        remembered = told(partitions);
    }

    int count() {
        return remembered.size();
    }

    void compare(Map<String, SwapRecord.Topic> topics, Collection<TopicPartition> partitions, boolean isAfterKill, List<String> differences) throws Exception {
        var found = told(partitions);
        if (remembered == null) {
            return;
        }
        remembered.forEach((key, before) -> {
            var now = found.remove(key);
            var topic = topics.get(before.partition.topic());
            if (now == null ? !isAfterKill || !mayBeForgotten(topic, before) : !isSame(before, now, isAfterKill && topic.isCompacted)) {
                differences.add("producers - " + before);
                differences.add("producers + " + now);
            }
        });
        found.values().forEach(now -> differences.add("producers + " + now));
    }

    private Map<String, One> told(Collection<TopicPartition> partitions) throws Exception {
        Map<String, One> told = new TreeMap<>();
        admin.describeProducers(partitions).all().get().forEach((partition, producers) -> producers.activeProducers().forEach(state ->
            told.put(partition + " " + state.producerId(), new One(partition, state))));
        return told;
    }

    private static boolean isSame(One before, One now, boolean mayBeEarlier) {
        return mayBeEarlier ? now.timeless().equals(before.timeless()) && now.state.lastTimestamp() <= before.state.lastTimestamp() : now.equals(before);
    }

    /** Records were deleted, and the producer's newest is none that is still there; the times of records tell them apart. */
    private static boolean mayBeForgotten(SwapRecord.Topic topic, One one) {
        var partition = topic.partitions.get(one.partition.partition());
        return partition.start > 0 && one.state.currentTransactionStartOffset().isEmpty()
            && partition.sent.tailMap(partition.start).values().stream().noneMatch(sent -> sent.timestamp == one.state.lastTimestamp());
    }
}
