package topology

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/murmur2"
)

// partitioner takes Record.Partition as it is when it is zero or above, and
// hashes the key with murmur2 otherwise. A record with neither goes where the
// client's batching likes it best.
type partitioner struct{ sticky kgo.Partitioner }

// Partitioner is the one partitioner of this product, for any client that
// writes to its topics.
func Partitioner() kgo.Partitioner { return partitioner{kgo.StickyKeyPartitioner(nil)} }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.sticky.ForTopic(topic)}
}

type topicPartitioner struct{ sticky kgo.TopicPartitioner }

// RequiresConsistency is true for every record with a partition or a key: it
// must not move because one partition has no leader for a moment.
func (p *topicPartitioner) RequiresConsistency(rec *kgo.Record) bool {
	return rec.Partition >= 0 || rec.Key != nil
}

func (p *topicPartitioner) Partition(rec *kgo.Record, n int) int {
	switch {
	case rec.Partition >= 0:
		return int(rec.Partition)
	case rec.Key != nil:
		return int(murmur2.Partition(rec.Key, int32(n)))
	}
	return p.sticky.Partition(rec, n)
}

// OnNewBatch lets keyless records move to another partition.
func (p *topicPartitioner) OnNewBatch() {
	if b, ok := p.sticky.(kgo.TopicPartitionerOnNewBatch); ok {
		b.OnNewBatch()
	}
}

// transactionalIDs are the two ids by which a task owns its partition.
func transactionalIDs(app string, task int32) [2]string {
	return [2]string{fmt.Sprintf("%stask-%d-a", app, task), fmt.Sprintf("%stask-%d-b", app, task)}
}

const (
	// concurrentBackoff is how long a client waits when an id is still busy
	// with the markers of its last transaction; kgo's own 20 ms is an age.
	concurrentBackoff = time.Millisecond

	// bufferedRecordsMax is far above what a cycle emits: produce never blocks.
	bufferedRecordsMax = 1 << 20
)

// producers are the two transactional clients of a task.
type producers [2]*kgo.Client

// newProducers makes the clients and takes both ids: from here on every produce
// and EndTxn of a former owner is refused, and what it left open is aborted.
func newProducers(ctx context.Context, cfg *Config, base []kgo.Opt, task int32) (*producers, error) {
	var p producers
	for i, id := range transactionalIDs(cfg.App, task) {
		opts := append(base[:len(base):len(base)],
			kgo.TransactionalID(id),
			kgo.TransactionTimeout(cfg.Timing.Transaction),
			kgo.ConcurrentTransactionsBackoff(concurrentBackoff),
			kgo.RetryTimeout(cfg.Timing.Transaction),
			// No RecordDeliveryTimeout: kgo counts it from the record's own timestamp, and what is
			// forwarded or derived keeps the time of its source. committer.flush bounds the wait.
			kgo.ProduceRequestTimeout(max(100*time.Millisecond, cfg.Destinations.Patience)),
			kgo.ProducerLinger(0),
			kgo.MaxBufferedRecords(bufferedRecordsMax),
			kgo.ProducerBatchCompression(slices.Clone(cfg.Compression)...), // kgo writes to what it is given,
			kgo.RecordPartitioner(Partitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()),
		)
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("%w: client of %s: %w", ErrFatal, id, err)
		}
		p[i] = cl
	}
	errs := make(chan error, len(p))
	for i, cl := range p {
		go func() {
			_, _, err := cl.ProducerID(ctx)
			if err != nil {
				err = fmt.Errorf("take over %s: %w", transactionalIDs(cfg.App, task)[i], err)
			}
			errs <- err
		}()
	}
	var failed error
	for range p {
		if err := <-errs; err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		p.close()
		return nil, failed
	}
	return &p, nil
}

// envs are the clients as a committer wants them.
func (p *producers) envs() (envs [2]commitEnv) {
	for i, cl := range p {
		envs[i] = commitEnv{
			begin: cl.BeginTransaction,
			produce: func(ctx context.Context, rec *kgo.Record, done func(*kgo.Record, error)) {
				cl.Produce(ctx, rec, done)
			},
			flush: cl.Flush,
			end:   func(ctx context.Context) error { return cl.EndTransaction(ctx, kgo.TryCommit) },
		}
	}
	return envs
}

// taken asks the coordinator whether somebody else has taken one of the ids, as
// the next commit would find out. Only while nothing is under way.
func (p *producers) taken(ctx context.Context, app string, task int32) (bool, error) {
	ids := transactionalIDs(app, task)
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = ids[:]
	resp, err := req.RequestWith(ctx, p[0])
	if err != nil {
		return false, err
	}
	for _, state := range resp.TransactionStates {
		if err := kerr.ErrorForCode(state.ErrorCode); err != nil {
			return false, err
		}
		i := slices.Index(req.TransactionalIDs, state.TransactionalID)
		if i < 0 {
			continue
		}
		id, epoch, err := p[i].ProducerID(ctx)
		if err != nil {
			return false, err
		}
		if state.ProducerID != id || state.ProducerEpoch > epoch {
			return true, nil
		}
	}
	return false, nil
}

// close ends both clients without a word to the broker: what is open stays open
// until the next takeover or the transaction timeout aborts it.
func (p *producers) close() {
	for _, cl := range p {
		if cl != nil {
			cl.Close()
		}
	}
}
