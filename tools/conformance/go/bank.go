package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	accounts = "bank"
	orders   = "lab"
)

// bank is a client of the bank, as java/BankClient.java, which says what it writes down.
type bank struct {
	bootstrap    []string
	partitions   int
	id, process  string
	file         *os.File
	over         context.Context
	transactions int
}

// side is one of the two of a transfer.
type side struct {
	partition int
	value     string
	offset    int64
	err       error
}

func newBank(args []string) *bank {
	over := untilInputEnds()
	partitions, err := strconv.Atoi(args[1])
	check(err)
	file, err := os.OpenFile(args[2]+"/"+args[4]+".history", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err)
	return &bank{bootstrap: strings.Split(args[0], ","), partitions: partitions, id: args[3], process: args[4], file: file, over: over}
}

func (b *bank) note(lines string) {
	_, err := b.file.WriteString(lines)
	check(err)
}

func (b *bank) line(what, outcome, topic string, partition int, offset int64, value string, at time.Time, transaction string) string {
	if transaction != "" {
		transaction = "\t" + transaction
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s-%d\t%d\t%s\t%d%s\n", what, b.process, outcome, topic, partition, offset, value, at.UnixNano(), transaction)
}

func (b *bank) noteSides(sides []*side, transaction, outcome string) {
	var all strings.Builder
	at := time.Now()
	for _, one := range sides {
		all.WriteString(b.line("send", outcome, accounts, one.partition, one.offset, one.value, at, transaction))
	}
	b.note(all.String())
}

func (b *bank) noteSeek(key string) {
	b.note(fmt.Sprintf("seek\t%s\tok\t%s\t-1\t-\t%d\n", b.process, key, time.Now().UnixNano()))
}

func (b *bank) options() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(b.bootstrap...), kgo.TransactionalID(b.id), kgo.TransactionTimeout(15 * time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(20 * time.Second), kgo.RetryTimeout(20 * time.Second)}
}

func (b *bank) name() string {
	b.transactions++
	return fmt.Sprintf("%s.%d", b.process, b.transactions)
}

func sidesOf(from, to, amount int, name string) []*side {
	return []*side{{partition: from, value: fmt.Sprintf("%s:-%d", name, amount), offset: -1}, {partition: to, value: fmt.Sprintf("%s:%d", name, amount), offset: -1}}
}

// send writes the sides and waits for them; false if one was not written.
func send(produce func(context.Context, *kgo.Record, func(*kgo.Record, error)), flush func(context.Context) error, sides []*side) bool {
	for _, one := range sides {
		produce(context.Background(), &kgo.Record{Topic: accounts, Partition: int32(one.partition), Value: []byte(one.value)}, func(r *kgo.Record, err error) {
			if err == nil {
				one.offset = r.Offset
			}
			one.err = err
		})
	}
	check(flush(context.Background()))
	for _, one := range sides {
		if one.err != nil {
			fmt.Fprintln(os.Stderr, time.Now().UnixNano(), one.value, one.err)
			return false
		}
	}
	return true
}

// again does the work until the input ends; who fails is followed by another one of the same transactional id.
func (b *bank) again(work func() error) {
	for {
		err := work()
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, time.Now().UnixNano(), b.process, err)
		time.Sleep(200 * time.Millisecond)
	}
}

func bankTransfers(args []string) {
	b := newBank(args)
	b.again(func() error {
		client, err := kgo.NewClient(b.options()...)
		check(err)
		defer client.Close()
		for b.over.Err() == nil {
			name := b.name()
			from := rand.Intn(b.partitions)
			to := (from + 1 + rand.Intn(b.partitions-1)) % b.partitions
			sides := sidesOf(from, to, 1+rand.Intn(100), name)
			b.noteSides(sides, name, "fail")
			if err := client.BeginTransaction(); err != nil {
				return err
			}
			commits := send(client.Produce, client.Flush, sides) && b.transactions%4 != 0
			if commits {
				b.noteSides(sides, name, "info")
				err = client.EndTransaction(context.Background(), kgo.TryCommit)
				if err == nil {
					b.noteSides(sides, name, "ok")
				} else if !errors.Is(err, kerr.OperationNotAttempted) && !errors.Is(err, kerr.TransactionAbortable) {
					return err
				}
			}
			if !commits || err != nil {
				if err := client.EndTransaction(context.Background(), kgo.TryAbort); err != nil {
					return err
				}
				b.noteSides(sides, name, "fail")
			}
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
}

func bankOrders(args []string) {
	b := newBank(args)
	b.again(func() error {
		b.noteSeek("-")
		assigned := func(_ context.Context, _ *kgo.Client, all map[string][]int32) {
			for _, partition := range all[orders] {
				b.noteSeek(fmt.Sprintf("%s-%d", orders, partition))
			}
		}
		session, err := kgo.NewGroupTransactSession(append(b.options(), kgo.ConsumerGroup("bank"), kgo.ConsumeTopics(orders), kgo.Balancers(kgo.RangeBalancer()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(250*time.Millisecond),
			kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second), kgo.OnPartitionsAssigned(assigned))...)
		check(err)
		defer session.Close()
		admin := kadm.NewClient(session.Client())
		for {
			limit, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			fetches := session.PollRecords(limit, 10)
			cancel()
			if fetches.NumRecords() > 0 {
				if err := b.order(session, fetches); err != nil {
					return err
				}
			} else if b.over.Err() != nil && b.isFinished(admin) {
				return nil
			}
		}
	})
}

func (b *bank) order(session *kgo.GroupTransactSession, fetches kgo.Fetches) error {
	name, at := b.name(), time.Now()
	var polls strings.Builder
	var sides []*side
	fetches.EachRecord(func(r *kgo.Record) {
		polls.WriteString(b.line("poll", "ok", orders, int(r.Partition), r.Offset, string(r.Value), at, name))
		order, err := strconv.Atoi(string(r.Value))
		check(err)
		from := order % b.partitions
		to := (from + 1 + order/b.partitions%(b.partitions-1)) % b.partitions
		sides = append(sides, sidesOf(from, to, 1+order%97, string(r.Value)+"/"+name)...)
	})
	b.note(polls.String())
	b.noteSides(sides, name, "fail")
	if err := session.Begin(); err != nil {
		return err
	}
	commits := send(session.Produce, session.Client().Flush, sides) && rand.Intn(5) > 0
	if commits {
		b.noteSides(sides, name, "info")
	}
	committed, err := session.End(context.Background(), kgo.TransactionEndTry(commits))
	if err != nil {
		return err
	}
	if committed {
		b.noteSides(sides, name, "ok")
		return nil
	}
	// They are read again.
	b.noteSides(sides, name, "fail")
	b.noteSeek("-")
	return nil
}

// isFinished says whether the group has committed all orders.
func (b *bank) isFinished(admin *kadm.Client) bool {
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ends, err := admin.ListEndOffsets(limit, orders)
	if err != nil || ends.Error() != nil {
		return false
	}
	committed, err := admin.FetchOffsets(limit, "bank")
	if err != nil || committed.Error() != nil {
		return false
	}
	left := false
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := committed.Lookup(orders, end.Partition)
		left = left || end.Offset > 0 && (!ok || at.At < end.Offset)
	})
	return !left
}

// bankReader reads what its isolation lets it, from the beginning; when its input has ended, up to the high watermarks, which it does
// not reach while a transaction is open.
func bankReader(args []string) {
	b := newBank(args)
	isolation := kgo.ReadCommitted()
	if b.id == "read_uncommitted" {
		isolation = kgo.ReadUncommitted()
	}
	from := map[string]map[int32]kgo.Offset{accounts: {}, orders: {}}
	for p := range b.partitions {
		from[accounts][int32(p)] = kgo.NewOffset().At(0)
		from[orders][int32(p)] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap...), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(), kgo.FetchMaxWait(250*time.Millisecond))
	check(err)
	defer client.Close()
	next := map[string]int64{}
	var ends kadm.ListedOffsets
	for {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		fetches := client.PollFetches(limit)
		cancel()
		var polls strings.Builder
		at := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			next[fmt.Sprintf("%s-%d", r.Topic, r.Partition)] = r.Offset + 1
			if !r.Attrs.IsControl() {
				polls.WriteString(b.line("poll", "ok", r.Topic, int(r.Partition), r.Offset, string(r.Value), at, ""))
			}
		})
		b.note(polls.String())
		if b.over.Err() == nil {
			continue
		}
		if ends == nil {
			found, err := kadm.NewClient(client).ListEndOffsets(context.Background(), accounts, orders)
			if err != nil || found.Error() != nil {
				continue
			}
			ends = found
		}
		left := false
		ends.Each(func(end kadm.ListedOffset) {
			left = left || next[fmt.Sprintf("%s-%d", end.Topic, end.Partition)] < end.Offset
		})
		if !left {
			return
		}
	}
}
