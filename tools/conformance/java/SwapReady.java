import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;
import org.apache.kafka.common.utils.Utils;

/**
 * Waits, by asking, for what a server needs some time for after its start or a change: leaders, coordinators that have read their
 * partitions, ends of transactions written to every partition. Tries are counted, not seconds: a machine may stand still.
 */
final class SwapReady {
    /** What clients do not give up before: a machine may be busy. */
    static final int LIMIT_MS = 600_000;

    private static final int TRIES_MAX = 600;
    private static final Set<TransactionState> AT_REST = Set.of(TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT);

    private final Admin admin;

    SwapReady(Admin admin) {
        this.admin = admin;
    }

    interface Reason {
        /** Null if there is nothing to wait for. */
        String get() throws Exception;
    }

    /** Returns when `reason` has none; errors that the client would try again count as one. */
    static void await(String what, Reason reason) throws Exception {
        String last = null;
        for (int tries = 0; tries < TRIES_MAX; tries++) {
            try {
                last = reason.get();
            } catch (ExecutionException error) {
                if (!isTriedAgain(error.getCause())) {
                    throw error;
                }
                last = Case.error(error);
            }
            if (last == null) {
                return;
            }
            if (tries % 100 == 99) {
                System.err.println("waiting: " + what + ": " + last);
            }
            Thread.sleep(Math.min(200, 10 + tries));
        }
        throw new IllegalStateException(what + ": " + last);
    }

    /**
     * A broker that stood still was fenced, and so was the only one a topic could go to. A client that asks all brokers and loses one of them forgets whom it asked
     * (`AllBrokersStrategy`).
     */
    static boolean isTriedAgain(Throwable error) {
        return error instanceof RetriableException || error instanceof InvalidReplicationFactorException || error instanceof IllegalArgumentException && String.valueOf(error.getMessage()).startsWith("Unexpected key set");
    }

    /** Every partition has a leader, every coordinator answers, and no transaction but those of `open` is without its end. */
    void await(Collection<String> open) throws Exception {
        await("not ready", () -> {
            var names = admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
            var topics = admin.describeTopics(names).allTopicNames().get();
            String reason = leaderless(topics);
            if (reason == null && topics.containsKey("__consumer_offsets")) {
                askCoordinatorsOfGroups(topics.get("__consumer_offsets").partitions().size());
            }
            if (reason == null && topics.containsKey("__transaction_state")) {
                askCoordinatorsOfTransactions(topics.get("__transaction_state").partitions().size());
                reason = unfinished(open);
            }
            return reason;
        });
    }

    private static String leaderless(Map<String, TopicDescription> topics) {
        for (var topic : topics.values()) {
            for (var partition : topic.partitions()) {
                if (partition.leader() == null || partition.leader().isEmpty()) {
                    return topic.name() + "-" + partition.partition() + " has no leader";
                }
            }
        }
        return null;
    }

    /** A coordinator that has not read its partition says so, and the client asks it again. */
    private void askCoordinatorsOfGroups(int partitions) throws Exception {
        Map<String, ListConsumerGroupOffsetsSpec> asked = new TreeMap<>();
        names(partitions).forEach(name -> asked.put(name, new ListConsumerGroupOffsetsSpec()));
        admin.listConsumerGroupOffsets(asked).all().get();
    }

    private void askCoordinatorsOfTransactions(int partitions) throws Exception {
        var names = names(partitions);
        var told = admin.describeTransactions(names);
        for (String name : names) {
            try {
                told.description(name).get();
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof TransactionalIdNotFoundException)) {
                    throw error;
                }
            }
        }
    }

    private String unfinished(Collection<String> open) throws Exception {
        var missing = new TreeSet<>(open);
        for (var transaction : admin.listTransactions().all().get()) {
            String id = transaction.transactionalId();
            boolean isOngoing = transaction.state() == TransactionState.ONGOING;
            if (open.contains(id) ? !isOngoing : !AT_REST.contains(transaction.state())) {
                return id + " is " + transaction.state();
            }
            missing.remove(id);
        }
        return missing.isEmpty() ? null : "not known to be open: " + missing;
    }

    /** A name that falls on each partition of a coordinator. */
    private static List<String> names(int partitions) {
        Map<Integer, String> names = new TreeMap<>();
        for (int n = 0; names.size() < partitions; n++) {
            String name = "nobody-" + n;
            names.putIfAbsent(Utils.abs(name.hashCode()) % partitions, name);
        }
        return new ArrayList<>(names.values());
    }
}
