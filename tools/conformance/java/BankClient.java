import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Clients of the bank, a thread each, until the input ends: `BankClient BOOTSTRAP PARTITIONS FOLDER transfers|orders|reader:ID:PROCESS...`.
 *
 * `transfers` makes transfers of its own, of which it aborts every fourth; `orders` makes one of every order (topic `lab`), in
 * transactions with its group's offsets; ID is the transactional id. `reader` reads everything that is committed (ID is nothing), at
 * the end up to the high watermark, which it does not reach while a transaction is open.
 *
 * What they do they write to FOLDER/PROCESS.history before they do it, in the format of all histories, and again when they know
 * more; of lines about the same the last one holds. A transfer that nobody asked to commit has failed. Its value is
 * `NAME:AMOUNT` on both sides; that of an order is named `ORDER/NAME`.
 */
public final class BankClient {
    private static final String ACCOUNTS = "bank";
    private static final String ORDERS = "lab";
    private final String bootstrap;
    private final int partitions;
    private final String id;
    private final String process;
    private final Path history;
    private final Random random = new Random();
    private long transactions;

    /** One side of a transfer. */
    private static final class Side {
        final int partition;
        final String value;
        volatile long offset = -1;

        Side(int partition, String value) {
            this.partition = partition;
            this.value = value;
        }
    }

    private BankClient(String[] args, String[] spec) {
        bootstrap = args[0];
        partitions = Integer.parseInt(args[1]);
        id = spec[1];
        process = spec[2];
        history = Path.of(args[2], process + ".history");
    }

    public static void main(String[] args) throws Exception {
        List<Runnable> works = new ArrayList<>();
        for (int at = 3; at < args.length; at++) {
            String[] spec = args[at].split(":");
            var client = new BankClient(args, spec);
            works.add(() -> {
                try {
                    switch (spec[0]) {
                        case "transfers" -> client.again(client::transfers);
                        case "orders" -> client.again(client::orders);
                        default -> client.read();
                    }
                } catch (Exception error) {
                    error.printStackTrace();
                    System.exit(1);
                }
            });
        }
        Program.untilInputEnds(works);
        System.exit(0);
    }

    private void note(String lines) {
        try {
            Files.writeString(history, lines, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private String line(String what, String outcome, String key, long offset, String value, long at, String transaction) {
        return String.join("\t", what, process, outcome, key, String.valueOf(offset), value, String.valueOf(at))
            + (transaction.isEmpty() ? "" : "\t" + transaction) + "\n";
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    private void noteSides(List<Side> sides, String transaction, String outcome) {
        long at = now();
        note(sides.stream().map(side -> line("send", outcome, ACCOUNTS + "-" + side.partition, side.offset, side.value, at, transaction))
            .collect(Collectors.joining()));
    }

    private void noteSeek(String key) {
        note(line("seek", "ok", key, -1, "-", now(), ""));
    }

    /** Until it has ended well: who fails for good is followed by another one of the same transactional id. */
    private void again(Consumer<KafkaProducer<String, String>> work) throws InterruptedException {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "transactional.id", id, "transaction.timeout.ms", 15000,
            "linger.ms", 0, "max.block.ms", 20000, "request.timeout.ms", 10000, "delivery.timeout.ms", 20000,
            "reconnect.backoff.max.ms", 500);
        while (true) {
            var producer = new KafkaProducer<>(configs, new StringSerializer(), new StringSerializer());
            try {
                producer.initTransactions();
                work.accept(producer);
                producer.close();
                return;
            } catch (KafkaException | IllegalStateException error) {
                System.err.println(now() + " " + process + ": " + error);
                producer.close(Duration.ZERO);
                Thread.sleep(200);
            }
        }
    }

    /** One transaction; it is committed, or it was aborted. Where it is not known what became of it, the producer is not used again. */
    private boolean transact(KafkaProducer<String, String> producer, List<Side> sides, String transaction, boolean commits, Runnable offsets) {
        noteSides(sides, transaction, "fail");
        producer.beginTransaction();
        try {
            for (Side side : sides) {
                producer.send(new ProducerRecord<>(ACCOUNTS, side.partition, null, side.value), (done, error) -> {
                    if (error == null) {
                        side.offset = done.offset();
                    }
                });
            }
            offsets.run();
            if (commits) {
                noteSides(sides, transaction, "info");
                commit(producer);
                noteSides(sides, transaction, "ok");
                return true;
            }
            producer.flush();
        } catch (KafkaException error) {
            System.err.println(now() + " " + transaction + " is aborted: " + error);
        }
        producer.abortTransaction();
        noteSides(sides, transaction, "fail");
        return false;
    }

    private static void commit(KafkaProducer<String, String> producer) {
        for (int tries = 1;; tries++) {
            try {
                producer.commitTransaction();
                return;
            } catch (TimeoutException error) {
                if (tries == 3) {
                    throw new IllegalStateException("not known", error);
                }
            }
        }
    }

    private List<Side> sides(int from, int to, long amount, String name) {
        return List.of(new Side(from, name + ":-" + amount), new Side(to, name + ":" + amount));
    }

    private void transfers(KafkaProducer<String, String> producer) {
        while (!Program.isOver()) {
            String name = process + "." + ++transactions;
            int from = random.nextInt(partitions);
            int to = (from + 1 + random.nextInt(partitions - 1)) % partitions;
            transact(producer, sides(from, to, 1 + random.nextInt(100), name), name, transactions % 4 != 0, () -> { });
            pause(20);
        }
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private void orders(KafkaProducer<String, String> producer) {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "group.id", "bank", "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "isolation.level", "read_committed", "max.poll.records", 10, "session.timeout.ms", 6000,
            "heartbeat.interval.ms", 1000, "default.api.timeout.ms", 15000,
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
        var all = all(ORDERS);
        noteSeek("-");
        var consumer = new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer());
        try (consumer) {
            consumer.subscribe(List.of(ORDERS), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                    assigned.forEach(partition -> noteSeek(partition.toString()));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) { }
            });
            while (true) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (!records.isEmpty()) {
                    order(producer, consumer, records);
                } else if (Program.isOver() && isFinished(consumer, all)) {
                    return;
                }
            }
        }
    }

    private void order(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer, Iterable<ConsumerRecord<String, String>> records) {
        String transaction = process + "." + ++transactions;
        long at = now();
        var polls = new StringBuilder();
        List<Side> sides = new ArrayList<>();
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            polls.append(line("poll", "ok", ORDERS + "-" + record.partition(), record.offset(), record.value(), at, transaction));
            long order = Long.parseLong(record.value());
            int from = (int) (order % partitions);
            int to = (int) ((from + 1 + order / partitions % (partitions - 1)) % partitions);
            sides.addAll(sides(from, to, 1 + order % 97, record.value() + "/" + transaction));
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        note(polls.toString());
        if (transact(producer, sides, transaction, random.nextInt(5) > 0, () -> producer.sendOffsetsToTransaction(next, consumer.groupMetadata()))) {
            return;
        }
        // Not committed: they are read again.
        noteSeek("-");
        Set<TopicPartition> assigned = consumer.assignment();
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(assigned);
        assigned.forEach(partition -> consumer.seek(partition, committed.get(partition) == null ? 0 : committed.get(partition).offset()));
    }

    private boolean isFinished(KafkaConsumer<String, String> consumer, Set<TopicPartition> all) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(all);
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(all);
        return all.stream().allMatch(one -> ends.get(one) == 0 || committed.get(one) != null && committed.get(one).offset() >= ends.get(one));
    }

    private Set<TopicPartition> all(String topic) {
        return IntStream.range(0, partitions).mapToObj(at -> new TopicPartition(topic, at)).collect(Collectors.toSet());
    }

    private void read() throws Exception {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "auto.offset.reset", "none",
            "fetch.max.wait.ms", 250, "request.timeout.ms", 10000, "default.api.timeout.ms", 15000, "enable.auto.commit", false);
        var all = all(ACCOUNTS);
        try (var consumer = new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer()); var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            consumer.assign(all);
            all.forEach(partition -> consumer.seek(partition, 0));
            Map<TopicPartition, Long> ends = null;
            while (true) {
                var polls = new StringBuilder();
                long at = now();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    polls.append(line("poll", "ok", ACCOUNTS + "-" + record.partition(), record.offset(), record.value(), at, ""));
                }
                note(polls.toString());
                if (Program.isOver() && ends == null) {
                    // Without an isolation these are the high watermarks.
                    var asked = admin.listOffsets(all.stream().collect(Collectors.toMap(one -> one, one -> OffsetSpec.latest()))).all().get();
                    ends = asked.entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey, one -> one.getValue().offset()));
                }
                if (ends != null && ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue())) {
                    return;
                }
            }
        }
    }
}
