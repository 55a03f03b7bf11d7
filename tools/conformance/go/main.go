// One of the conformance run's clients: franz-go.
//
//	go-client produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
//	go-client consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...
//	go-client group|sarama BOOTSTRAP GROUP TOPIC
//	go-client transactions BOOTSTRAP TOPIC COPY PARTITIONS ROUNDS
//	go-client chaos-member BOOTSTRAP TOPIC FOLDER NAME:GROUP:ASSIGNOR:INSTANCE...   as java/ChaosMember.java
//	go-client chaos-writer BOOTSTRAP TOPIC PARTITIONS RATE LOG
//	go-client lab-writer BOOTSTRAP TOPIC PARTITIONS CODEC PROCESS RATE HISTORY
//	go-client lab-reader BOOTSTRAP TOPIC PARTITIONS PROCESS HISTORY
//	go-client bank-transfers|bank-orders BOOTSTRAP PARTITIONS FOLDER TRANSACTIONAL_ID PROCESS     as java/BankClient.java
//	go-client bank-reader BOOTSTRAP PARTITIONS FOLDER ISOLATION PROCESS
//
// A member, of franz-go or of Sarama, lives until its input ends: it prints each record and commits what it has read.
//
// `transactions` writes ROUNDS transactions of ten records, aborts every third, and copies what is committed in transactions of
// its own.
//
// Record i goes to partition i modulo PARTITIONS, with the key i if keyed. What is consumed is written to OUT_DIR/TOPIC-PARTITION,
// each record as key and value, each of them as a 32-bit big-endian length (-1: null) and its bytes.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-client:", err)
		os.Exit(1)
	}
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func values(mode, path string, each func([]byte)) {
	content, err := os.ReadFile(path)
	check(err)
	for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n")) {
		if mode == "files" {
			file, err := os.ReadFile(string(line))
			check(err)
			each(file)
		} else {
			each(line)
		}
	}
}

func produce(args []string) {
	partitions, err := strconv.Atoi(args[2])
	check(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.DefaultProduceTopic(args[1]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec(args[3])), kgo.MaxBufferedRecords(20000))
	check(err)
	defer client.Close()
	n := 0
	var failure atomic.Pointer[error]
	values(args[4], args[6], func(value []byte) {
		record := &kgo.Record{Value: value, Partition: int32(n % partitions)}
		if args[5] == "keyed" {
			record.Key = []byte(strconv.Itoa(n))
		}
		n++
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.Store(&err)
			}
		})
	})
	check(client.Flush(context.Background()))
	if err := failure.Load(); err != nil {
		check(*err)
	}
}

func field(out *bufio.Writer, value []byte) {
	length := int32(len(value))
	if value == nil {
		length = -1
	}
	check(binary.Write(out, binary.BigEndian, length))
	_, err := out.Write(value)
	check(err)
}

func consume(args []string) {
	offsets := map[string]map[int32]kgo.Offset{}
	out := map[string]*bufio.Writer{}
	for _, topic := range args[3:] {
		offsets[topic] = map[int32]kgo.Offset{}
		partitions, err := strconv.Atoi(args[2])
		check(err)
		for p := 0; p < partitions; p++ {
			offsets[topic][int32(p)] = kgo.NewOffset().AtStart()
			file, err := os.Create(fmt.Sprintf("%s/%s-%d", args[1], topic, p))
			check(err)
			out[fmt.Sprintf("%s-%d", topic, p)] = bufio.NewWriter(file)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.ConsumePartitions(offsets))
	check(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(context.Background(), args[3:]...)
	check(err)
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		check(end.Err)
		left += end.Offset
	})
	for left > 0 {
		fetches := client.PollFetches(context.Background())
		for _, failed := range fetches.Errors() {
			check(failed.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			file := out[fmt.Sprintf("%s-%d", r.Topic, r.Partition)]
			field(file, r.Key)
			field(file, r.Value)
			left--
		})
	}
	for _, file := range out {
		check(file.Flush())
	}
}

func transactions(args []string) {
	ctx := context.Background()
	bootstrap, topic, copied := args[0], args[1], args[2]
	partitions, err := strconv.Atoi(args[3])
	check(err)
	rounds, err := strconv.Atoi(args[4])
	check(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.TransactionalID("go-"+topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err)
	left := 0
	for n := 0; n < rounds; n++ {
		check(client.BeginTransaction())
		for i := 0; i < 10; i++ {
			record := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(fmt.Sprintf("%d-%d", n, i))}
			client.Produce(ctx, record, func(_ *kgo.Record, err error) { check(err) })
		}
		// What is aborted is written, too.
		check(client.Flush(ctx))
		check(client.EndTransaction(ctx, kgo.TransactionEndTry(n%3 != 2)))
		if n%3 != 2 {
			left += 10
		}
	}
	client.Close()
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID("go-"+copied), kgo.ConsumerGroup("go-"+copied),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err)
	defer session.Close()
	for left > 0 {
		fetches := session.PollRecords(ctx, 25)
		for _, failed := range fetches.Errors() {
			check(failed.Err)
		}
		check(session.Begin())
		taken := 0
		fetches.EachRecord(func(r *kgo.Record) {
			taken++
			session.Produce(ctx, &kgo.Record{Topic: copied, Partition: r.Partition, Value: r.Value}, func(_ *kgo.Record, err error) { check(err) })
		})
		committed, err := session.End(ctx, kgo.TryCommit)
		check(err)
		if committed {
			left -= taken
		}
	}
}

func main() {
	roles := map[string]func([]string){"produce": produce, "consume": consume, "group": group, "sarama": sarama, "transactions": transactions,
		"chaos-member": chaosMember, "chaos-writer": chaosWriter,
		"lab-writer": labWriter, "lab-reader": labReader,
		"bank-transfers": bankTransfers, "bank-orders": bankOrders, "bank-reader": bankReader}
	roles[os.Args[1]](os.Args[2:])
}
