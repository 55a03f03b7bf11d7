import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.Records;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Fetch, ListOffsets and Metadata through Kafka's consumer with assigned partitions. */
final class ConsumeCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("consume/seek", ConsumeCases::seek);
        cases.put("consume/offsets for times", ConsumeCases::offsetsForTimes);
        cases.put("consume/out of range", ConsumeCases::outOfRange);
        cases.put("consume/small fetches", ConsumeCases::smallFetches);
        cases.put("consume/read committed", ConsumeCases::readCommitted);
        cases.put("consume/many partitions", ConsumeCases::manyPartitions);
        cases.put("consume/long poll", ConsumeCases::longPoll);
        cases.put("consume/unknown topic", ConsumeCases::unknownTopic);
        cases.put("consume/pause and resume", ConsumeCases::pause);
    }

    static Consumer<byte[], byte[]> consumer(Case c, Map<String, Object> configs) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "bootstrap.servers", c.bootstrap, "enable.auto.commit", false, "auto.offset.reset", "earliest",
            "allow.auto.create.topics", false, "default.api.timeout.ms", 8000, "client.id", "conformance-consumer"));
        all.putAll(configs);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static String record(ConsumerRecord<byte[], byte[]> r) {
        StringBuilder headers = new StringBuilder();
        r.headers().forEach(h -> headers.append(' ').append(h.key()).append('=').append(Case.hex(h.value())));
        return r.partition() + "@" + r.offset() + " epoch " + r.leaderEpoch() + " " + r.timestampType() + " " + ProduceCases.stamp(r.timestamp())
            + " " + Case.hex(r.key()) + " = " + Case.hex(r.value()) + " [" + headers.toString().trim() + "]";
    }

    /** Polls until `count` records have come or ten seconds are over. */
    static List<ConsumerRecord<byte[], byte[]>> take(Consumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        long end = System.currentTimeMillis() + 10_000;
        while (taken.size() < count && System.currentTimeMillis() < end) {
            consumer.poll(Duration.ofMillis(200)).forEach(taken::add);
        }
        return taken;
    }

    /** Prints everything a partition holds; `count` is how much is waited for. */
    static void dump(Case c, String topic, int partition, int count) {
        try (var consumer = consumer(c, Map.of())) {
            var assigned = new TopicPartition(topic, partition);
            consumer.assign(List.of(assigned));
            consumer.seekToBeginning(List.of(assigned));
            take(consumer, count).forEach(r -> c.line(record(r)));
            c.line("end " + consumer.endOffsets(List.of(assigned)));
        }
    }

    private static void seek(Case c) throws Exception {
        c.topic("seek", 1);
        ProduceCases.fill(c, "seek", 0, 20, "lz4");
        var tp = new TopicPartition("seek", 0);
        try (var consumer = consumer(c, Map.of())) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 13);
            take(consumer, 7).forEach(r -> c.line(record(r)));
            c.line("position " + consumer.position(tp) + " lag " + consumer.currentLag(tp));
            consumer.seekToBeginning(List.of(tp));
            c.line("beginning " + consumer.position(tp));
            consumer.seekToEnd(List.of(tp));
            c.line("end " + consumer.position(tp));
            c.line("offsets " + consumer.beginningOffsets(List.of(tp)) + " " + consumer.endOffsets(List.of(tp)));
            c.line("partitions " + consumer.partitionsFor("seek"));
        }
    }

    private static void offsetsForTimes(Case c) throws Exception {
        c.topic("times", 1);
        ProduceCases.fill(c, "times", 0, 20, "none");
        ProduceCases.fill(c, "times", 0, 20, "zstd");
        var tp = new TopicPartition("times", 0);
        try (var consumer = consumer(c, Map.of())) {
            for (long shift : new long[] {-1_000_000, 0, 1, 10, 55, 190, 191, 1_000_000}) {
                c.line("shift " + shift + " " + consumer.offsetsForTimes(Map.of(tp, ProduceCases.DAY_0 + shift)));
            }
            c.line("zero " + consumer.offsetsForTimes(Map.of(tp, 0L)));
        }
    }

    private static void outOfRange(Case c) throws Exception {
        c.topic("range", 1);
        ProduceCases.fill(c, "range", 0, 5, "none");
        var tp = new TopicPartition("range", 0);
        for (String reset : List.of("none", "earliest", "latest")) {
            try (var consumer = consumer(c, Map.of("auto.offset.reset", reset))) {
                consumer.assign(List.of(tp));
                consumer.seek(tp, 99);
                c.attempt(reset, () -> {
                    int count = 0;
                    for (int n = 0; n < 10 && count == 0; n++) {
                        count += consumer.poll(Duration.ofMillis(100)).count();
                    }
                    return count + " at " + consumer.position(tp);
                });
            }
        }
    }

    private static void smallFetches(Case c) throws Exception {
        c.topic("small-fetches", 2);
        for (int n = 0; n < 5; n++) {
            ProduceCases.fill(c, "small-fetches", n % 2, 10, "none");
        }
        Map<String, Object> small = Map.of("max.partition.fetch.bytes", 1, "fetch.max.bytes", 1, "max.poll.records", 3);
        try (var consumer = consumer(c, small)) {
            consumer.assign(List.of(new TopicPartition("small-fetches", 0), new TopicPartition("small-fetches", 1)));
            var taken = take(consumer, 50);
            c.line("taken " + taken.size());
            Map<Integer, Long> next = new TreeMap<>();
            taken.forEach(r -> {
                long expected = next.getOrDefault(r.partition(), 0L);
                if (r.offset() != expected) {
                    c.line("partition " + r.partition() + " has " + r.offset() + " where " + expected + " was due");
                }
                next.put(r.partition(), r.offset() + 1);
            });
            c.line("next " + next);
        }
    }

    private static void readCommitted(Case c) throws Exception {
        c.topic("committed", 1);
        ProduceCases.fill(c, "committed", 0, 5, "gzip");
        var tp = new TopicPartition("committed", 0);
        try (var consumer = consumer(c, Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(tp));
            take(consumer, 5).forEach(r -> c.line(record(r)));
            c.line("end " + consumer.endOffsets(List.of(tp)));
        }
    }

    private static void manyPartitions(Case c) throws Exception {
        c.topic("many", 40);
        List<TopicPartition> all = new ArrayList<>();
        try (var producer = ProduceCases.producer(c, Map.of("compression.type", "snappy"))) {
            for (int n = 0; n < 400; n++) {
                producer.send(ProduceCases.record("many", n % 40, n));
            }
            producer.flush();
        }
        for (int p = 0; p < 40; p++) {
            all.add(new TopicPartition("many", p));
        }
        try (var consumer = consumer(c, Map.of())) {
            consumer.assign(all);
            Case.sorted(take(consumer, 400).stream().map(r -> r.partition() + "@" + r.offset() + " " + Case.hex(r.key())).toList()).forEach(c::line);
            // The session goes on with a smaller assignment and with a position moved.
            consumer.assign(all.subList(0, 3));
            consumer.seekToBeginning(all.subList(0, 3));
            c.line("after shrinking " + take(consumer, 30).size());
        }
    }

    /** One fetch from the start of partition 0 of the topic, as it is on the wire: how many records came and after how long. */
    private static String rawFetch(Case c, Wire wire, String topic, int waitMs, int minBytes, int soonMs) throws Exception {
        var partition = new FetchRequestData.FetchPartition().setPartition(0).setFetchOffset(0).setPartitionMaxBytes(1 << 20);
        var asked = new FetchRequestData.FetchTopic().setTopic(topic).setPartitions(List.of(partition));
        var request = new FetchRequestData().setMaxWaitMs(waitMs).setMinBytes(minBytes).setMaxBytes(10 << 20).setSessionEpoch(-1).setTopics(List.of(asked));
        long begin = System.nanoTime();
        var response = (FetchResponseData) wire.call(ApiKeys.FETCH, 12, request);
        long ms = (System.nanoTime() - begin) / 1_000_000;
        var found = response.responses().get(0).partitions().get(0);
        int records = 0;
        for (var ignored : ((Records) found.records()).records()) {
            records++;
        }
        String when = ms < soonMs ? "at once" : ms < waitMs ? "when there was enough" : "when the wait was over";
        return "error " + found.errorCode() + " watermark " + found.highWatermark() + " records " + records + " " + when;
    }

    private static void longPoll(Case c) throws Exception {
        c.topic("poll", 1);
        try (Wire wire = new Wire(c)) {
            c.line("empty, no wait: " + rawFetch(c, wire, "poll", 0, 1, 5000));
            c.line("empty: " + rawFetch(c, wire, "poll", 700, 1, 0));
            var later = Executors.newSingleThreadScheduledExecutor();
            var filled = later.schedule(() -> {
                ProduceCases.fill(c, "poll", 0, 1, "none");
                return null;
            }, 300, TimeUnit.MILLISECONDS);
            c.line("one record comes: " + rawFetch(c, wire, "poll", 14_000, 1, 0));
            filled.get();
            c.line("it is there: " + rawFetch(c, wire, "poll", 14_000, 1, 10_000));
            c.line("too few bytes: " + rawFetch(c, wire, "poll", 700, 1_000_000, 0));
            filled = later.schedule(() -> {
                ProduceCases.fill(c, "poll", 0, 2, "none");
                return null;
            }, 300, TimeUnit.MILLISECONDS);
            c.line("more come until it is enough: " + rawFetch(c, wire, "poll", 14_000, 700, 0));
            filled.get();
            later.shutdown();
        }
        var tp = new TopicPartition("poll", 0);
        try (var consumer = consumer(c, Map.of("fetch.max.wait.ms", 300, "fetch.min.bytes", 1_000_000))) {
            consumer.assign(List.of(tp));
            c.line("the consumer takes " + take(consumer, 3).size());
        }
    }

    private static void unknownTopic(Case c) throws Exception {
        try (var consumer = consumer(c, Map.of("default.api.timeout.ms", 2000))) {
            c.attempt("partitions", () -> consumer.partitionsFor("never-was"));
            c.attempt("end offsets", () -> consumer.endOffsets(Set.of(new TopicPartition("never-was", 0)), Duration.ofMillis(1500)));
            c.attempt("invalid", () -> consumer.partitionsFor("not valid"));
        }
        c.line("created by asking: " + c.admin.listTopics().names().get().contains("never-was"));
        try (var consumer = consumer(c, Map.of("allow.auto.create.topics", true))) {
            c.attempt("created by the consumer", () -> {
                consumer.assign(Set.of(new TopicPartition("consumer-created", 0)));
                consumer.poll(Duration.ofMillis(1500));
                return c.admin.listTopics().names().get().contains("consumer-created");
            });
        }
    }

    private static void pause(Case c) throws Exception {
        c.topic("paused", 2);
        ProduceCases.fill(c, "paused", 0, 5, "none");
        ProduceCases.fill(c, "paused", 1, 5, "none");
        var first = new TopicPartition("paused", 0);
        var second = new TopicPartition("paused", 1);
        try (var consumer = consumer(c, Map.of())) {
            consumer.assign(List.of(first, second));
            consumer.pause(List.of(first));
            c.line("second only " + take(consumer, 5).stream().allMatch(r -> r.partition() == 1));
            consumer.resume(List.of(first));
            c.line("then first " + take(consumer, 5).stream().allMatch(r -> r.partition() == 0));
        }
    }
}
