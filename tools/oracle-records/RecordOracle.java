// Asks Apache Kafka's own classes about record batches. Run with Kafka's jars on the class path and this file as source:
//   write          prints batches written by MemoryRecords, with the records they hold
//   read  < lines  reads one batch a line (hex) and prints its records
//   judge < lines  says what a broker's leader would answer to the batch of each line, and what it would store
// Everything is lines of tab-separated fields; bytes are hex, absent bytes are "null".

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.function.Supplier;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

public class RecordOracle {
    static final HexFormat HEX = HexFormat.of();
    static final TopicPartition PARTITION = new TopicPartition("t", 0);
    static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("write")) {
            write();
        } else {
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (arguments[0].equals("read")) {
                    read("read", MemoryRecords.readableRecords(ByteBuffer.wrap(HEX.parseHex(line))));
                } else {
                    OUT.println(judge(line.split("\t", -1)));
                }
            }
        }
        OUT.flush();
    }

    static String hex(ByteBuffer bytes) {
        if (bytes == null) return "null";
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return HEX.formatHex(copy);
    }

    static void read(String name, MemoryRecords records) {
        for (MutableRecordBatch batch : records.batches()) {
            batch.ensureValid();
            OUT.println("batch\t" + name + "\t" + hex(records.buffer().duplicate()));
            OUT.println(String.join("\t", "header", "" + batch.baseOffset(), "" + batch.lastOffset(),
                "" + batch.partitionLeaderEpoch(), batch.compressionType().name, batch.timestampType().name,
                "" + batch.maxTimestamp(), "" + batch.producerId(), "" + batch.producerEpoch(),
                "" + batch.baseSequence(), "" + batch.lastSequence(), "" + batch.isTransactional(),
                "" + batch.isControlBatch(), "" + batch.countOrNull()));
            for (Record record : batch) {
                StringBuilder line = new StringBuilder(String.join("\t", "record", "" + record.offset(),
                    "" + record.timestamp(), "" + record.sequence(), hex(record.key()), hex(record.value())));
                for (Header header : record.headers()) {
                    line.append('\t').append(HEX.formatHex(header.key().getBytes(StandardCharsets.UTF_8))).append('=')
                        .append(header.value() == null ? "null" : HEX.formatHex(header.value()));
                }
                OUT.println(line);
            }
        }
    }

    static SimpleRecord[] sample() {
        byte[] text = "one two three ".repeat(30).getBytes(StandardCharsets.UTF_8);
        Header[] headers = {
            new RecordHeader("h", "1".getBytes()), new RecordHeader("h", null), new RecordHeader("\u00e9", new byte[0])
        };
        return new SimpleRecord[] {
            new SimpleRecord(1_700_000_000_000L, "k".getBytes(), text),
            new SimpleRecord(1_700_000_000_500L, null, "v".getBytes(), headers),
            new SimpleRecord(1_699_999_999_000L, new byte[0], (byte[]) null),
            new SimpleRecord(1_700_000_000_001L, "\u00ff\u0000".getBytes(StandardCharsets.ISO_8859_1), text),
        };
    }

    static void write() {
        for (CompressionType type : CompressionType.values()) {
            Compression compression = Compression.of(type).build();
            read(type.name, MemoryRecords.withRecords(7L, compression, 3, sample()));
            read(type.name + "-transactional", MemoryRecords.withTransactionalRecords(0L, compression, 4000L, (short) 5,
                Integer.MAX_VALUE - 1, 9, sample()));
            read(type.name + "-append-time", MemoryRecords.withRecords(RecordBatch.MAGIC_VALUE_V2, 0L, compression,
                TimestampType.LOG_APPEND_TIME, sample()));
        }
        Supplier<ByteBuffer> buffer = () -> ByteBuffer.allocate(512);
        long now = 1_700_000_000_000L;
        read("abort", MemoryRecords.withEndTransactionMarker(11L, now, 2, 77L, (short) 1,
            new EndTransactionMarker(ControlRecordType.ABORT, 6)));
        read("commit", MemoryRecords.withEndTransactionMarker(12L, now, 2, 77L, (short) 1,
            new EndTransactionMarker(ControlRecordType.COMMIT, 6)));
        read("leader-change", MemoryRecords.withLeaderChangeMessage(0L, now, 1, buffer.get(),
            new LeaderChangeMessage().setLeaderId(1)));
        read("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0L, now, 1, buffer.get(),
            new SnapshotHeaderRecord().setLastContainedLogTimestamp(now)));
        read("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(5L, now, 1, buffer.get(),
            new SnapshotFooterRecord()));
        read("kraft-version", MemoryRecords.withKRaftVersionRecord(1L, now, 1, buffer.get(),
            new KRaftVersionRecord().setKRaftVersion((short) 1)));
    }

    /** version, target codec or "producer", timestamp type, before ms, after ms, max bytes, compacted, now, hex. */
    static String judge(String[] fields) {
        long now = Long.parseLong(fields[7]);
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(HEX.parseHex(fields[8])));
        int maxBytes = Integer.parseInt(fields[5]);
        try {
            ProduceRequest.validateRecords(Short.parseShort(fields[0]), records);
            CompressionType source = analyze(records, maxBytes);
            Compression target = fields[1].equals("producer")
                ? Compression.of(source).build() : Compression.of(fields[1]).build();
            LogValidator validator = new LogValidator(records, PARTITION, new Fixed(now), source, target,
                Boolean.parseBoolean(fields[6]), RecordBatch.MAGIC_VALUE_V2, TimestampType.forName(fields[2]),
                Long.parseLong(fields[3]), Long.parseLong(fields[4]), 0, AppendOrigin.CLIENT);
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
                PrimitiveRef.ofLong(0), new NoMetrics(), BufferSupplier.NO_CACHING);
            for (MutableRecordBatch batch : result.validatedRecords().batches()) {
                if (result.messageSizeMaybeChanged() && batch.sizeInBytes() > maxBytes) {
                    throw new RecordTooLargeException("grown");
                }
            }
            return "0\t" + result.maxTimestampMs() + "\t" + hex(result.validatedRecords().buffer().duplicate());
        } catch (RecordValidationException refused) {
            StringBuilder line = new StringBuilder(failure(refused.invalidException()));
            for (ProduceResponse.RecordError error : refused.recordErrors()) {
                line.append('\t').append(error.batchIndex).append(' ').append(error.message);
            }
            return line.toString();
        } catch (OutOfMemoryError tooLarge) {
            return "oom";
        } catch (Throwable refused) {
            return failure(refused);
        }
    }

    static String failure(Throwable refused) {
        return Errors.forException(refused).code() + "\t" + refused.getClass().getSimpleName() + "\t"
            + ("" + refused.getMessage()).replace('\t', ' ').replace('\n', ' ');
    }

    /** The checks of UnifiedLog, which cannot be called without a log. */
    static CompressionType analyze(MemoryRecords records, int maxBytes) {
        CompressionType source = CompressionType.NONE;
        for (MutableRecordBatch batch : records.batches()) {
            if (batch.baseOffset() != 0) throw new InvalidRecordException("The baseOffset of the record batch in the "
                + "append to t-0 should be 0, but it is " + batch.baseOffset());
            batch.lastOffset();
            if (batch.sizeInBytes() > maxBytes) throw new RecordTooLargeException("too large");
            if (!batch.isValid()) throw new CorruptRecordException("crc");
            if (batch.compressionType() != CompressionType.NONE) source = batch.compressionType();
        }
        return source;
    }

    static class Fixed implements Time {
        final long now;

        Fixed(long now) {
            this.now = now;
        }

        @Override
        public long milliseconds() {
            return now;
        }

        @Override
        public long nanoseconds() {
            return now * 1_000_000;
        }

        @Override
        public void sleep(long ms) {
        }

        @Override
        public void waitObject(Object object, Supplier<Boolean> condition, long deadline) {
        }
    }

    static class NoMetrics implements LogValidator.MetricsRecorder {
        @Override
        public void recordInvalidMagic() {
        }

        @Override
        public void recordInvalidOffset() {
        }

        @Override
        public void recordInvalidSequence() {
        }

        @Override
        public void recordInvalidChecksums() {
        }

        @Override
        public void recordNoKeyCompactedTopic() {
        }
    }
}
