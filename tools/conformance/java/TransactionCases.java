import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Transactions: through Kafka's own clients, and every request in every state of a transaction by hand. */
final class TransactionCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("transactions/commit and abort", TransactionCases::commitAndAbort);
        cases.put("transactions/fencing", TransactionCases::fencing);
        cases.put("transactions/consume transform produce", c -> transform(c, "classic"));
        cases.put("transactions/consume transform produce of a consumer group", c -> transform(c, "consumer"));
        cases.put("transactions/administration", TransactionCases::administration);
        cases.put("transactions/aborted by an administrator", TransactionCases::abortedByAdmin);
        cases.put("transactions/timeout", TransactionCases::timeout);
        for (String state : STATES) {
            cases.put("transactions/requests in state " + state, c -> requests(c, state, act -> true));
        }
        cases.put("transactions/init producer id", TransactionCases::initProducerId);
        cases.put("transactions/records without a transaction", TransactionCases::unverified);
        cases.put("transactions/markers", TransactionCases::markers);
    }

    private static final List<String> STATES = List.of("none", "Empty", "Ongoing", "CompleteCommit", "CompleteAbort", "Ongoing v2",
        "CompleteCommit v2", "CompleteAbort v2");

    // Kafka's own clients.

    private static Producer<byte[], byte[]> producer(Case c, String id, Map<String, Object> more) {
        var configs = new HashMap<String, Object>(Map.of("transactional.id", id, "transaction.timeout.ms", 60_000));
        configs.putAll(more);
        return ProduceCases.producer(c, configs);
    }

    private static void fill(Producer<byte[], byte[]> producer, String topic, int first, int count) throws Exception {
        for (int n = first; n < first + count; n++) {
            producer.send(ProduceCases.record(topic, n % 2, n));
        }
        producer.flush();
    }

    private static List<ConsumerRecord<byte[], byte[]>> read(Case c, String topic, String isolation) {
        return read(c.bootstrap, List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)), isolation);
    }

    /** Everything that is there for such a reader, by partition and offset. */
    static List<ConsumerRecord<byte[], byte[]>> read(String bootstrap, List<TopicPartition> partitions, String isolation) {
        var configs = Map.<String, Object>of("bootstrap.servers", bootstrap, "isolation.level", isolation, "allow.auto.create.topics", false);
        var all = new ArrayList<ConsumerRecord<byte[], byte[]>>();
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            long until = System.currentTimeMillis() + 10_000;
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p)) && System.currentTimeMillis() < until) {
                consumer.poll(Duration.ofMillis(100)).forEach(all::add);
            }
        }
        all.sort((a, b) -> a.partition() != b.partition() ? a.partition() - b.partition() : Long.compare(a.offset(), b.offset()));
        return all;
    }

    private static void show(Case c, String what, String topic) {
        for (String isolation : List.of("read_uncommitted", "read_committed")) {
            var seen = new StringBuilder();
            read(c, topic, isolation).forEach(r -> seen.append(' ').append(r.partition()).append('@').append(r.offset()).append('=').append(new String(r.key())));
            c.line(what + " " + isolation + seen);
        }
        for (IsolationLevel level : IsolationLevel.values()) {
            for (int p = 0; p < 2; p++) {
                var tp = new TopicPartition(topic, p);
                c.attempt(what + " end of " + p + " " + level,
                    () -> c.admin.listOffsets(Map.of(tp, OffsetSpec.latest()), new ListOffsetsOptions(level)).partitionResult(tp).get().offset());
            }
        }
    }

    /** Markers are written after the answer. */
    private static void await(Case c, String id, TransactionState... wanted) throws Exception {
        for (int tries = 0; tries < 500; tries++) {
            var state = c.admin.describeTransactions(List.of(id)).description(id).get().state();
            if (Set.of(wanted).contains(state)) {
                return;
            }
            Thread.sleep(10);
        }
        throw new IllegalStateException(id + " did not get to " + List.of(wanted));
    }

    private static void commitAndAbort(Case c) throws Exception {
        c.topic("txn", 2);
        for (String codec : List.of("none", "zstd")) {
            String id = "commit-and-abort-" + codec;
            try (var producer = producer(c, id, Map.of("compression.type", codec))) {
                producer.initTransactions();
                producer.beginTransaction();
                fill(producer, "txn", 0, 5);
                show(c, "open", "txn");
                producer.commitTransaction();
                await(c, id, TransactionState.COMPLETE_COMMIT);
                show(c, "committed", "txn");
                producer.beginTransaction();
                fill(producer, "txn", 10, 5);
                producer.abortTransaction();
                await(c, id, TransactionState.COMPLETE_ABORT);
                show(c, "aborted", "txn");
                producer.beginTransaction();
                producer.commitTransaction();
                producer.beginTransaction();
                producer.abortTransaction();
                for (int round = 0; round < 20; round++) {
                    producer.beginTransaction();
                    fill(producer, "txn", 100 + round * 2, 2);
                    if (round % 3 == 0) {
                        producer.abortTransaction();
                    } else {
                        producer.commitTransaction();
                    }
                }
                await(c, id, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT);
                show(c, "many", "txn");
            }
        }
        // Somebody else's records between, and a transaction that stays open.
        try (var open = producer(c, "stays-open", Map.of()); var plain = ProduceCases.producer(c, Map.of())) {
            open.initTransactions();
            open.beginTransaction();
            fill(open, "txn", 500, 2);
            fill(plain, "txn", 600, 2);
            show(c, "behind an open one", "txn");
            var tp = new TopicPartition("txn", 0);
            c.admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().stream()
                .filter(p -> p.currentTransactionStartOffset().isPresent())
                .forEach(p -> c.line("open since " + p.currentTransactionStartOffset() + " sequence " + p.lastSequence() + " epoch " + p.producerEpoch()
                    + " coordinator epoch " + p.coordinatorEpoch()));
            open.abortTransaction();
            await(c, "stays-open", TransactionState.COMPLETE_ABORT);
            show(c, "after it", "txn");
        }
    }

    private static void fencing(Case c) throws Exception {
        c.topic("txn-fencing", 2);
        try (var first = producer(c, "fenced", Map.of()); var second = producer(c, "fenced", Map.of())) {
            first.initTransactions();
            first.beginTransaction();
            fill(first, "txn-fencing", 0, 2);
            second.initTransactions();
            c.attempt("the first commits", () -> {
                first.commitTransaction();
                return "committed";
            });
            second.beginTransaction();
            fill(second, "txn-fencing", 10, 2);
            c.attempt("the second commits", () -> {
                second.commitTransaction();
                return "committed";
            });
            c.attempt("the first begins", () -> {
                first.beginTransaction();
                return "begun";
            });
        }
        await(c, "fenced", TransactionState.COMPLETE_COMMIT);
        show(c, "fenced", "txn-fencing");
    }

    private static void transform(Case c, String protocol) throws Exception {
        String in = "txn-in-" + protocol;
        String out = "txn-out-" + protocol;
        String group = "transformers-" + protocol;
        c.topic(in, 2);
        c.topic(out, 2);
        ProduceCases.fill(c, in, 0, 20, "none");
        ProduceCases.fill(c, in, 1, 20, "none");
        var configs = Map.<String, Object>of("bootstrap.servers", c.bootstrap, "group.id", group, "group.protocol", protocol, "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "isolation.level", "read_committed", "max.poll.records", 7);
        int taken = 0;
        int round = 0;
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            var producer = producer(c, group, Map.of())) {
            producer.initTransactions();
            consumer.subscribe(List.of(in));
            long until = System.currentTimeMillis() + 40_000;
            while (taken < 40 && System.currentTimeMillis() < until) {
                var polled = consumer.poll(Duration.ofMillis(200));
                if (polled.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
                for (var r : polled) {
                    producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>(out, r.partition(), r.key(), r.value()));
                    offsets.put(new TopicPartition(in, r.partition()), new OffsetAndMetadata(r.offset() + 1, "of round"));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (round++ == 2) {
                    producer.abortTransaction();
                    // What was read is read again.
                    for (var tp : consumer.assignment()) {
                        var committed = consumer.committed(Set.of(tp)).get(tp);
                        consumer.seek(tp, committed == null ? 0 : committed.offset());
                    }
                } else {
                    producer.commitTransaction();
                    taken += polled.count();
                }
            }
        }
        c.line("taken " + taken);
        var keys = new LinkedHashMap<Integer, List<String>>();
        read(c, out, "read_committed").forEach(r -> keys.computeIfAbsent(r.partition(), p -> new ArrayList<>()).add(new String(r.key())));
        keys.forEach((p, all) -> c.line(p + " " + all));
        new java.util.TreeMap<>(Map.of(0, new TopicPartition(in, 0), 1, new TopicPartition(in, 1))).forEach((p, tp) -> c.attempt("committed " + tp,
            () -> c.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp)));
    }

    private static void administration(Case c) throws Exception {
        c.topic("txn-admin", 2);
        try (var one = producer(c, "admin-one", Map.of()); var two = producer(c, "admin-two", Map.of()); var three = producer(c, "admin-three", Map.of())) {
            one.initTransactions();
            two.initTransactions();
            three.initTransactions();
            one.beginTransaction();
            fill(one, "txn-admin", 0, 2);
            two.beginTransaction();
            fill(two, "txn-admin", 0, 2);
            two.commitTransaction();
            await(c, "admin-two", TransactionState.COMPLETE_COMMIT);
            for (String id : List.of("admin-one", "admin-two", "admin-three", "admin-never")) {
                c.attempt("describe " + id, () -> {
                    var d = c.admin.describeTransactions(List.of(id)).description(id).get();
                    return d.state() + " timeout " + d.transactionTimeoutMs() + " started " + d.transactionStartTimeMs().isPresent() + " epoch " + d.producerEpoch()
                        + " of " + d.coordinatorId() + " " + Case.sorted(d.topicPartitions());
                });
            }
            long id = c.admin.describeTransactions(List.of("admin-one")).description("admin-one").get().producerId();
            var filters = new LinkedHashMap<String, ListTransactionsOptions>();
            filters.put("all", new ListTransactionsOptions());
            filters.put("ongoing", new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING)));
            filters.put("complete or empty", new ListTransactionsOptions().filterStates(Set.of(TransactionState.COMPLETE_COMMIT, TransactionState.EMPTY)));
            filters.put("by producer", new ListTransactionsOptions().filterProducerIds(Set.of(id)));
            filters.put("by no producer", new ListTransactionsOptions().filterProducerIds(Set.of(999_999L)));
            filters.put("longer than an hour", new ListTransactionsOptions().filterOnDuration(3_600_000));
            filters.put("pattern", new ListTransactionsOptions().filterOnTransactionalIdPattern("admin-t.*"));
            filters.put("pattern of a part", new ListTransactionsOptions().filterOnTransactionalIdPattern("admin"));
            filters.put("bad pattern", new ListTransactionsOptions().filterOnTransactionalIdPattern("(ab"));
            filters.forEach((name, options) -> {
                try {
                    var listed = c.admin.listTransactions(options).all().get().stream().filter(l -> l.transactionalId().startsWith("admin-"))
                        .map(l -> l.transactionalId() + " " + l.state()).toList();
                    c.line(name + " " + Case.sorted(listed));
                } catch (Exception error) {
                    c.line(name + " " + Case.error(error).split(":")[0]);
                }
            });
            try (Wire wire = new Wire(c)) {
                for (int v = 0; v <= 2; v++) {
                    var response = (ListTransactionsResponseData) wire.call(ApiKeys.LIST_TRANSACTIONS, v,
                        new ListTransactionsRequestData().setStateFilters(List.of("Ongoing", "ongoing", "Dead", "PrepareEpochFence", "x")));
                    c.line("v" + v + " error " + response.errorCode() + " unknown " + Case.sorted(response.unknownStateFilters()) + " found "
                        + response.transactionStates().stream().filter(t -> t.transactionalId().startsWith("admin-")).map(t -> t.transactionState()).toList());
                }
                var response = (DescribeTransactionsResponseData) wire.call(ApiKeys.DESCRIBE_TRANSACTIONS, 0,
                    new DescribeTransactionsRequestData().setTransactionalIds(List.of("admin-two", "", "admin-never", "admin-two")));
                response.transactionStates().forEach(t -> c.line(t.transactionalId() + " " + Errors.forCode(t.errorCode()) + " " + t.transactionState()));
            }
            one.abortTransaction();
        }
    }

    private static void abortedByAdmin(Case c) throws Exception {
        c.topic("txn-hangs", 2);
        var tp = new TopicPartition("txn-hangs", 0);
        try (var producer = producer(c, "hangs", Map.of())) {
            producer.initTransactions();
            producer.beginTransaction();
            fill(producer, "txn-hangs", 0, 4);
            var state = c.admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().get(0);
            c.attempt("abort with the wrong coordinator epoch", () -> {
                c.admin.abortTransaction(new AbortTransactionSpec(tp, state.producerId(), (short) state.producerEpoch(), 5)).all().get();
                return "aborted";
            });
            show(c, "aborted in one partition", "txn-hangs");
            c.attempt("abort again", () -> {
                c.admin.abortTransaction(new AbortTransactionSpec(tp, state.producerId(), (short) state.producerEpoch(), 4)).all().get();
                return "aborted";
            });
        }
        try (var producer = producer(c, "terminated", Map.of())) {
            producer.initTransactions();
            producer.beginTransaction();
            fill(producer, "txn-hangs", 10, 4);
            c.attempt("terminate", () -> {
                c.admin.forceTerminateTransaction("terminated").result().get();
                return "terminated";
            });
            await(c, "terminated", TransactionState.COMPLETE_ABORT, TransactionState.EMPTY);
            c.attempt("commit after it", () -> {
                producer.commitTransaction();
                return "committed";
            });
        }
    }

    private static void timeout(Case c) throws Exception {
        c.topic("txn-timeout", 2);
        try (var producer = producer(c, "times-out", Map.of("transaction.timeout.ms", 1000))) {
            producer.initTransactions();
            producer.beginTransaction();
            fill(producer, "txn-timeout", 0, 4);
            var before = c.admin.describeTransactions(List.of("times-out")).description("times-out").get();
            for (int tries = 0; tries < 40; tries++) {
                if (c.admin.describeTransactions(List.of("times-out")).description("times-out").get().state() == TransactionState.COMPLETE_ABORT) {
                    break;
                }
                Thread.sleep(500);
            }
            var after = c.admin.describeTransactions(List.of("times-out")).description("times-out").get();
            c.line("after the timeout " + after.state() + " epochs further " + (after.producerEpoch() - before.producerEpoch()));
            c.attempt("commit", () -> {
                producer.commitTransaction();
                return "committed";
            });
        }
        show(c, "timed out", "txn-timeout");
    }

    // Requests by hand.

    /** A transactional id brought into a state. */
    private static final class Transaction {
        final Case c;
        final Wire wire;
        final String id;
        long producer = 77;
        short epoch = 3;

        Transaction(Case c, Wire wire, String id) {
            this.c = c;
            this.wire = wire;
            this.id = id;
        }

        InitProducerIdResponseData init(int version, long expected, short expectedEpoch, int timeout) throws Exception {
            var request = new InitProducerIdRequestData().setTransactionalId(id).setTransactionTimeoutMs(timeout);
            if (version >= 3) {
                request.setProducerId(expected).setProducerEpoch(expectedEpoch);
            }
            return (InitProducerIdResponseData) wire.call(ApiKeys.INIT_PRODUCER_ID, version, request);
        }

        /** As clients do: again while the transaction before is being ended. */
        void begin() throws Exception {
            for (int tries = 0; tries < 500; tries++) {
                var response = init(5, -1, (short) -1, 60_000);
                if (response.errorCode() == 0) {
                    producer = response.producerId();
                    epoch = response.producerEpoch();
                    return;
                }
                Thread.sleep(20);
            }
            throw new IllegalStateException("no producer id for " + id);
        }

        void end(boolean commit, int version) throws Exception {
            var response = (EndTxnResponseData) wire.call(ApiKeys.END_TXN, version,
                new EndTxnRequestData().setTransactionalId(id).setProducerId(producer).setProducerEpoch(epoch).setCommitted(commit));
            if (response.errorCode() != 0) {
                throw new IllegalStateException("EndTxn: " + response);
            }
            await(c, id, commit ? TransactionState.COMPLETE_COMMIT : TransactionState.COMPLETE_ABORT);
        }

        void bring(String state) throws Exception {
            if (state.equals("none")) {
                return;
            }
            // Twice, so that there is an epoch before.
            begin();
            begin();
            int version = state.endsWith("v2") ? 5 : 4;
            if (!state.equals("Empty")) {
                add(version == 5 ? 5 : 3, 0, producer, epoch, false);
            }
            if (state.startsWith("Complete")) {
                end(state.startsWith("CompleteCommit"), version);
            }
        }

        String add(int version, int partition, long producer, short epoch, boolean verify) throws Exception {
            var topics = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection();
            topics.add(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic().setName("txn-wire").setPartitions(List.of(partition)));
            var request = new AddPartitionsToTxnRequestData();
            if (version < 4) {
                request.setV3AndBelowTransactionalId(id).setV3AndBelowProducerId(producer).setV3AndBelowProducerEpoch(epoch).setV3AndBelowTopics(topics);
            } else {
                request.transactions().add(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction().setTransactionalId(id).setProducerId(producer)
                    .setProducerEpoch(epoch).setVerifyOnly(verify).setTopics(topics));
            }
            var response = (AddPartitionsToTxnResponseData) wire.call(ApiKeys.ADD_PARTITIONS_TO_TXN, version, request);
            var results = version < 4 ? response.resultsByTopicV3AndBelow() : response.resultsByTransaction().iterator().next().topicResults();
            return response.errorCode() + " " + Errors.forCode(results.iterator().next().resultsByPartition().iterator().next().partitionErrorCode());
        }

        String addOffsets(int version, long producer, short epoch) throws Exception {
            var response = (AddOffsetsToTxnResponseData) wire.call(ApiKeys.ADD_OFFSETS_TO_TXN, version,
                new AddOffsetsToTxnRequestData().setTransactionalId(id).setProducerId(producer).setProducerEpoch(epoch).setGroupId("txn-wire"));
            return "" + Errors.forCode(response.errorCode());
        }

        String end(int version, boolean commit, long producer, short epoch) throws Exception {
            var response = (EndTxnResponseData) wire.call(ApiKeys.END_TXN, version,
                new EndTxnRequestData().setTransactionalId(id).setProducerId(producer).setProducerEpoch(epoch).setCommitted(commit));
            String next = response.producerId() < 0 ? "none" : response.producerId() == this.producer ? "same" : "other";
            return Errors.forCode(response.errorCode()) + " producer " + next + " epoch " + (response.producerEpoch() < 0 ? "none" : "" + response.producerEpoch());
        }

        String offsets(int version, long producer, short epoch, int generation, String member) throws Exception {
            var topic = new TxnOffsetCommitRequestData.TxnOffsetCommitRequestTopic().setName("txn-wire");
            topic.setPartitions(List.of(new TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition().setPartitionIndex(0).setCommittedOffset(5),
                new TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition().setPartitionIndex(9).setCommittedOffset(5)));
            var request = new TxnOffsetCommitRequestData().setTransactionalId(id).setGroupId("txn-wire-" + id).setProducerId(producer).setProducerEpoch(epoch)
                .setTopics(List.of(topic));
            if (version >= 3) {
                request.setGenerationId(generation).setMemberId(member);
            }
            var response = (TxnOffsetCommitResponseData) wire.call(ApiKeys.TXN_OFFSET_COMMIT, version, request);
            var answers = new java.util.TreeMap<Integer, Errors>();
            response.topics().forEach(t -> t.partitions().forEach(p -> answers.put(p.partitionIndex(), Errors.forCode(p.errorCode()))));
            return "" + answers;
        }

        String produce(int version, long producer, short epoch, int sequence) throws Exception {
            var records = MemoryRecords.withTransactionalRecords(Compression.NONE, producer, epoch, sequence,
                new SimpleRecord(ProduceCases.DAY_0, ProduceCases.bytes("k"), ProduceCases.bytes("v")));
            var request = SequenceCases.produce(c, (short) version, "txn-wire", records).setTransactionalId(id);
            var response = (ProduceResponseData) wire.call(ApiKeys.PRODUCE, version, request);
            var answer = response.responses().iterator().next().partitionResponses().get(0);
            return Errors.forCode(answer.errorCode()) + " written " + (answer.baseOffset() >= 0) + " message "
                + (answer.errorMessage() == null ? null : answer.errorMessage().replaceAll("\\d+", "N"));
        }
    }

    private interface Act {
        String on(Transaction t) throws Exception;
    }

    private static int last;

    /** Each act that is meant on an id of its own that is in the state. */
    static void requests(Case c, String state, Predicate<String> isMeant) throws Exception {
        if (!c.admin.listTopics().names().get().contains("txn-wire")) {
            c.topic("txn-wire", 3);
        }
        var acts = new LinkedHashMap<String, Act>();
        for (int shift = -1; shift <= 1; shift++) {
            int by = shift;
            String epoch = " epoch " + (by < 0 ? "before" : by == 0 ? "now" : "after");
            for (int v : new int[] {0, 1, 2, 3, 5}) {
                acts.put("add v" + v + epoch, t -> t.add(v, 1, t.producer, (short) (t.epoch + by), false));
            }
            acts.put("verify" + epoch, t -> t.add(5, 0, t.producer, (short) (t.epoch + by), true));
            acts.put("verify another" + epoch, t -> t.add(4, 2, t.producer, (short) (t.epoch + by), true));
            for (int v : new int[] {0, 1, 2, 4}) {
                acts.put("add offsets v" + v + epoch, t -> t.addOffsets(v, t.producer, (short) (t.epoch + by)));
            }
            for (int v : new int[] {0, 1, 2, 4, 5}) {
                for (boolean commit : new boolean[] {true, false}) {
                    acts.put((commit ? "commit v" : "abort v") + v + epoch, t -> t.end(v, commit, t.producer, (short) (t.epoch + by)));
                }
            }
            for (int v : new int[] {0, 2, 3, 4, 5}) {
                acts.put("offsets v" + v + epoch, t -> t.offsets(v, t.producer, (short) (t.epoch + by), -1, ""));
            }
            for (int v : new int[] {10, 11, 12, 13}) {
                acts.put("produce v" + v + epoch, t -> t.produce(v, t.producer, (short) (t.epoch + by), 0));
            }
            for (int v : new int[] {3, 4, 5}) {
                acts.put("init v" + v + epoch, t -> {
                    var r = t.init(v, t.producer, (short) (t.epoch + by), 60_000);
                    return Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch() + " same " + (r.producerId() == t.producer);
                });
            }
        }
        acts.put("add of another producer", t -> t.add(3, 1, t.producer + 1000, t.epoch, false));
        acts.put("verify of another producer", t -> t.add(4, 0, t.producer + 1000, t.epoch, true));
        acts.put("add of an unknown partition", t -> t.add(3, 17, t.producer, t.epoch, false));
        acts.put("add a known partition", t -> t.add(3, 0, t.producer, t.epoch, false));
        acts.put("add offsets of another producer", t -> t.addOffsets(4, t.producer + 1000, t.epoch));
        acts.put("commit of another producer", t -> t.end(4, true, t.producer + 1000, t.epoch));
        acts.put("commit of another producer v5", t -> t.end(5, true, t.producer + 1000, t.epoch));
        acts.put("init anew", t -> {
            var r = t.init(5, -1, (short) -1, 60_000);
            return Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch();
        });
        acts.put("init of another producer", t -> "" + Errors.forCode(t.init(5, t.producer + 1000, t.epoch, 60_000).errorCode()));
        acts.put("offsets of a generation", t -> t.offsets(4, t.producer, t.epoch, 7, "someone"));
        acts.put("offsets of a generation v5", t -> t.offsets(5, t.producer, t.epoch, 7, "someone"));
        acts.put("offsets after adding them", t -> t.addOffsets(4, t.producer, t.epoch) + " " + t.offsets(4, t.producer, t.epoch, -1, ""));
        acts.put("produce in the middle", t -> t.produce(12, t.producer, t.epoch, 5));
        acts.put("produce after adding", t -> t.add(3, 0, t.producer, t.epoch, false) + " " + t.produce(11, t.producer, t.epoch, 0));
        acts.put("commit twice v5", t -> t.end(5, true, t.producer, t.epoch) + " then " + settled(t, 5, true));
        acts.put("abort twice v5", t -> t.end(5, false, t.producer, t.epoch) + " then " + settled(t, 5, false));
        acts.put("commit, then abort v5", t -> t.end(5, true, t.producer, t.epoch) + " then " + settled(t, 5, false));
        acts.put("abort twice v4", t -> t.end(4, false, t.producer, t.epoch) + " then " + settled(t, 4, false));
        acts.keySet().removeIf(isMeant.negate());
        try (Wire wire = new Wire(c)) {
            for (var act : acts.entrySet()) {
                var t = new Transaction(c, wire, "wire-" + ++last);
                t.bring(state);
                c.line(act.getKey() + " -> " + act.getValue().on(t));
            }
        }
    }

    /** The same once more, when the transaction is not being ended any more. */
    private static String settled(Transaction t, int version, boolean commit) throws Exception {
        try {
            await(t.c, t.id, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT, TransactionState.EMPTY, TransactionState.ONGOING);
        } catch (java.util.concurrent.ExecutionException unknown) {
            // there is none
        }
        return t.end(version, commit, t.producer, t.epoch);
    }

    private static void initProducerId(Case c) throws Exception {
        try (Wire wire = new Wire(c)) {
            for (int timeout : new int[] {0, -1, 1, 900_000, 900_001, Integer.MAX_VALUE}) {
                c.line("timeout " + timeout + " " + Errors.forCode(new Transaction(c, wire, "init-timeout").init(5, -1, (short) -1, timeout).errorCode()));
            }
            for (int v = 0; v <= 5; v++) {
                c.line("empty id v" + v + " " + Errors.forCode(new Transaction(c, wire, "").init(v, -1, (short) -1, 1000).errorCode()));
                var r = new Transaction(c, wire, "init-v" + v).init(v, -1, (short) -1, 1000);
                c.line("new v" + v + " " + Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch());
            }
            c.line("an id without an epoch " + Errors.forCode(new Transaction(c, wire, "init-half").init(5, 5, (short) -1, 1000).errorCode()));
            c.line("an epoch without an id " + Errors.forCode(new Transaction(c, wire, "init-half").init(5, -1, (short) 1, 1000).errorCode()));
            var made = new Transaction(c, wire, "init-expected").init(5, 12345, (short) 7, 1000);
            c.line("an expected producer of a new id " + Errors.forCode(made.errorCode()) + " epoch " + made.producerEpoch() + " same " + (made.producerId() == 12345));
            var t = new Transaction(c, wire, "init-again");
            t.begin();
            for (int again = 0; again < 3; again++) {
                var r = t.init(5, t.producer, (short) 0, 1000);
                c.line("epoch 0 goes on, time " + again + " " + Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch());
            }
            var r = t.init(5, t.producer, (short) 1, 1000);
            c.line("epoch 1 goes on " + Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch());
            r = t.init(5, t.producer, (short) 0, 1000);
            c.line("epoch 0 comes late " + Errors.forCode(r.errorCode()) + " epoch " + r.producerEpoch());
        }
    }

    private static void unverified(Case c) throws Exception {
        c.topic("txn-unverified", 1);
        try (Wire wire = new Wire(c)) {
            var t = new Transaction(c, wire, "unverified");
            t.begin();
            var records = MemoryRecords.withTransactionalRecords(Compression.NONE, t.producer, t.epoch, 0, new SimpleRecord(ProduceCases.DAY_0, ProduceCases.bytes("v")));
            for (short v : new short[] {9, 11, 12}) {
                var response = (ProduceResponseData) wire.call(ApiKeys.PRODUCE, v, SequenceCases.produce(c, v, "txn-unverified", records));
                c.line("without a transactional id v" + v + " " + Errors.forCode(response.responses().iterator().next().partitionResponses().get(0).errorCode()));
            }
            var plain = SequenceCases.batch(t.producer, t.epoch, 0, 1);
            c.line("open " + t.add(3, 0, t.producer, t.epoch, false));
            var response = (ProduceResponseData) wire.call(ApiKeys.PRODUCE, 12, SequenceCases.produce(c, (short) 12, "txn-unverified", plain));
            c.line("plain records of a transactional producer " + Errors.forCode(response.responses().iterator().next().partitionResponses().get(0).errorCode()));
        }
    }

    private static String marker(Case c, Wire wire, int version, String topic, int partition, long producer, int epoch, int coordinator, int level) throws Exception {
        var marker = new WriteTxnMarkersRequestData.WritableTxnMarker().setProducerId(producer).setProducerEpoch((short) epoch).setCoordinatorEpoch(coordinator)
            .setTransactionResult(false).setTransactionVersion((byte) level);
        marker.topics().add(new WriteTxnMarkersRequestData.WritableTxnMarkerTopic().setName(topic).setPartitionIndexes(List.of(partition)));
        var response = (WriteTxnMarkersResponseData) wire.call(ApiKeys.WRITE_TXN_MARKERS, version, new WriteTxnMarkersRequestData().setMarkers(List.of(marker)));
        return "" + Errors.forCode(response.markers().get(0).topics().get(0).partitions().get(0).errorCode());
    }

    private static void markers(Case c) throws Exception {
        c.topic("txn-markers", 1);
        try (Wire wire = new Wire(c)) {
            var empty = (WriteTxnMarkersResponseData) wire.call(ApiKeys.WRITE_TXN_MARKERS, 1, new WriteTxnMarkersRequestData());
            c.line("none " + empty.markers());
            c.line("unknown topic " + marker(c, wire, 1, "never-was", 0, 5, 0, 0, 0));
            c.line("unknown partition " + marker(c, wire, 1, "txn-markers", 9, 5, 0, 0, 0));
            var response = (ProduceResponseData) wire.call(ApiKeys.PRODUCE, 12, SequenceCases.produce(c, (short) 12, "txn-markers", SequenceCases.batch(5, (short) 4, 0, 2)));
            c.line("records " + Errors.forCode(response.responses().iterator().next().partitionResponses().get(0).errorCode()));
            for (int[] each : new int[][] {{3, 0, 0}, {4, 5, 0}, {4, 3, 0}, {4, 5, 2}, {5, 5, 2}, {5, 5, 2}, {5, 4, 2}, {4, 9, 2}, {4, 9, 1}, {9, 9, 1}, {32767, 9, 2},
                {32767, 9, 2}}) {
                c.line("epoch " + each[0] + " coordinator " + each[1] + " version " + each[2] + " " + marker(c, wire, 2, "txn-markers", 0, 5, each[0], each[1], each[2]));
            }
            var tp = new TopicPartition("txn-markers", 0);
            c.admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().forEach(p -> c.line("epoch " + p.producerEpoch() + " sequence "
                + p.lastSequence() + " coordinator " + p.coordinatorEpoch() + " open " + p.currentTransactionStartOffset()));
        }
    }
}
