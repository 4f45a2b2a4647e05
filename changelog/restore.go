package changelog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/statestore"
)

// Restore reads a partition of the changelog from a position to a target.
type Restore struct {
	Client    *kgo.Client
	Topic     string
	Partition int32
	// From is the position of the store. 0 stands for an empty store and
	// begins at the log's start, wherever that is.
	From int64
	// Target is the end listed by Ends, after the task was taken over.
	Target int64
	// MaxBytes is the most that one fetch asks for; a larger record batch
	// comes all the same. Default 1 MiB.
	MaxBytes int32
	// OnProgress, when set, is told the position after each load.
	OnProgress func(next int64)
	// OnMerge, when set, is told how many keys are in their tables, once all
	// was read and Into puts the keys of an empty store in order.
	OnMerge func(keys int64)
	// Memory is how many bytes Into may gather to fill an empty store. What
	// is fetched and not gathered yet comes on top. Default 64 MiB.
	Memory int
	// BulkLeast is how many offsets an empty store must lack for Into to fill
	// it in bulk. Default 5000; negative for never.
	BulkLeast int64
	// Pace, when set, is told after about a millisecond of work how long it
	// was, and may wait to leave the processors to others. It is called from
	// two goroutines.
	Pace func(ctx context.Context, worked time.Duration)
}

const (
	restoreBytes     = 1 << 20
	restoreBytesMax  = 64 << 20
	fetchWait        = 500 * time.Millisecond
	emptyConfirmWait = 10 * time.Millisecond
	lostPatience     = 30 * time.Second // of a log that ends before the target
)

// Run reads until the position has reached the target, and calls load with the
// committed mutations of each fetch in order: next is the position behind
// them, recordTime the latest timestamp of a record so far, in milliseconds (0
// when there was none). load may be called with no mutations, because markers
// and holes take offsets too. The slices are valid during the call only. An
// error of load ends the restore and is returned as it is.
//
// While load works on one fetch, the next one is fetched and decoded: at most
// three are in memory, one at the broker, one waiting, one in load.
//
// While a transaction below the target is open, Run waits for its end: the
// caller fenced the former owner before it listed the target, so that wait is
// short. Only the context limits it.
func (r *Restore) Run(ctx context.Context, load func(muts []statestore.Mutation, next, recordTime int64) error) (next int64, err error) {
	fetching, cancel := context.WithCancel(ctx)
	s := restoring{Restore: r, parts: make(chan part, 1), free: make(chan []statestore.Mutation, 3), next: r.From, bytes: r.MaxBytes}
	if s.bytes <= 0 {
		s.bytes = restoreBytes
	}
	ended := make(chan error, 1)
	go func() {
		defer close(s.parts)
		ended <- s.run(fetching)
	}()
	defer func() {
		cancel()
		for range s.parts { // the goroutine is gone once it is closed
		}
	}()
	next = r.From
	for p := range s.parts {
		if err := load(p.muts, p.next, p.time); err != nil {
			return next, fmt.Errorf("restore %s/%d at %d: %w", r.Topic, r.Partition, next, err)
		}
		next = p.next
		if r.OnProgress != nil {
			r.OnProgress(next)
		}
		clear(p.muts)
		s.free <- p.muts
	}
	if err := <-ended; err != nil {
		return next, fmt.Errorf("restore %s/%d at %d: %w", r.Topic, r.Partition, next, err)
	}
	return next, nil
}

// part is what one fetch brought.
type part struct {
	muts       []statestore.Mutation
	next, time int64
}

// restoring is the state of one Run, of the goroutine that fetches.
type restoring struct {
	*Restore
	parts chan part
	free  chan []statestore.Mutation // used ones, as many as there can be

	next   int64
	bytes  int32
	time   int64
	leader *leader // nil: ask
	fails  pause
	empty  int       // fetches in a row that proved the rest to be a hole
	short  time.Time // since when the log ends before the target
	unzip  kgo.Decompressor
	began  time.Time // of the work on the last fetch
}

// run fetches up to the target.
func (s *restoring) run(ctx context.Context) error {
	for s.next < s.Target {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step does one fetch and what follows from it.
func (s *restoring) step(ctx context.Context) error {
	part, err := s.fetch(ctx)
	if err == nil {
		err = s.take(ctx, part)
	}
	if err == nil {
		s.fails.reset()
		return nil
	}
	if !errors.Is(err, ErrRetry) {
		return err
	}
	s.leader = nil
	if s.fails.wait(ctx) {
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case gone(err):
		return lost(err)
	}
	return err
}

// fetch asks the partition's leader for what follows the position. It is nil
// without an error when the broker did not answer for the partition, as a
// broker does that throttles.
func (s *restoring) fetch(ctx context.Context) (*kmsg.FetchResponseTopicPartition, error) {
	if s.leader == nil {
		l, err := findLeader(ctx, s.Client, s.Topic, s.Partition)
		if err != nil {
			return nil, err
		}
		s.leader = &l
	}
	req := kmsg.NewPtrFetchRequest() // by default without a fetch session
	req.MaxWaitMillis = int32(fetchWait.Milliseconds())
	req.MinBytes = 1
	// The limit is the partition's. kfake, where the limit of the whole answer
	// cuts it short, forgets to list the aborted transactions.
	req.MaxBytes = math.MaxInt32
	req.IsolationLevel = 1 // read committed
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = s.Topic, s.leader.topicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = s.Partition, s.next, s.bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	kresp, err := s.Client.Broker(int(s.leader.broker)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, classify(ctx, err)
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, classify(ctx, err)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic != s.Topic && (t.Topic != "" || t.TopicID != s.leader.topicID) {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == s.Partition {
				return &t.Partitions[j], nil
			}
		}
	}
	return nil, nil
}

// take loads what a fetch brought and moves the position.
func (s *restoring) take(ctx context.Context, rp *kmsg.FetchResponseTopicPartition) error {
	if rp == nil {
		return s.idle(ctx)
	}
	switch err := kerr.ErrorForCode(rp.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return s.outOfRange(ctx)
	case err != nil:
		return classify(ctx, err)
	}
	s.began = time.Now()
	if s.unzip == nil {
		s.unzip = kgo.DefaultDecompressor()
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset:         s.next,
		IsolationLevel: kgo.ReadCommitted(),
		Topic:          s.Topic,
		Partition:      s.Partition,
	}, rp, s.unzip, nil)
	switch {
	case fetched.Err != nil:
		// Damaged on the way, or on the broker's disk: then it lasts.
		return fmt.Errorf("%w: unreadable record batch: %w", ErrRetry, fetched.Err)
	case next > s.next:
		return s.advance(ctx, fetched.Records, next)
	case len(rp.RecordBatches) > 0:
		// Not one whole batch. Brokers send the first one whole whatever the
		// limit, but do not have to.
		if s.bytes >= restoreBytesMax {
			return fmt.Errorf("%w: no whole record batch in %d bytes", ErrFatal, s.bytes)
		}
		s.bytes = min(2*s.bytes, restoreBytesMax)
		return nil
	}
	return s.nothing(ctx, rp)
}

// advance hands records to the loading side.
func (s *restoring) advance(ctx context.Context, records []*kgo.Record, next int64) error {
	var muts []statestore.Mutation
	select {
	case muts = <-s.free:
	default:
	}
	var err error
	if muts, s.time, err = Mutations(slices.Grow(muts[:0], len(records)), records, s.time); err != nil {
		return err
	}
	s.empty, s.short = 0, time.Time{}
	if len(muts) > 0 {
		s.pace(ctx, time.Since(s.began))
	}
	select {
	case s.parts <- part{muts, next, s.time}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.next = next
	return nil
}

// nothing decides what an answer without any bytes means.
func (s *restoring) nothing(ctx context.Context, rp *kmsg.FetchResponseTopicPartition) error {
	switch {
	case rp.LogStartOffset > s.next:
		return s.outOfRange(ctx)
	case rp.HighWatermark < s.Target:
		// A new leader may need a moment to learn how far it may show its log.
		if s.short.IsZero() {
			s.short = time.Now()
		}
		if time.Since(s.short) > lostPatience {
			return fmt.Errorf("%w: it ends at %d, and was seen to end at %d", ErrLost, rp.HighWatermark, s.Target)
		}
		s.leader = nil
		return s.idle(ctx)
	case rp.LastStableOffset < s.Target:
		s.empty = 0
		return s.idle(ctx) // a transaction is open
	}
	// All up to the target is decided, and there is nothing: compaction took
	// it, also the markers. Ask once more, since the consequence is to stop.
	if s.empty++; s.empty < 2 {
		return s.idle(ctx)
	}
	return s.advance(ctx, nil, s.Target)
}

// idle keeps a broker that does not wait from being asked in a tight loop.
func (s *restoring) idle(ctx context.Context) error {
	if !sleep(ctx, emptyConfirmWait) {
		return context.Cause(ctx)
	}
	return nil
}

// outOfRange finds out on which side of the log the position lies.
func (s *restoring) outOfRange(ctx context.Context) error {
	ends, err := Ends(ctx, s.Client, s.Topic, s.Partition)
	switch {
	case err != nil:
		return err
	case s.next < ends.Start && s.From == 0 && s.next == 0:
		return s.advance(ctx, nil, ends.Start)
	case s.next < ends.Start:
		return fmt.Errorf("%w: it starts at %d", ErrTruncated, ends.Start)
	case s.next > ends.End:
		return fmt.Errorf("%w: it ends at %d", ErrLost, ends.End)
	}
	return fmt.Errorf("%w: %w", ErrRetry, kerr.OffsetOutOfRange) // said by a former leader
}
