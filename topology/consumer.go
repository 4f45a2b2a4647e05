package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
)

// consumer reads partitions of all tasks of this process with one client, at
// explicit offsets, and hands what it fetched to the tasks' queues. It belongs
// to no group and never resets an offset. There are two: one reads the inputs of
// the active tasks, one the changelogs of the standbys.
//
// One goroutine polls and makes all changes to what is consumed, between polls.
// So what a poll returns always belongs to the present assignment: records that
// were fetched before a partition was taken away can never enter the queue of
// its next owner in this process, where they would leave a gap.
//
// A fetch waits at the broker for up to FetchMaxWait and covers the partitions
// that were wanted when it was sent. A partition that is added or resumed while
// the others are idle would wait for its end; a nudge (a seek to where the
// partition stands) makes the client send a new one.
type consumer struct {
	cfg  *Config
	what string        // it reads: input or changelog
	pace time.Duration // a wait after each poll that brought something
	cl   *kgo.Client
	log  *slog.Logger

	feeds map[string]map[int32]*feed // of the polling goroutine

	mu struct {
		sync.Mutex
		commands []func()
		wake     context.CancelFunc // of the poll under way
		closed   bool
	}
	done chan struct{}
}

// feed is one input partition of one task.
type feed struct {
	topic     string
	partition int32
	queue     *queue
	fault     func(error)
	stable    func(offset int64) // when set, told the last stable offset of each fetch

	next    int64 // offset after the last record that was pushed
	epoch   int32 // leader epoch of that record, -1 for none
	nudges  int   // left to do while nothing arrives
	nudgeAt time.Time
	failing bool // an error was reported and has not passed
}

// nudgeAfter are the waits before a partition that was added or resumed and got
// nothing is nudged. Metadata of a new partition may take a few of them.
var nudgeAfter = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond}

func newConsumer(cfg *Config, what string, base []kgo.Opt, more ...kgo.Opt) (*consumer, error) {
	opts := append(base[:len(base):len(base)], more...)
	opts = append(opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(cfg.Timing.FetchMaxWait),
		kgo.FetchMaxBytes(cfg.Limits.FetchBytes),
		kgo.FetchMaxPartitionBytes(cfg.Limits.FetchPartitionBytes),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: consuming client: %w", ErrFatal, err)
	}
	return &consumer{
		cfg: cfg, what: what, cl: cl, log: cfg.Logger,
		feeds: make(map[string]map[int32]*feed), done: make(chan struct{}),
	}, nil
}

// run polls until close.
func (c *consumer) run() {
	defer close(c.done)
	for {
		ctx, ok := c.between()
		if !ok {
			return
		}
		fetches := c.cl.PollFetches(ctx)
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Partition < 0 {
				return // a closed client or our own wake-up
			}
			c.dispatch(&p)
		})
		if fetches.IsClientClosed() {
			return // by a crash; a poll would return at once for ever
		}
		if c.pace > 0 && !fetches.Empty() {
			time.Sleep(c.pace)
		}
	}
}

// between makes the changes that were asked for and prepares the next poll.
func (c *consumer) between() (context.Context, bool) {
	c.mu.Lock()
	if wake := c.mu.wake; wake != nil {
		wake()
	}
	commands := c.mu.commands
	c.mu.commands = nil
	closed := c.mu.closed
	c.mu.Unlock()
	for _, command := range commands {
		command()
	}
	if closed {
		return nil, false
	}

	next := c.nudge(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	if !next.IsZero() {
		cancel()
		ctx, cancel = context.WithDeadline(context.Background(), next)
	}
	c.mu.wake = cancel
	if len(c.mu.commands) > 0 || c.mu.closed {
		cancel()
	}
	return ctx, true
}

// do has the polling goroutine run command before its next poll.
func (c *consumer) do(command func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.commands = append(c.mu.commands, command)
	if c.mu.wake != nil {
		c.mu.wake()
	}
}

// dispatch hands one partition of a fetch to its task.
func (c *consumer) dispatch(p *kgo.FetchTopicPartition) {
	f := c.feeds[p.Topic][p.Partition]
	if f == nil {
		return
	}
	records := p.Records
	for len(records) > 0 && records[0].Offset < f.next {
		records = records[1:] // fetched again after a nudge
	}
	if len(records) > 0 {
		last := records[len(records)-1]
		f.next, f.epoch, f.nudges, f.failing = last.Offset+1, last.LeaderEpoch, 0, false
		if f.queue.push(records) {
			c.pause(f.queue)
		}
	}
	if p.Err != nil {
		c.failed(f, p.Err)
	} else if f.stable != nil {
		f.stable(p.LastStableOffset)
	}
}

// failed sorts the errors of one partition. A lost input halts its task; the
// rest is retried by the client and only reported.
func (c *consumer) failed(f *feed, err error) {
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange), errors.As(err, &lost):
		c.cl.PauseFetchPartitions(map[string][]int32{f.topic: {f.partition}})
		if c.cfg.AllowLostInput && c.what == "input" { // the next takeover goes on with what is there
			f.fault(fmt.Errorf("%w: input %s/%d has lost records at offset %d: %w", ErrRetry, f.topic, f.partition, f.next, err))
			return
		}
		f.fault(halt("%s %s/%d has lost records: the task is at offset %d: %w", c.what, f.topic, f.partition, f.next, err))
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
		c.cl.PauseFetchPartitions(map[string][]int32{f.topic: {f.partition}})
		f.fault(fmt.Errorf("read %s %s/%d: %w", c.what, f.topic, f.partition, err))
	case f.failing:
	default:
		f.failing = true
		c.log.Warn(c.what+" cannot be read, trying again", "topic", f.topic, "partition", f.partition, "error", err)
	}
}

// assign starts to feed queue with the given partitions. stable may be nil.
func (c *consumer) assign(at []changelog.InputPosition, q *queue, fault func(error), stable func(int64)) {
	at = append([]changelog.InputPosition(nil), at...)
	c.do(func() {
		add := make(map[string]map[int32]kgo.Offset)
		resume := make(map[string][]int32)
		for _, pos := range at {
			if c.feeds[pos.Topic] == nil {
				c.feeds[pos.Topic] = make(map[int32]*feed)
			}
			f := &feed{topic: pos.Topic, partition: pos.Partition, queue: q, fault: fault, stable: stable, next: pos.Next, epoch: -1}
			f.nudges, f.nudgeAt = len(nudgeAfter), time.Now().Add(nudgeAfter[0])
			c.feeds[pos.Topic][pos.Partition] = f
			if add[pos.Topic] == nil {
				add[pos.Topic] = make(map[int32]kgo.Offset)
			}
			add[pos.Topic][pos.Partition] = kgo.NewOffset().At(pos.Next)
			resume[pos.Topic] = append(resume[pos.Topic], pos.Partition)
		}
		c.cl.ResumeFetchPartitions(resume)
		c.cl.AddConsumePartitions(add)
	})
}

// unassign ends the feeding of queue and returns when nothing more will be
// pushed to it.
func (c *consumer) unassign(q *queue) {
	done := make(chan struct{})
	c.do(func() {
		defer close(done)
		remove := c.partitions(q)
		for topic, partitions := range remove {
			for _, partition := range partitions {
				delete(c.feeds[topic], partition)
			}
		}
		c.cl.RemoveConsumePartitions(remove)
	})
	select {
	case <-done:
	case <-c.done:
	}
	q.clear()
}

// partitions lists what feeds q.
func (c *consumer) partitions(q *queue) map[string][]int32 {
	list := make(map[string][]int32)
	for topic, feeds := range c.feeds {
		for partition, f := range feeds {
			if f.queue == q {
				list[topic] = append(list[topic], partition)
			}
		}
	}
	return list
}

// pause stops the fetching for a queue that is over its high mark.
func (c *consumer) pause(q *queue) {
	c.cl.PauseFetchPartitions(c.partitions(q))
	q.paused(true)
}

// resume starts it again. Any goroutine may call it.
func (c *consumer) resume(q *queue) {
	c.do(func() {
		list := c.partitions(q)
		if len(list) == 0 {
			return
		}
		for topic, partitions := range list {
			for _, partition := range partitions {
				f := c.feeds[topic][partition]
				f.nudges, f.nudgeAt = 1, time.Now().Add(nudgeAfter[0])
			}
		}
		c.cl.ResumeFetchPartitions(list)
		q.paused(false)
	})
}

// nudge seeks the partitions that wait for a first fetch to where they stand,
// and reports when to do so next.
func (c *consumer) nudge(now time.Time) (next time.Time) {
	var seek map[string]map[int32]kgo.EpochOffset
	for topic, feeds := range c.feeds {
		for partition, f := range feeds {
			if f.nudges == 0 {
				continue
			}
			if !f.nudgeAt.After(now) {
				if seek == nil {
					seek = make(map[string]map[int32]kgo.EpochOffset)
				}
				if seek[topic] == nil {
					seek[topic] = make(map[int32]kgo.EpochOffset)
				}
				seek[topic][partition] = kgo.EpochOffset{Epoch: f.epoch, Offset: f.next}
				if f.nudges--; f.nudges == 0 {
					continue
				}
				f.nudgeAt = now.Add(nudgeAfter[len(nudgeAfter)-f.nudges])
			}
			if next.IsZero() || f.nudgeAt.Before(next) {
				next = f.nudgeAt
			}
		}
	}
	c.cl.SetOffsets(seek)
	return next
}

// close stops the polling and the client.
func (c *consumer) close() {
	c.mu.Lock()
	c.mu.closed = true
	if c.mu.wake != nil {
		c.mu.wake()
	}
	c.mu.Unlock()
	<-c.done
	c.cl.Close()
}
