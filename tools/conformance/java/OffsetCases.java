import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.apache.kafka.clients.admin.DescribeProducersOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;

/** ListOffsets, DeleteRecords, DescribeProducers through the admin client. */
final class OffsetCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("offsets/list", OffsetCases::list);
        cases.put("offsets/list errors", OffsetCases::listErrors);
        cases.put("offsets/delete records", OffsetCases::deleteRecords);
        cases.put("offsets/describe producers", OffsetCases::describeProducers);
    }

    private static Map<String, OffsetSpec> specs() {
        Map<String, OffsetSpec> specs = new LinkedHashMap<>();
        specs.put("earliest", OffsetSpec.earliest());
        specs.put("latest", OffsetSpec.latest());
        specs.put("max timestamp", OffsetSpec.maxTimestamp());
        specs.put("earliest local", OffsetSpec.earliestLocal());
        specs.put("latest tiered", OffsetSpec.latestTiered());
        specs.put("earliest pending upload", OffsetSpec.earliestPendingUpload());
        specs.put("at 0", OffsetSpec.forTimestamp(0));
        specs.put("at day 0 + 55", OffsetSpec.forTimestamp(ProduceCases.DAY_0 + 55));
        specs.put("at day 0 + 10000", OffsetSpec.forTimestamp(ProduceCases.DAY_0 + 10_000));
        return specs;
    }

    private static void show(Case c, TopicPartition tp) {
        specs().forEach((name, spec) -> {
            for (IsolationLevel level : IsolationLevel.values()) {
                c.attempt(tp + " " + name + " " + level, () -> {
                    var found = c.admin.listOffsets(Map.of(tp, spec), new ListOffsetsOptions(level)).partitionResult(tp).get();
                    return found.offset() + " ts " + found.timestamp() + " epoch " + found.leaderEpoch();
                });
            }
        });
    }

    private static void list(Case c) throws Exception {
        c.topic("offsets", 2);
        show(c, new TopicPartition("offsets", 0));
        for (String codec : ProduceCases.CODECS) {
            ProduceCases.fill(c, "offsets", 0, 10, codec);
        }
        show(c, new TopicPartition("offsets", 0));
        c.admin.deleteRecords(Map.of(new TopicPartition("offsets", 0), RecordsToDelete.beforeOffset(17))).all().get();
        show(c, new TopicPartition("offsets", 0));
        c.topic("offsets-compacted", 1, Map.of("cleanup.policy", "compact"));
        ProduceCases.fill(c, "offsets-compacted", 0, 10, "lz4");
        show(c, new TopicPartition("offsets-compacted", 0));
    }

    private static void listErrors(Case c) throws Exception {
        c.topic("offsets-one", 1);
        var options = new ListOffsetsOptions();
        options.timeoutMs(1500);
        for (var tp : List.of(new TopicPartition("never-was", 0), new TopicPartition("offsets-one", 5), new TopicPartition("not valid", 0))) {
            String outcome;
            try {
                outcome = "" + c.admin.listOffsets(Map.of(tp, OffsetSpec.latest()), options).partitionResult(tp).get().offset();
            } catch (Exception error) {
                outcome = Case.error(error).split(":")[0];
            }
            c.line(tp + " " + outcome);
        }
    }

    private static void deleteRecords(Case c) throws Exception {
        c.topic("deleting", 1, Map.of("cleanup.policy", "delete"));
        ProduceCases.fill(c, "deleting", 0, 20, "none");
        var tp = new TopicPartition("deleting", 0);
        for (long offset : new long[] {5, 3, 99, -2, 5, 20, -1}) {
            c.attempt("before " + offset, () -> c.admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(offset)))
                .lowWatermarks().get(tp).get().lowWatermark());
        }
        show(c, tp);
        ProduceCases.fill(c, "deleting", 0, 3, "none");
        ConsumeCases.dump(c, "deleting", 0, 3);
        c.topic("deleting-compacted", 1, Map.of("cleanup.policy", "compact"));
        ProduceCases.fill(c, "deleting-compacted", 0, 3, "none");
        var compacted = new TopicPartition("deleting-compacted", 0);
        c.attempt("compacted", () -> c.admin.deleteRecords(Map.of(compacted, RecordsToDelete.beforeOffset(1))).lowWatermarks().get(compacted).get().lowWatermark());
        var options = new org.apache.kafka.clients.admin.DeleteRecordsOptions();
        options.timeoutMs(1500);
        var absent = new TopicPartition("never-was", 0);
        c.attempt("unknown", () -> {
            try {
                return c.admin.deleteRecords(Map.of(absent, RecordsToDelete.beforeOffset(1)), options).lowWatermarks().get(absent).get().lowWatermark();
            } catch (Exception error) {
                return Case.error(error).split(":")[0];
            }
        });
    }

    private static void describeProducers(Case c) throws Exception {
        c.topic("producers", 2);
        var tp = new TopicPartition("producers", 0);
        try (var producer = ProduceCases.producer(c, Map.of("enable.idempotence", true))) {
            for (int n = 0; n < 4; n++) {
                producer.send(ProduceCases.record("producers", 0, n)).get();
            }
            c.admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().forEach(p -> c.line(
                "epoch " + p.producerEpoch() + " last sequence " + p.lastSequence() + " last timestamp " + ProduceCases.stamp(p.lastTimestamp())
                    + " coordinator epoch " + p.coordinatorEpoch() + " transaction start " + p.currentTransactionStartOffset()));
        }
        var idle = new TopicPartition("producers", 1);
        for (var absent : List.of(new TopicPartition("never-was", 0), new TopicPartition("producers", 7), new TopicPartition("not valid", 0))) {
            for (OptionalInt broker : List.of(OptionalInt.empty(), OptionalInt.of(1), OptionalInt.of(9))) {
                var options = new DescribeProducersOptions();
                options.timeoutMs(1200);
                broker.ifPresent(options::brokerId);
                try {
                    c.line(absent + " of " + broker + " " + c.admin.describeProducers(List.of(absent), options).partitionResult(absent).get().activeProducers());
                } catch (Exception error) {
                    c.line(absent + " of " + broker + " " + Case.error(error).split(":")[0]);
                }
            }
        }
        c.line("idle " + c.admin.describeProducers(List.of(idle)).partitionResult(idle).get().activeProducers());
    }
}
