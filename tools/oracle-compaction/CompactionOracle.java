// Lets Apache Kafka's own log cleaner clean logs. Run with Kafka's jars on the class path and this file as source; each
// line of the input is a cleaning, fields parted by tabs:
//   directory, now (ms), last clean offset or "-", high watermark, bytes of the offset map, its load factor,
//   producer expiration (ms), topic configuration as key=value parted by commas
// The answer: "plan" with what is to be cleaned, "end" with the offset up to which it was, then every segment of the log with
// its index of aborted transactions, batches (the 61 bytes of the header but for length and checksum) and records, and
// "done". With the argument "time" it prints "end" and what the cleaning took instead: nanoseconds of the clock, of
// processors (the whole process), bytes to clean.

import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.CleanerStats;
import org.apache.kafka.storage.internals.log.LogCleanerManager;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class CompactionOracle {
    static final HexFormat HEX = HexFormat.of();
    static final PrintStream OUT = new PrintStream(new java.io.BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);

    /** A clock that stands. */
    record Standing(long now) implements Time {
        public long milliseconds() {
            return now;
        }

        public long hiResClockMs() {
            return now;
        }

        public long nanoseconds() {
            return now * 1_000_000;
        }

        public void sleep(long ms) {
        }

        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) {
            throw new UnsupportedOperationException();
        }

        public Timer timer(long timeoutMs) {
            throw new UnsupportedOperationException();
        }
    }

    /** Never does what it is asked to. */
    static class Never implements Scheduler {
        static final ScheduledExecutorService EXECUTOR = Executors.newScheduledThreadPool(0);

        public void startup() {
        }

        public void shutdown() {
        }

        public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) {
            return EXECUTOR.schedule(() -> { }, 1, TimeUnit.DAYS);
        }

        public void resizeThreadPool(int size) {
        }
    }

    public static void main(String[] arguments) throws Exception {
        boolean isTimed = arguments.length > 0 && arguments[0].equals("time");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                clean(line.split("\t", -1), isTimed);
            } catch (Throwable failure) {
                failure.printStackTrace();
                OUT.println("failed\t" + failure);
            }
            OUT.println("done");
            OUT.flush();
        }
        Never.EXECUTOR.shutdownNow();
    }

    static void clean(String[] fields, boolean isTimed) throws Exception {
        File directory = new File(fields[0]);
        long now = Long.parseLong(fields[1]);
        Optional<Long> lastClean = fields[2].equals("-") ? Optional.empty() : Optional.of(Long.parseLong(fields[2]));
        Map<String, String> texts = new HashMap<>();
        for (String text : fields[7].split(",")) {
            texts.put(text.substring(0, text.indexOf('=')), text.substring(text.indexOf('=') + 1));
        }
        Time time = isTimed ? Time.SYSTEM : new Standing(now);
        UnifiedLog log = UnifiedLog.create(directory, new LogConfig(texts), 0, Long.MAX_VALUE, new Never(), new BrokerTopicStats(),
                time, Integer.MAX_VALUE, new ProducerStateManagerConfig(Integer.parseInt(fields[6]), false), 600_000,
                new LogDirFailureChannel(10), true, Optional.empty());
        log.updateHighWatermark(Long.parseLong(fields[3]));
        Object offsets = invoke("cleanableOffsets", new Class<?>[] {UnifiedLog.class, Optional.class, long.class}, log, lastClean, now);
        long firstDirty = number(offsets, "firstDirtyOffset");
        long uncleanable = number(offsets, "firstUncleanableDirtyOffset");
        long delay = (Long) invoke("maxCompactionDelay", new Class<?>[] {UnifiedLog.class, long.class, long.class}, log, firstDirty, now);
        LogToClean cleanable = new LogToClean(log, firstDirty, uncleanable, delay > 0);
        OUT.println("plan\t" + firstDirty + "\t" + cleanable.firstUncleanableOffset() + "\t" + cleanable.cleanBytes() + "\t"
                + cleanable.cleanableBytes() + "\t" + delay);
        int mapBytes = Integer.parseInt(fields[4]);
        Throttler throttler = new Throttler(Double.MAX_VALUE, 300, "cleaner-io", "bytes", time);
        // What a broker with one cleaner thread gives it.
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(mapBytes), 262_144, 1_048_588, Double.parseDouble(fields[5]), throttler, time,
                partition -> { });
        long end = firstDirty;
        long clock = System.nanoTime();
        OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long processor = process.getProcessCpuTime();
        long bytes = 0;
        if (cleanable.cleanableBytes() > 0) {
            Map.Entry<Long, CleanerStats> outcome = cleaner.doClean(cleanable, isTimed ? System.currentTimeMillis() : now);
            end = outcome.getKey();
            bytes = cleanable.totalBytes();
        }
        OUT.println("end\t" + end);
        if (isTimed) {
            OUT.println("time\t" + (System.nanoTime() - clock) + "\t" + (process.getProcessCpuTime() - processor) + "\t" + bytes);
        } else {
            for (LogSegment segment : log.logSegments()) {
                dump(directory, segment.baseOffset(), segment.log());
            }
        }
        log.close();
    }

    static Object invoke(String name, Class<?>[] types, Object... arguments) throws Exception {
        Method method = LogCleanerManager.class.getDeclaredMethod(name, types);
        method.setAccessible(true);
        return method.invoke(null, arguments);
    }

    static long number(Object record, String name) throws Exception {
        Method method = record.getClass().getDeclaredMethod(name);
        method.setAccessible(true);
        return (Long) method.invoke(record);
    }

    static void dump(File directory, long baseOffset, FileRecords records) throws Exception {
        File index = new File(directory, String.format("%020d.txnindex", baseOffset));
        String aborted = index.exists() ? HEX.formatHex(Files.readAllBytes(index.toPath())) : "";
        OUT.println("segment\t" + baseOffset + "\t" + aborted);
        for (RecordBatch batch : records.batches()) {
            ByteBuffer bytes = ByteBuffer.allocate(batch.sizeInBytes());
            batch.writeTo(bytes);
            batch.ensureValid();
            byte[] array = bytes.array();
            OUT.println("batch\t" + HEX.formatHex(array, 0, 8) + HEX.formatHex(array, 12, 17) + HEX.formatHex(array, 21, 61));
            for (Record record : batch) {
                StringBuilder line = new StringBuilder("record\t" + record.offset() + "\t" + record.timestamp() + "\t" + hex(record.key()) + "\t" + hex(record.value()));
                for (Header header : record.headers()) {
                    line.append('\t').append(header.key()).append('=').append(header.value() == null ? "null" : HEX.formatHex(header.value()));
                }
                OUT.println(line);
            }
        }
    }

    static String hex(ByteBuffer bytes) {
        if (bytes == null) {
            return "null";
        }
        byte[] array = new byte[bytes.remaining()];
        bytes.duplicate().get(array);
        return HEX.formatHex(array);
    }
}
