package changelog

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Range is what a partition holds now.
type Range struct {
	Start int64 // the log's start
	End   int64 // the high watermark: also open transactions count
}

// Special timestamps of ListOffsets.
const (
	latest   = -1
	earliest = -2
)

// Isolation levels of ListOffsets and Fetch.
const (
	readUncommitted = 0
	readCommitted   = 1
)

// Ends lists both ends of a partition. The end is read uncommitted: the last
// stable offset may lag behind a transaction that was committed already, and a
// restore that stops there would lose it.
func Ends(ctx context.Context, cl *kgo.Client, topic string, partition int32) (r Range, err error) {
	return ends(ctx, cl, topic, partition, readUncommitted)
}

// StableEnds is Ends up to the last stable offset: to where a reader of committed
// records comes at once, whatever is open behind it. It may lag behind a
// position of the owner, and is no target for one who takes the task over.
func StableEnds(ctx context.Context, cl *kgo.Client, topic string, partition int32) (r Range, err error) {
	return ends(ctx, cl, topic, partition, readCommitted)
}

func ends(ctx context.Context, cl *kgo.Client, topic string, partition int32, isolation int8) (r Range, err error) {
	// Both at once: whoever takes a partition over asks while nobody works on it.
	var startErr error
	var wg sync.WaitGroup
	wg.Go(func() { r.Start, startErr = listOffset(ctx, cl, topic, partition, earliest, isolation) })
	r.End, err = listOffset(ctx, cl, topic, partition, latest, isolation)
	wg.Wait()
	if err == nil {
		err = startErr
	}
	if err != nil {
		return Range{}, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	return r, nil
}

func listOffset(ctx context.Context, cl *kgo.Client, topic string, partition int32, at int64, isolation int8) (offset int64, err error) {
	err = retry(ctx, func() error {
		req := kmsg.NewPtrListOffsetsRequest()
		req.IsolationLevel = isolation
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = partition, at
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return classify(ctx, err)
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if t.Topic != topic || p.Partition != partition {
					continue
				}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return classify(ctx, err)
				}
				if p.Offset < 0 {
					return fmt.Errorf("%w: the broker answered offset %d", ErrRetry, p.Offset)
				}
				offset = p.Offset
				return nil
			}
		}
		return fmt.Errorf("%w: the answer does not name the partition", ErrRetry)
	}, func(error) bool { return true })
	if gone(err) {
		err = lost(err)
	}
	return offset, err
}
