import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The load of the benchmark of transactions, with Kafka's own clients.
 *
 * <pre>
 *   TransactionLoad write BOOTSTRAP TOPIC PARTITIONS PRODUCERS SECONDS   transactions of one record of 100 bytes each
 *   TransactionLoad read BOOTSTRAP TOPIC PARTITIONS ISOLATION SECONDS    everything, again and again for so long
 * </pre>
 *
 * Prints `what value` lines.
 */
public final class TransactionLoad {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) {
            write(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), Double.parseDouble(args[5]));
        } else {
            read(args[1], args[2], Integer.parseInt(args[3]), args[4], Double.parseDouble(args[5]));
        }
        System.exit(0);
    }

    private static void write(String bootstrap, String topic, int partitions, int producers, double seconds) throws Exception {
        var ready = new CountDownLatch(producers);
        var begin = new CountDownLatch(1);
        var stop = new AtomicBoolean();
        var failed = new AtomicInteger();
        List<List<Long>> times = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int p = 0; p < producers; p++) {
            List<Long> own = new ArrayList<>();
            times.add(own);
            int number = p;
            threads.add(new Thread(() -> {
                Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "transactional.id", topic + "-" + number, "linger.ms", 0, "batch.size", 1024,
                    "buffer.memory", 1 << 20);
                byte[] value = new byte[100];
                try (var producer = new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer())) {
                    producer.initTransactions();
                    ready.countDown();
                    begin.await();
                    for (int n = number; !stop.get(); n++) {
                        long before = System.nanoTime();
                        producer.beginTransaction();
                        producer.send(new ProducerRecord<>(topic, n % partitions, null, value));
                        // Kafka's Sender asks whether batches are incomplete before it takes the lock under which it takes the next request. A thread that
                        // sends and commits between the two has its EndTxn sent before its records, once in some 500,000 transactions.
                        producer.flush();
                        producer.commitTransaction();
                        own.add(System.nanoTime() - before);
                    }
                } catch (Exception error) {
                    error.printStackTrace();
                    failed.incrementAndGet();
                    ready.countDown();
                }
            }));
        }
        threads.forEach(Thread::start);
        ready.await();
        long from = System.nanoTime();
        begin.countDown();
        Thread.sleep((long) (seconds * 1000));
        stop.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
        double took = (System.nanoTime() - from) / 1e9;
        long[] all = times.stream().flatMap(List::stream).mapToLong(Long::longValue).sorted().toArray();
        System.out.println("failed " + failed.get());
        System.out.println("transactions " + all.length);
        System.out.println("seconds " + took);
        System.out.println("p50 " + all[all.length / 2] / 1e6);
        System.out.println("p99 " + all[(int) (all.length * 0.99)] / 1e6);
    }

    private static void read(String bootstrap, String topic, int partitions, String isolation, double seconds) {
        Map<String, Object> configs = Map.of("bootstrap.servers", bootstrap, "isolation.level", isolation);
        try (var consumer = new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var all = new ArrayList<TopicPartition>();
            for (int p = 0; p < partitions; p++) {
                all.add(new TopicPartition(topic, p));
            }
            consumer.assign(all);
            var ends = consumer.endOffsets(all);
            long from = System.nanoTime();
            long records = 0;
            do {
                consumer.seekToBeginning(all);
                while (all.stream().anyMatch(tp -> consumer.position(tp) < ends.get(tp))) {
                    records += consumer.poll(Duration.ofMillis(500)).count();
                }
            } while (System.nanoTime() - from < seconds * 1e9);
            System.out.println("records " + records);
            System.out.println("seconds " + (System.nanoTime() - from) / 1e9);
        }
    }
}
