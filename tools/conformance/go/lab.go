package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// history is a file of operations, one a line: op, process, type, key, offset, value, nanoseconds.
type history struct {
	mutex   sync.Mutex
	out     *bufio.Writer
	process string
}

func newHistory(path, process string) *history {
	file, err := os.Create(path)
	check(err)
	return &history{out: bufio.NewWriter(file), process: process}
}

func (h *history) add(what, outcome, topic string, partition int32, offset int64, value string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	fmt.Fprintf(h.out, "%s\t%s\t%s\t%s-%d\t%d\t%s\t%d\n", what, h.process, outcome, topic, partition, offset, value, time.Now().UnixNano())
}

func (h *history) close() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	check(h.out.Flush())
}

// labWriter writes numbers that begin with its process until its input ends; what is not acknowledged soon after is unknown.
func labWriter(args []string) {
	over := untilInputEnds()
	partitions, err := strconv.Atoi(args[2])
	check(err)
	rate, err := strconv.Atoi(args[5])
	check(err)
	h := newHistory(args[6], args[4])
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(args[0], ",")...), kgo.DefaultProduceTopic(args[1]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec(args[3])), kgo.MaxBufferedRecords(20000))
	check(err)
	pause := time.NewTicker(time.Second / time.Duration(rate))
	for n := 0; over.Err() == nil; n++ {
		<-pause.C
		value := fmt.Sprintf("%s%09d", args[4], n)
		record := &kgo.Record{Partition: int32(n % partitions), Value: []byte(value)}
		client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
			if err != nil {
				h.add("send", "info", r.Topic, r.Partition, -1, value)
			} else {
				h.add("send", "ok", r.Topic, r.Partition, r.Offset, value)
			}
		})
	}
	limit, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if client.Flush(limit) != nil {
		client.AbortBufferedRecords(context.Background())
	}
	h.close()
	client.Close()
}

// labReader reads all partitions from the beginning; when its input has ended, it reads to the end and ends.
func labReader(args []string) {
	over := untilInputEnds()
	partitions, err := strconv.Atoi(args[2])
	check(err)
	h := newHistory(args[4], args[3])
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[int32(p)] = kgo.NewOffset().At(0)
	}
	// An offset that is gone is an error, not a reason to begin elsewhere.
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(args[0], ",")...), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{args[1]: offsets}), kgo.FetchMaxWait(250*time.Millisecond))
	check(err)
	defer client.Close()
	next := map[int32]int64{}
	var ends kadm.ListedOffsets
	for {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		fetches := client.PollFetches(limit)
		cancel()
		fetches.EachRecord(func(r *kgo.Record) {
			h.add("poll", "ok", r.Topic, r.Partition, r.Offset, string(r.Value))
			next[r.Partition] = r.Offset + 1
		})
		if over.Err() == nil {
			continue
		}
		if ends == nil {
			found, err := kadm.NewClient(client).ListEndOffsets(context.Background(), args[1])
			if err != nil || found.Error() != nil {
				continue
			}
			ends = found
		}
		left := false
		ends.Each(func(end kadm.ListedOffset) { left = left || next[end.Partition] < end.Offset })
		if !left {
			h.close()
			return
		}
	}
}
