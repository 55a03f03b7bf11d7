import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.FeatureUpdate.UpgradeType;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogKey;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogValue;

/**
 * The levels of `transaction.version`: raised and lowered while transactions go on, and requests by hand at the lower ones. On a server of its own,
 * with one partition of `__transaction_state` (`scripts.rs`).
 */
final class TransactionVersionCases {
    static final String PREFIX = "transaction versions/";
    private static final TopicPartition STATES = new TopicPartition("__transaction_state", 0);
    private static final String TOPIC = "versions";
    private static final int PARTITIONS = 3;
    private static final int ONGOING = 1;
    /** What a client of version 2 does; Apache Kafka cannot write the state of one at level 0. */
    private static final Pattern BY_VERSION_2 = Pattern.compile("^(add|commit|abort|offsets|produce) .*v(5|12|13)|v5$|in the middle");
    /** Transactions that every producer must get through at each level. */
    private static final int EACH = 8;

    static void add(Map<String, Case.Body> cases) {
        cases.put(PREFIX + "under load", TransactionVersionCases::underLoad);
        for (short level : new short[] {0, 1}) {
            for (String state : level > 0 ? List.of("Empty", "Ongoing", "Ongoing v2", "CompleteCommit", "CompleteAbort v2") : List.of("Empty", "Ongoing", "CompleteCommit")) {
                cases.put(PREFIX + "level " + level + ", requests in state " + state, c -> {
                    if (level(c) != level) {
                        set(c, level, level < level(c) ? UpgradeType.SAFE_DOWNGRADE : UpgradeType.UPGRADE);
                    }
                    TransactionCases.requests(c, state, act -> level > 0 || !BY_VERSION_2.matcher(act).find());
                });
            }
        }
    }

    private static short level(Case c) throws Exception {
        var range = c.admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version");
        return range == null ? 0 : range.maxVersionLevel();
    }

    private static void update(Case c, short level, UpgradeType type) {
        c.attempt(type + " to " + level,
            () -> c.admin.updateFeatures(Map.of("transaction.version", new FeatureUpdate(level, type)), new UpdateFeaturesOptions()).all().get());
    }

    /** Asks for a level, and returns when the broker has it. */
    private static void set(Case c, short level, UpgradeType type) throws Exception {
        update(c, level, type);
        for (int tries = 0; level(c) != level && tries < 500; tries++) {
            Thread.sleep(10);
        }
        c.line("level " + level(c));
    }

    /** A producer that goes on whatever the level is. Of what it wrote it knows what was committed and what was not. */
    private static final class Load implements AutoCloseable {
        final String id;
        final Producer<byte[], byte[]> producer;
        final AtomicInteger done = new AtomicInteger();
        final Set<String> committed = ConcurrentHashMap.newKeySet();
        volatile boolean stops;
        volatile Exception failure;
        private final Thread thread = new Thread(this::run);

        Load(Case c, String id) {
            this.id = id;
            producer = ProduceCases.producer(c, Map.of("transactional.id", id, "transaction.timeout.ms", 60_000));
            producer.initTransactions();
        }

        Load started() {
            thread.start();
            return this;
        }

        private void run() {
            try {
                while (!stops) {
                    transact();
                }
            } catch (Exception error) {
                failure = error;
            }
        }

        void transact() {
            int n = done.get();
            producer.beginTransaction();
            List<String> written = new ArrayList<>();
            for (int p = 0; p < 2; p++) {
                String value = id + " " + n + " " + p;
                producer.send(new ProducerRecord<>(TOPIC, (n + p) % PARTITIONS, null, ProduceCases.bytes(value)));
                written.add(value);
            }
            if (n % 4 == 1) {
                producer.sendOffsetsToTransaction(Map.of(new TopicPartition(TOPIC, 0), new OffsetAndMetadata(n)), new ConsumerGroupMetadata("group-" + id));
            }
            // What is not sent yet, an abort would drop.
            producer.flush();
            if (n % 3 == 2) {
                producer.abortTransaction();
            } else {
                producer.commitTransaction();
                committed.addAll(written);
            }
            done.incrementAndGet();
        }

        /** Waits for so many transactions from now on. */
        void await(int more) throws Exception {
            int wanted = done.get() + more;
            for (int tries = 0; done.get() < wanted && failure == null && tries < 3000; tries++) {
                Thread.sleep(10);
            }
            if (failure != null || done.get() < wanted) {
                throw new IllegalStateException(id + " got to " + done.get() + " of " + wanted + ": " + (failure == null ? null : Case.error(failure)));
            }
        }

        @Override
        public void close() throws Exception {
            stops = true;
            thread.join();
            producer.close(Duration.ofSeconds(10));
        }
    }

    private static void underLoad(Case c) throws Exception {
        c.topic(TOPIC, PARTITIONS);
        List<Load> loads = new ArrayList<>();
        try {
            loads.add(new Load(c, "since 2").started());
            step(c, loads, "at first");
            update(c, (short) 1, UpgradeType.UPGRADE);
            update(c, (short) 3, UpgradeType.UPGRADE);
            update(c, (short) 0, UpgradeType.UPGRADE);
            change(c, loads, 1, UpgradeType.SAFE_DOWNGRADE);
            // Apache Kafka cannot write the state of a client of version 2 at level 0.
            loads.get(0).close();
            change(c, loads, 0, UpgradeType.SAFE_DOWNGRADE);
            loads.add(new Load(c, "since 0").started());
            change(c, loads, 1, UpgradeType.UPGRADE);
            loads.add(new Load(c, "since 1").started());
            change(c, loads, 2, UpgradeType.UPGRADE);
            loads.add(new Load(c, "since 2 again").started());
            change(c, loads, 1, UpgradeType.UNSAFE_DOWNGRADE);
            change(c, loads, 2, UpgradeType.UPGRADE);
        } finally {
            for (Load load : loads) {
                load.close();
            }
        }
        for (Load load : loads) {
            c.line(load.id + " failure " + (load.failure == null ? null : Case.error(load.failure)));
            c.line(load.id + " last state " + last(c, load.id));
        }
        Set<String> expected = new HashSet<>();
        loads.forEach(load -> expected.addAll(load.committed));
        expected.addAll(fresh);
        List<TopicPartition> partitions = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) {
            partitions.add(new TopicPartition(TOPIC, p));
        }
        List<String> found = new ArrayList<>();
        TransactionCases.read(c.bootstrap, partitions, "read_committed").forEach(r -> found.add(new String(r.value())));
        c.line("what is committed is there " + new HashSet<>(found).equals(expected) + ", once " + (new HashSet<>(found).size() == found.size()));
    }

    private static TransactionState last(Case c, String id) throws Exception {
        for (int tries = 0; ; tries++) {
            var state = c.admin.describeTransactions(List.of(id)).description(id).get().state();
            if (Set.of(TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT).contains(state)) {
                return TransactionState.COMPLETE_COMMIT;
            }
            if (tries == 500) {
                return state;
            }
            Thread.sleep(10);
        }
    }

    private static int steps;
    /** What the producers of one step committed. */
    private static final Set<String> fresh = ConcurrentHashMap.newKeySet();

    private static void change(Case c, List<Load> loads, int level, UpgradeType type) throws Exception {
        set(c, (short) level, type);
        step(c, loads, "after it");
    }

    /** What goes on at one level, and what is written of it. */
    private static void step(Case c, List<Load> loads, String when) throws Exception {
        List<Load> going = loads.stream().filter(load -> !load.stops).toList();
        for (Load load : going) {
            load.await(3);
        }
        long from = end(c);
        for (Load load : going) {
            load.await(EACH);
        }
        String name = "fresh " + ++steps;
        try (var load = new Load(c, name)) {
            for (int n = 0; n < 5; n++) {
                load.transact();
            }
            fresh.addAll(load.committed);
            last(c, name);
        }
        var written = written(c, from, end(c));
        for (Load load : going) {
            c.line(when + ", " + load.id + ": " + new TreeSet<>(written.get(load.id).stream().map(Written::steady).toList())
                + " the epoch " + epochs(written.get(load.id)));
        }
        // How many partitions a client adds at once is its own business.
        List<Written> all = written.get(name);
        for (int n = 0; n < all.size(); n++) {
            if (all.get(n).status != ONGOING || all.get(n + 1).status != ONGOING) {
                c.line(when + ", a new one: " + all.get(n));
            }
        }
    }

    private static String epochs(List<Written> written) {
        long epochs = written.stream().map(Written::epoch).distinct().count();
        return epochs >= EACH ? "rises with each" : epochs == 1 ? "stays" : "changes " + epochs + " times";
    }

    private static long end(Case c) throws Exception {
        return c.admin.listOffsets(Map.of(STATES, OffsetSpec.latest())).partitionResult(STATES).get().offset();
    }

    /** A record of `__transaction_state`. */
    private record Written(short version, int status, short epoch, short client, String previous, String next, Set<String> topics, boolean starts, int timeout) {
        String steady() {
            return "v" + version + " state " + status + " client " + client + " previous " + previous + " next " + next
                + " started " + starts;
        }

        @Override
        public String toString() {
            return steady() + " epoch " + epoch + " timeout " + timeout + " " + topics;
        }
    }

    private static Map<String, List<Written>> written(Case c, long from, long end) {
        Map<String, List<Written>> all = new LinkedHashMap<>();
        var configs = Map.<String, Object>of("bootstrap.servers", c.bootstrap);
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(STATES));
            consumer.seek(STATES, from);
            while (consumer.position(STATES) < end) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    if (r.offset() < end && r.value() != null) {
                        var key = ByteBuffer.wrap(r.key());
                        key.getShort();
                        String id = new TransactionLogKey(new ByteBufferAccessor(key), (short) 0).transactionalId();
                        all.computeIfAbsent(id, i -> new ArrayList<>()).add(decoded(ByteBuffer.wrap(r.value())));
                    }
                }
            }
        }
        return all;
    }

    private static Written decoded(ByteBuffer bytes) {
        short version = bytes.getShort();
        var value = new TransactionLogValue(new ByteBufferAccessor(bytes), version);
        var topics = new TreeSet<String>();
        if (value.transactionPartitions() != null) {
            value.transactionPartitions().forEach(t -> t.partitionIds().forEach(p -> topics.add(t.topic() + (t.topic().startsWith("__") ? "" : "-" + p))));
        }
        return new Written(version, value.transactionStatus(), value.producerEpoch(), value.clientTransactionVersion(), of(value.previousProducerId(), value.producerId()),
            of(value.nextProducerId(), value.producerId()), topics, value.transactionStartTimestampMs() >= 0, value.transactionTimeoutMs());
    }

    private static String of(long other, long producer) {
        return other < 0 ? "none" : other == producer ? "same" : "other";
    }
}
