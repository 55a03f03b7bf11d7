import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Groups that live through the death of their coordinator: two members of the classic protocol, two of the new one, and a transactional producer
 * that commits a third group's offsets, while records are written without pause. What a group is told, commits and reads is kept and compared.
 *
 * <pre>
 *   GroupLoad BOOTSTRAP REPLICAS [ID,ID..]   replicas of the topics; with ids, where the only partition of `__consumer_offsets` lies
 * </pre>
 *
 * Commands on standard input, and their answers (`ready` comes first, when both groups have shared the partitions):
 *
 * <pre>
 *   goes on      waits until every member has read and committed records written since, and every partition has moved in every group;
 *                then what has happened to the groups since the last time: `told ...`, or `broken ...`
 *   leader       the broker that leads the partition of `__consumer_offsets`: `leader N`
 *   in sync      waits until no replica of any topic is missing: `in sync`
 *   everything   stops writing, waits until all is read and committed, compares: `verified RECORDS`, or `broken ...`
 * </pre>
 */
public final class GroupLoad {
    private static final String TOPIC = "group-load";
    private static final String OFFSETS = "__consumer_offsets";
    private static final String TRANSACTIONAL = "group-load-transactional";
    private static final int PARTITIONS = 4;
    private static final long LIMIT_MS = 90_000;
    /** An offset of a transaction that is aborted; it must never be seen. */
    private static final long ABORTED = 1L << 40;

    private final String bootstrap;
    private final Admin admin;
    private final List<Member> members = new ArrayList<>();
    /** Offsets whose commit was acknowledged, and offsets that somebody outside has seen, by group. */
    private final Map<String, Map<TopicPartition, Long>> acknowledged = new ConcurrentHashMap<>();
    private final Map<String, Map<TopicPartition, Long>> seen = new HashMap<>();
    private final Map<String, Map<TopicPartition, BitSet>> read = new HashMap<>();
    private final AtomicLong[] written = new AtomicLong[PARTITIONS];
    private final List<String> failures = Collections.synchronizedList(new ArrayList<>());
    private volatile boolean isWriting = true;
    private volatile boolean isTransacting = true;

    private GroupLoad(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    /** A consumer with its thread. */
    private final class Member implements ConsumerRebalanceListener, Runnable {
        final String group;
        final KafkaConsumer<byte[], byte[]> consumer;
        final AtomicInteger revoked = new AtomicInteger();
        final AtomicInteger lost = new AtomicInteger();
        final AtomicLong commits = new AtomicLong();
        volatile Set<TopicPartition> owned = Set.of();
        volatile ConsumerGroupMetadata known;
        /** As of the last time somebody asked. */
        String id = "";
        int generation;

        Member(String group, String protocol) {
            this.group = group;
            // It must not be taken for dead while the machine is busy.
            Map<String, Object> configs = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol,
                "auto.offset.reset", "earliest", "enable.auto.commit", false, "max.poll.interval.ms", 300_000,
                // With no broker left it would forget its topics, and a leader that finds them again asks for a rebalance.
                "metadata.recovery.strategy", "none"));
            if (protocol.equals("classic")) {
                configs.put("session.timeout.ms", 45_000);
                configs.put("heartbeat.interval.ms", 1_000);
            }
            this.consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) { }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            revoked.addAndGet(partitions.size());
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            lost.addAndGet(partitions.size());
        }

        @Override
        public void run() {
            try {
                consumer.subscribe(List.of(TOPIC), this);
                while (true) {
                    var records = consumer.poll(Duration.ofMillis(100));
                    owned = Set.copyOf(consumer.assignment());
                    known = consumer.groupMetadata();
                    if (records.isEmpty()) {
                        continue;
                    }
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (var partition : records.partitions()) {
                        var some = records.records(partition);
                        synchronized (read) {
                            var all = read.get(group).computeIfAbsent(partition, p -> new BitSet());
                            some.forEach(record -> all.set((int) record.offset()));
                        }
                        offsets.put(partition, new OffsetAndMetadata(some.get(some.size() - 1).offset() + 1));
                    }
                    commit(offsets);
                }
            } catch (Throwable error) {
                error.printStackTrace();
                failures.add("a member of " + group + " ended: " + error);
            }
        }

        private void commit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            while (true) {
                try {
                    consumer.commitSync(offsets);
                    offsets.forEach((partition, offset) -> acknowledged(group, partition, offset.offset()));
                    commits.incrementAndGet();
                    return;
                } catch (CommitFailedException | RebalanceInProgressException moved) {
                    return; // whoever has the partitions now reads them again
                } catch (RetriableException late) {
                    // the coordinator is away
                }
            }
        }
    }

    private void acknowledged(String group, TopicPartition partition, long offset) {
        Long before = acknowledged.get(group).put(partition, offset);
        if (before != null && offset < before) {
            failures.add(group + ": " + partition + ": " + before + " was committed, then " + offset);
        }
    }

    public static void main(String[] args) throws Exception {
        var load = new GroupLoad(args[0]);
        load.create(Short.parseShort(args[1]), args.length > 2 ? args[2] : "");
        for (int p = 0; p < PARTITIONS; p++) {
            load.written[p] = new AtomicLong();
        }
        for (String group : List.of("group-load-classic", "group-load-consumer", TRANSACTIONAL)) {
            load.acknowledged.put(group, new ConcurrentHashMap<>());
            load.seen.put(group, new HashMap<>());
            load.read.put(group, new HashMap<>());
        }
        for (String protocol : List.of("classic", "classic", "consumer", "consumer")) {
            load.members.add(load.new Member("group-load-" + protocol, protocol));
        }
        load.members.forEach(GroupLoad::start);
        start(load::write);
        start(load::transact);
        System.out.println(load.shared() ? "ready" : "broken: the groups do not share: " + load.shares());
        System.out.flush();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String command = in.readLine(); command != null && !command.equals("quit"); command = in.readLine()) {
            String answer = load.answer(command);
            System.out.println(load.failures.isEmpty() ? answer : "broken: " + load.failures);
            System.out.flush();
        }
        System.exit(0);
    }

    private static void start(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    private void create(short replicas, String place) throws Exception {
        List<NewTopic> topics = new ArrayList<>(List.of(new NewTopic(TOPIC, PARTITIONS, replicas)));
        if (!place.isEmpty()) {
            var ids = java.util.Arrays.stream(place.split(",")).map(Integer::valueOf).toList();
            topics.add(new NewTopic(OFFSETS, Map.of(0, ids)).configs(Map.of("cleanup.policy", "compact")));
        }
        // A broker that was started just now may not be counted yet.
        for (long end = System.currentTimeMillis() + LIMIT_MS;; Thread.sleep(200)) {
            try {
                admin.createTopics(topics).all().get();
                return;
            } catch (ExecutionException error) {
                if (System.currentTimeMillis() > end) {
                    throw error;
                }
                var there = admin.listTopics(new org.apache.kafka.clients.admin.ListTopicsOptions().listInternal(true)).names().get();
                topics.removeIf(topic -> there.contains(topic.name()));
            }
        }
    }

    private void write() {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "acks", "all", "delivery.timeout.ms", 600_000, "request.timeout.ms", 5000,
            "linger.ms", 0, "retry.backoff.ms", 20, "retry.backoff.max.ms", 200);
        try (var producer = new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long n = 0; isWriting; n++, Thread.sleep(20)) {
                int partition = (int) (n % PARTITIONS);
                producer.send(new ProducerRecord<>(TOPIC, partition, null, Long.toString(n).getBytes()), (metadata, error) -> {
                    if (error != null) {
                        failures.add("a record was not written: " + error);
                    } else {
                        written[metadata.partition()].accumulateAndGet(metadata.offset() + 1, Math::max);
                    }
                });
            }
            producer.flush();
        } catch (Throwable error) {
            error.printStackTrace();
            failures.add("the producer ended: " + error);
        }
    }

    /** Commits offsets in transactions; each fourth is aborted. A transaction that breaks off is begun again by a new producer. */
    private void transact() {
        var group = new ConsumerGroupMetadata(TRANSACTIONAL);
        var partition = new TopicPartition(TOPIC, 0);
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "transactional.id", TRANSACTIONAL, "transaction.timeout.ms", 60_000,
            "max.block.ms", 60_000);
        long offset = 1;
        while (isTransacting) {
            try (var producer = new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer())) {
                producer.initTransactions();
                for (; isTransacting; offset++, Thread.sleep(50)) {
                    boolean isAborted = offset % 4 == 0;
                    producer.beginTransaction();
                    producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(isAborted ? ABORTED : offset)), group);
                    if (isAborted) {
                        producer.abortTransaction();
                    } else {
                        producer.commitTransaction();
                        acknowledged(TRANSACTIONAL, partition, offset);
                    }
                }
            } catch (Throwable error) {
                // What became of it is not known; the next offset is higher.
                error.printStackTrace();
                offset++;
            }
        }
    }

    private Map<String, List<Integer>> shares() {
        Map<String, List<Integer>> shares = new java.util.TreeMap<>();
        members.forEach(member -> shares.computeIfAbsent(member.group, g -> new ArrayList<>()).add(member.owned.size()));
        return shares;
    }

    private boolean shared() throws InterruptedException {
        boolean isShared = waited(() -> members.stream().allMatch(member -> member.owned.size() == PARTITIONS / 2) && hasMoved(ends(), commits()));
        forget();
        return isShared;
    }

    /** What is so from now on is what was so the last time. */
    private void forget() {
        for (Member member : members) {
            member.id = member.known.memberId();
            member.generation = member.known.generationId();
            member.revoked.set(0);
            member.lost.set(0);
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private boolean waited(Condition condition) throws InterruptedException {
        for (long end = System.currentTimeMillis() + LIMIT_MS; System.currentTimeMillis() < end && failures.isEmpty(); Thread.sleep(50)) {
            try {
                if (condition.holds()) {
                    return true;
                }
            } catch (Exception error) {
                // brokers come and go
            }
        }
        return false;
    }

    private Map<String, Map<TopicPartition, Long>> ends() {
        Map<String, Map<TopicPartition, Long>> now = new HashMap<>();
        acknowledged.forEach((group, offsets) -> now.put(group, new HashMap<>(offsets)));
        return now;
    }

    private List<Long> commits() {
        return members.stream().map(member -> member.commits.get()).toList();
    }

    private boolean hasMoved(Map<String, Map<TopicPartition, Long>> from, List<Long> commits) throws InterruptedException {
        return waited(() -> {
            look();
            for (int m = 0; m < members.size(); m++) {
                // One may have been under way.
                if (members.get(m).commits.get() < commits.get(m) + 2) {
                    return false;
                }
            }
            for (var group : acknowledged.entrySet()) {
                int partitions = group.getKey().equals(TRANSACTIONAL) ? 1 : PARTITIONS;
                var before = from.get(group.getKey());
                long moved = group.getValue().entrySet().stream().filter(one -> one.getValue() > before.getOrDefault(one.getKey(), -1L)).count();
                if (moved < partitions) {
                    return false;
                }
            }
            return true;
        });
    }

    /** Somebody outside looks at the offsets: they are at least what had been acknowledged, and never less than what was seen. */
    private void look() throws Exception {
        for (String group : acknowledged.keySet()) {
            var expected = new HashMap<>(acknowledged.get(group));
            var found = admin.listConsumerGroupOffsets(group, new ListConsumerGroupOffsetsOptions().requireStable(true).timeoutMs(10_000))
                .partitionsToOffsetAndMetadata().get();
            expected.forEach((partition, offset) -> {
                OffsetAndMetadata one = found.get(partition);
                // Of a partition whose next offset is in an open transaction nothing is told.
                boolean isHidden = one == null && group.equals(TRANSACTIONAL);
                if (!isHidden && (one == null || one.offset() < offset)) {
                    failures.add(group + ": " + partition + ": " + offset + " was committed, " + one + " is found");
                }
            });
            found.forEach((partition, one) -> {
                if (one == null) {
                    return;
                }
                Long before = seen.get(group).put(partition, one.offset());
                if (before != null && one.offset() < before || one.offset() >= ABORTED) {
                    failures.add(group + ": " + partition + ": " + before + " was found, then " + one);
                }
            });
        }
    }

    private String answer(String command) throws Exception {
        switch (command) {
            case "goes on":
                return goesOn();
            case "leader":
                var node = describe(OFFSETS).partitions().get(0).leader();
                return "leader " + (node == null ? -1 : node.id());
            case "in sync":
                return waited(this::isInSync) ? "in sync" : "broken: not all replicas are in sync";
            case "everything":
                return everything();
            default:
                return "broken: " + command;
        }
    }

    private TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private boolean isInSync() throws Exception {
        var names = admin.listTopics(new org.apache.kafka.clients.admin.ListTopicsOptions().listInternal(true)).names().get();
        return admin.describeTopics(names).allTopicNames().get().values().stream().flatMap(topic -> topic.partitions().stream())
            .allMatch(partition -> partition.leader() != null && partition.isr().size() == partition.replicas().size());
    }

    private String goesOn() throws InterruptedException {
        if (!hasMoved(ends(), commits())) {
            return "broken: the groups stand still: " + commits() + " " + acknowledged;
        }
        StringBuilder told = new StringBuilder("told");
        for (String group : List.of("group-load-classic", "group-load-consumer")) {
            var own = members.stream().filter(member -> member.group.equals(group)).toList();
            boolean isSame = own.stream().allMatch(member -> member.known.memberId().equals(member.id));
            told.append(' ').append(group).append(": generations +").append(own.stream().map(member -> member.known.generationId() - member.generation).toList())
                .append(isSame ? ", the same members" : ", other members")
                .append(", revoked ").append(own.stream().mapToInt(member -> member.revoked.get()).sum())
                .append(", lost ").append(own.stream().mapToInt(member -> member.lost.get()).sum())
                .append(", shares ").append(own.stream().map(member -> member.owned.size()).toList()).append(';');
        }
        forget();
        return told.toString();
    }

    private String everything() throws Exception {
        isWriting = false;
        isTransacting = false;
        Map<TopicPartition, Long> ends = new HashMap<>();
        boolean isWhole = waited(() -> {
            look();
            for (int p = 0; p < PARTITIONS; p++) {
                var partition = new TopicPartition(TOPIC, p);
                long end = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get().offset();
                ends.put(partition, end);
                if (end != written[p].get()) {
                    return false;
                }
            }
            return acknowledged.get(TRANSACTIONAL).equals(seen.get(TRANSACTIONAL))
                && List.of("group-load-classic", "group-load-consumer").stream().allMatch(group -> ends.equals(seen.get(group)));
        });
        if (!isWhole) {
            return "broken: ends " + ends + ", committed " + seen;
        }
        long records = 0;
        for (String group : List.of("group-load-classic", "group-load-consumer")) {
            for (var end : ends.entrySet()) {
                BitSet all = Optional.ofNullable(read.get(group).get(end.getKey())).orElse(new BitSet());
                if (all.cardinality() != end.getValue()) {
                    return "broken: " + group + " has not read " + all.nextClearBit(0) + " of " + end;
                }
                records += end.getValue();
            }
        }
        return "verified " + records;
    }
}
