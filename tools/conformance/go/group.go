package main

import (
	"context"
	"fmt"
	"io"
	"os"

	ibm "github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// untilInputEnds is cancelled when there is no more input.
func untilInputEnds() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func group(args []string) {
	ctx := untilInputEnds()
	client, err := kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.ConsumerGroup(args[1]), kgo.ConsumeTopics(args[2]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	check(err)
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) { fmt.Printf("record %d %d\n", r.Partition, r.Offset) })
		if fetches.NumRecords() > 0 {
			// What comes too late is read again by whoever has the partition now.
			if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
				fmt.Println("#", err)
			}
		}
	}
	client.Close()
}

type member struct{}

func (member) Setup(ibm.ConsumerGroupSession) error   { return nil }
func (member) Cleanup(ibm.ConsumerGroupSession) error { return nil }

func (member) ConsumeClaim(session ibm.ConsumerGroupSession, claim ibm.ConsumerGroupClaim) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			fmt.Printf("record %d %d\n", message.Partition, message.Offset)
			session.MarkMessage(message, "")
			session.Commit()
		case <-session.Context().Done():
			return nil
		}
	}
}

func sarama(args []string) {
	ctx := untilInputEnds()
	config := ibm.NewConfig()
	config.Version = ibm.V3_6_0_0
	config.Consumer.Offsets.Initial = ibm.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 500_000_000
	client, err := ibm.NewConsumerGroup([]string{args[0]}, args[1], config)
	check(err)
	for ctx.Err() == nil {
		// Comes back at each rebalance.
		if err := client.Consume(ctx, []string{args[2]}, member{}); err != nil {
			fmt.Println("#", err)
		}
	}
	check(client.Close())
}
