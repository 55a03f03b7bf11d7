package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// diary is what a member or a producer writes down before it does it; it outlives a kill.
type diary struct {
	mutex sync.Mutex
	out   *bufio.Writer
}

func open(path string) *diary {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err)
	return &diary{out: bufio.NewWriter(file)}
}

func (d *diary) line(format string, args ...any) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	fmt.Fprintf(d.out, "%d ", time.Now().UnixNano())
	fmt.Fprintf(d.out, format+"\n", args...)
}

func (d *diary) flush() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	check(d.out.Flush())
}

// owned is what a member has, and what it has read of that and not committed.
type owned struct {
	mutex sync.Mutex
	all   map[int32]bool
	next  map[int32]kgo.EpochOffset
	diary *diary
	topic string
}

func (o *owned) change(client *kgo.Client, partitions map[string][]int32, has bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for _, partition := range partitions[o.topic] {
		// Another member reads on, or has: its commits must not be overtaken by ours.
		delete(o.next, partition)
		if has {
			o.all[partition] = true
		} else {
			delete(o.all, partition)
		}
	}
	mine := make([]int, 0, len(o.all))
	for partition := range o.all {
		mine = append(mine, int(partition))
	}
	sort.Ints(mine)
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(mine), " ", ","), "[]")
	if list == "" {
		list = "-"
	}
	_, generation := client.GroupMetadata()
	o.diary.line("owns %d %s", generation, list)
	o.diary.flush()
}

func chaosMember(args []string) {
	over := untilInputEnds()
	var all sync.WaitGroup
	for _, spec := range args[3:] {
		words := strings.Split(spec, ":")
		all.Add(1)
		go func() {
			defer all.Done()
			oneMember(over, args[0], args[1], open(args[2]+"/"+words[0]+".log"), words)
		}()
	}
	all.Wait()
}

func oneMember(over context.Context, bootstrap, topic string, d *diary, words []string) {
	mine := &owned{all: map[int32]bool{}, next: map[int32]kgo.EpochOffset{}, diary: d, topic: topic}
	changed := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
			mine.change(client, partitions, has)
		}
	}
	options := []kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ConsumerGroup(words[1]), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond), kgo.RebalanceTimeout(20 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(changed(true)), kgo.OnPartitionsRevoked(changed(false)), kgo.OnPartitionsLost(changed(false))}
	switch words[2] {
	case "range":
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	case "cooperative-sticky":
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		options = append(options, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	}
	if words[3] != "-" {
		options = append(options, kgo.InstanceID(words[3]))
	}
	for over.Err() == nil {
		oneLife(over, options, mine)
		mine.all, mine.next = map[int32]bool{}, map[int32]kgo.EpochOffset{}
	}
	d.line("left")
	d.flush()
}

// oneLife ends with the input, or if the member was fenced: then it is to begin anew.
func oneLife(over context.Context, options []kgo.Opt, mine *owned) {
	d := mine.diary
	client, err := kgo.NewClient(options...)
	check(err)
	defer client.CloseAllowingRebalance()
	d.line("start")
	for isFenced := false; over.Err() == nil && !isFenced; {
		// It comes back now and then for what could not be committed.
		limit, cancel := context.WithTimeout(over, 300*time.Millisecond)
		fetches := client.PollRecords(limit, 100)
		cancel()
		fetches.EachError(func(_ string, _ int32, err error) {
			if over.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
				d.line("# %v", err)
				var session *kgo.ErrGroupSession
				isFenced = isFenced || errors.As(err, &session)
				time.Sleep(200 * time.Millisecond)
			}
		})
		readAndCommit(client, mine, fetches)
		client.AllowRebalance()
	}
}

func readAndCommit(client *kgo.Client, mine *owned, fetches kgo.Fetches) {
	d := mine.diary
	mine.mutex.Lock()
	fetches.EachRecord(func(r *kgo.Record) {
		d.line("read %d %d %s", r.Partition, r.Offset, r.Value)
		mine.next[r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	})
	next := maps.Clone(mine.next)
	mine.mutex.Unlock()
	for partition, to := range next {
		d.line("commit %d %d", partition, to.Offset)
	}
	d.flush()
	if len(next) == 0 {
		return
	}
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client.CommitOffsetsSync(limit, map[string]map[int32]kgo.EpochOffset{mine.topic: next},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				d.line("# %v", err)
				return
			}
			for _, one := range response.Topics {
				for _, p := range one.Partitions {
					if failed := kerr.ErrorForCode(p.ErrorCode); failed != nil {
						// It is tried again with what comes next, unless another has the partition then.
						d.line("# %v", failed)
						continue
					}
					d.line("committed %d %d", p.Partition, next[p.Partition].Offset)
					mine.mutex.Lock()
					delete(mine.next, p.Partition)
					mine.mutex.Unlock()
				}
			}
		})
	d.flush()
}

// chaosWriter writes to each partition the numbers from 0 on until its input ends: the record at an offset is that number.
func chaosWriter(args []string) {
	over := untilInputEnds()
	partitions, err := strconv.Atoi(args[2])
	check(err)
	rate, err := strconv.Atoi(args[3])
	check(err)
	d := open(args[4])
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(args[0], ",")...), kgo.DefaultProduceTopic(args[1]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	check(err)
	pause := time.NewTicker(10 * time.Millisecond)
	numbers := make([]int, partitions)
	for at := 0; over.Err() == nil; {
		<-pause.C
		for n := 0; n < max(1, rate/100); n++ {
			partition := at % partitions
			number := numbers[partition]
			record := &kgo.Record{Partition: int32(partition), Value: []byte(strconv.Itoa(number))}
			client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
				if err != nil {
					d.line("# %v", err)
				} else {
					d.line("acknowledged %d %d %s", r.Partition, r.Offset, r.Value)
				}
			})
			numbers[partition]++
			at++
		}
	}
	check(client.Flush(context.Background()))
	d.line("left")
	d.flush()
	client.Close()
}
