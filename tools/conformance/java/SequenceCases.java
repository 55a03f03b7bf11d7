import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Produce requests written by hand: sequences, producer epochs, broken batches, unknown topics. */
final class SequenceCases {
    static void add(Map<String, Case.Body> cases) {
        cases.put("sequences/order", SequenceCases::order);
        cases.put("sequences/epochs", SequenceCases::epochs);
        cases.put("sequences/wrap around", SequenceCases::wrapAround);
        cases.put("sequences/duplicates", SequenceCases::duplicates);
        cases.put("batches/broken", SequenceCases::broken);
        cases.put("batches/unknown topics", SequenceCases::unknownTopics);
        cases.put("batches/acks", SequenceCases::acks);
    }

    static MemoryRecords batch(long producerId, short epoch, int sequence, int count) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int n = 0; n < count; n++) {
            records[n] = new SimpleRecord(ProduceCases.DAY_0 + n, ProduceCases.bytes("k" + n), ProduceCases.bytes("v" + n));
        }
        if (producerId < 0) {
            return MemoryRecords.withRecords(Compression.NONE, records);
        }
        return MemoryRecords.withIdempotentRecords(Compression.NONE, producerId, epoch, sequence, records);
    }

    static ProduceRequestData produce(Case c, short version, String topic, MemoryRecords records) throws Exception {
        var data = new ProduceRequestData.TopicProduceData();
        if (version >= 13) {
            data.setTopicId(topic.equals("never-was") ? new Uuid(9, 9) : WireCases.topicId(c, topic));
        } else {
            data.setName(topic);
        }
        data.partitionData().add(new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records));
        var topics = new ProduceRequestData.TopicProduceDataCollection();
        topics.add(data);
        return new ProduceRequestData().setAcks((short) -1).setTimeoutMs(5000).setTopicData(topics);
    }

    private static String send(Case c, Wire wire, String topic, MemoryRecords records) throws Exception {
        short version = 12;
        var response = (ProduceResponseData) wire.call(ApiKeys.PRODUCE, version, produce(c, version, topic, records));
        List<String> answers = new ArrayList<>();
        response.responses().forEach(t -> t.partitionResponses().forEach(p -> answers.add("error " + p.errorCode() + " base " + p.baseOffset()
            + " start " + p.logStartOffset() + " append " + p.logAppendTimeMs() + " message " + p.errorMessage() + " records " + p.recordErrors())));
        return String.join("; ", answers).replaceAll("\\bproducer \\d+", "producer N").replaceAll("(producer ?id:? ?)\\d+", "$1N")
            .replaceAll("(?i)(producerId[ =:]+)\\d+", "$1N");
    }

    private static long producerId(Wire wire) throws Exception {
        var request = new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60000);
        var response = (InitProducerIdResponseData) wire.call(ApiKeys.INIT_PRODUCER_ID, 4, request);
        if (response.errorCode() != 0 || response.producerEpoch() != 0) {
            throw new IllegalStateException("InitProducerId: " + response);
        }
        return response.producerId();
    }

    private static void order(Case c) throws Exception {
        c.topic("sequence-order", 1);
        try (Wire wire = new Wire(c)) {
            long id = producerId(wire);
            c.line("ids grow " + (producerId(wire) > id));
            for (int[] each : new int[][] {{0, 3}, {3, 2}, {9, 1}, {5, 1}, {4, 1}, {6, 0 + 4}}) {
                c.line("sequence " + each[0] + " count " + each[1] + " " + send(c, wire, "sequence-order", batch(id, (short) 0, each[0], each[1])));
            }
            long other = producerId(wire);
            c.line("first at 5 " + send(c, wire, "sequence-order", batch(other, (short) 0, 5, 1)));
            c.line("never given " + send(c, wire, "sequence-order", batch(987654321L, (short) 0, 0, 1)));
        }
    }

    private static void epochs(Case c) throws Exception {
        c.topic("sequence-epochs", 1);
        try (Wire wire = new Wire(c)) {
            long id = producerId(wire);
            c.line("epoch 1 " + send(c, wire, "sequence-epochs", batch(id, (short) 1, 0, 2)));
            c.line("epoch 0 " + send(c, wire, "sequence-epochs", batch(id, (short) 0, 2, 1)));
            c.line("epoch 2 at 2 " + send(c, wire, "sequence-epochs", batch(id, (short) 2, 2, 1)));
            c.line("epoch 2 at 0 " + send(c, wire, "sequence-epochs", batch(id, (short) 2, 0, 1)));
        }
    }

    private static void wrapAround(Case c) throws Exception {
        c.topic("sequence-wrap", 1);
        try (Wire wire = new Wire(c)) {
            long id = producerId(wire);
            int last = Integer.MAX_VALUE;
            c.line("near the end " + send(c, wire, "sequence-wrap", batch(id, (short) 0, last - 1, 2)));
            c.line("zero " + send(c, wire, "sequence-wrap", batch(id, (short) 0, 0, 2)));
            c.line("across " + send(c, wire, "sequence-wrap", batch(id, (short) 0, 2, 3)));
        }
    }

    private static void duplicates(Case c) throws Exception {
        c.topic("sequence-duplicates", 1);
        try (Wire wire = new Wire(c)) {
            long id = producerId(wire);
            for (int n = 0; n < 8; n++) {
                c.line("batch " + n + " " + send(c, wire, "sequence-duplicates", batch(id, (short) 0, n * 2, 2)));
            }
            for (int n = 7; n >= 0; n--) {
                c.line("again " + n + " " + send(c, wire, "sequence-duplicates", batch(id, (short) 0, n * 2, 2)));
            }
            c.line("half " + send(c, wire, "sequence-duplicates", batch(id, (short) 0, 14, 1)));
        }
        ConsumeCases.dump(c, "sequence-duplicates", 0, 16);
    }

    private static void broken(Case c) throws Exception {
        c.topic("broken", 1);
        int[][] changes = {{17, 1}, {16, 1}, {16, 3}, {20, 9}, {60, 1}, {26, 9}, {22, 0x10}, {22, 0x20}, {22, 7}, {11, 1}, {65, 3}};
        for (boolean fixed : new boolean[] {false, true}) {
            for (int[] change : changes) {
                ByteBuffer buffer = batch(-1, (short) -1, -1, 3).buffer().duplicate();
                byte[] bytes = new byte[buffer.remaining()];
                buffer.get(bytes);
                bytes[change[0]] ^= (byte) change[1];
                if (fixed && change[0] > 20) {
                    var crc = new java.util.zip.CRC32C();
                    crc.update(bytes, 21, bytes.length - 21);
                    ByteBuffer.wrap(bytes).putInt(17, (int) crc.getValue());
                }
                c.attempt("byte " + change[0] + " ^ " + change[1] + (fixed ? " with its checksum" : ""), () -> {
                    try (Wire wire = new Wire(c)) {
                        return send(c, wire, "broken", MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)));
                    }
                });
            }
        }
        c.attempt("no bytes", () -> {
            try (Wire wire = new Wire(c)) {
                return send(c, wire, "broken", MemoryRecords.EMPTY);
            }
        });
        c.attempt("two batches", () -> {
            ByteBuffer both = ByteBuffer.allocate(1000);
            both.put(batch(-1, (short) -1, -1, 1).buffer().duplicate()).put(batch(-1, (short) -1, -1, 1).buffer().duplicate()).flip();
            try (Wire wire = new Wire(c)) {
                return send(c, wire, "broken", MemoryRecords.readableRecords(both));
            }
        });
        ConsumeCases.dump(c, "broken", 0, 3);
    }

    private static void unknownTopics(Case c) throws Exception {
        for (short version : new short[] {3, 7, 8, 9, 12, 13}) {
            try (Wire wire = new Wire(c)) {
                var request = produce(c, version, "never-was", batch(-1, (short) -1, -1, 1));
                c.line("v" + version + " " + WireCases.json(wire.call(ApiKeys.PRODUCE, version, request), version));
            }
        }
        c.line("created by producing: " + c.admin.listTopics().names().get().contains("never-was"));
    }

    private static void acks(Case c) throws Exception {
        c.topic("acks", 1);
        for (short acks : new short[] {1, -1, 2, -2}) {
            try (Wire wire = new Wire(c)) {
                var request = produce(c, (short) 9, "acks", batch(-1, (short) -1, -1, 1)).setAcks(acks);
                c.attempt("acks " + acks, () -> WireCases.json(wire.call(ApiKeys.PRODUCE, 9, request), (short) 9));
            }
        }
        try (Wire wire = new Wire(c)) {
            wire.send(ApiKeys.PRODUCE, (short) 9, produce(c, (short) 9, "acks", batch(-1, (short) -1, -1, 1)).setAcks((short) 0));
            var request = produce(c, (short) 9, "acks", batch(-1, (short) -1, -1, 1)).setAcks((short) 1);
            c.line("after acks 0 " + WireCases.json(wire.call(ApiKeys.PRODUCE, 9, request), (short) 9));
        }
    }
}
