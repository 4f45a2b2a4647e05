package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// commitEnv is what a commit needs of one transactional client. It is a struct
// of functions so that the order of a commit, and what each failure in it leads
// to, is tested without Kafka.
type commitEnv struct {
	begin   func() error
	produce func(ctx context.Context, rec *kgo.Record, done func(*kgo.Record, error))
	flush   func(ctx context.Context) error
	end     func(ctx context.Context) error // commits
}

// committer ends each cycle with one Kafka transaction.
//
// The naive way is one transactional client: begin, produce, end, begin again.
// A transaction that begins before the markers of the one before are written is
// refused for a while (CONCURRENT_TRANSACTIONS, in steps of 20 ms on a stock
// broker), so a single id is slow. Two ids in turn are not: the markers of one
// are written while the other works. It is sound because the outcome of the one
// is final before the other begins, so in each partition the records of
// consecutive cycles stand in order; a takeover must fence both ids.
//
//	begin      on the client whose turn it is
//	produce    all records; after the first error no more
//	flush      all answers are in
//	end        EndTxn(commit)
//	           from here on the batch is a fact, also if this process dies
//	turn       the other client is next
//
// Invariants: nothing of a batch reaches the store before end has succeeded; a
// commit with an error is never repeated or completed here. What an error of
// end means is not known: the transaction may be committed or not. Every error
// therefore takes the crash path, which finds out: the batch is dropped, both
// clients are closed, the ids are taken over again (which ends what is open),
// and the changelog is replayed from the position of the store.
//
// A commit is not aborted explicitly for the same reason: the takeover does it.
//
// While end is under way the next batch gathers in the queue and is not
// processed. Processing it ahead, to be produced after end and dropped with it,
// would fit between turn and begin.
type committer struct {
	envs      [2]commitEnv
	turn      int
	topic     string // of the changelog
	app       string // prefix of our own topics
	failpoint func(name string) error
	timeout   time.Duration
	lanes     bool                    // the processor asks before it writes to topics of others
	patience  time.Duration           // with those
	isOpen    func(topic string) bool // whether a breaker has opened meanwhile; nil = there are none

	failed atomic.Bool
	mu     struct {
		sync.Mutex
		err     error // the first of this transaction
		rec     *kgo.Record
		highest int64 // offset of a changelog record
		own     int   // records to our own topics that are not answered yet
		foreign map[*kgo.Record]struct{}
	}
}

// commit produces records in one transaction. It returns the changelog offset
// after the last changelog record.
func (p *committer) commit(ctx context.Context, mutations, outs []*kgo.Record) (next int64, err error) {
	env := &p.envs[p.turn]
	p.failed.Store(false)
	p.mu.Lock()
	p.mu.err, p.mu.rec, p.mu.highest, p.mu.own = nil, nil, -1, 0
	if p.mu.foreign == nil {
		p.mu.foreign = make(map[*kgo.Record]struct{})
	}
	clear(p.mu.foreign)
	p.mu.Unlock()

	if err := p.failpoint(FailBegin); err != nil {
		return 0, err
	}
	if err := env.begin(); err != nil {
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	if err := p.failpoint(FailProduce); err != nil {
		return 0, err
	}
	// Outputs go first. The progress record is the last mutation, so its offset
	// is the highest of this transaction in the changelog.
	done := p.done // once: a method value is an allocation
	for _, records := range [2][]*kgo.Record{outs, mutations} {
		for _, rec := range records {
			if p.failed.Load() {
				return 0, p.fault()
			}
			p.sent(rec)
			env.produce(ctx, rec, done)
		}
	}
	if err := p.failpoint(FailFlush); err != nil {
		return 0, err
	}
	if err := p.flush(ctx, env); err != nil {
		return 0, err
	}
	if err := p.fault(); err != nil {
		return 0, err
	}
	if err := p.failpoint(FailEnd); err != nil {
		return 0, err
	}
	if err := env.end(ctx); err != nil {
		return 0, fmt.Errorf("end transaction, outcome unknown: %w", err)
	}
	p.turn ^= 1
	if err := p.failpoint(FailEnded); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.highest + 1, nil
}

// sent counts a record that is about to be produced.
func (p *committer) sent(rec *kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(rec.Topic, p.app) {
		p.mu.own++
	} else {
		p.mu.foreign[rec] = struct{}{}
	}
}

// flush waits for all answers, but not for longer than the broker would keep
// the transaction open, and not for longer than patience when nothing but
// topics of others is missing.
func (p *committer) flush(ctx context.Context, env *commitEnv) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var stalled atomic.Pointer[laneError]
	if p.lanes {
		began := time.Now()
		every := p.patience / watchesPerPatience
		stop := p.every(ctx, every, func() {
			if faults := p.stalled(time.Since(began)); faults != nil {
				stalled.CompareAndSwap(nil, &laneError{faults: faults})
				cancel()
			}
		})
		defer stop()
	}
	if err := env.flush(ctx); err != nil {
		if lane := stalled.Load(); lane != nil {
			return lane
		}
		return fmt.Errorf("flush: %w", errors.Join(err, p.fault()))
	}
	return nil
}

// every calls fn again and again until ctx or stop ends it. When stop has returned fn is not called any
// more: what it looks at is the next transaction's then.
func (p *committer) every(ctx context.Context, wait time.Duration, fn func()) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	ended := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(wait, func() {
		mu.Lock()
		defer mu.Unlock()
		if ended || ctx.Err() != nil {
			return
		}
		fn()
		timer.Reset(wait)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		timer.Stop()
	}
}

// watchesPerPatience is how often a flush looks at what is missing.
const watchesPerPatience = 4

// stalled lists the topics of others that alone hold this transaction up, and
// have done so for too long, or are known to by now.
func (p *committer) stalled(waited time.Duration) (faults []laneFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.own > 0 || len(p.mu.foreign) == 0 || p.mu.err != nil {
		return nil
	}
	missing := make(map[string][]*kgo.Record)
	known := p.isOpen != nil
	for rec := range p.mu.foreign {
		missing[rec.Topic] = append(missing[rec.Topic], rec)
		known = known && (len(missing[rec.Topic]) > 1 || p.isOpen(rec.Topic))
	}
	if waited < p.patience && !known {
		return nil
	}
	for topic, records := range missing {
		faults = append(faults, laneFault{topic: topic, reason: fmt.Errorf("%w for %v", errStalled, waited.Round(10*time.Millisecond)), sample: sampleOf(records)})
	}
	return faults
}

// done is the promise of every record. kgo may call it from several goroutines.
func (p *committer) done(rec *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(rec.Topic, p.app) {
		p.mu.own--
	} else if err == nil {
		delete(p.mu.foreign, rec)
	}
	switch {
	case err != nil && p.mu.err == nil:
		p.mu.err, p.mu.rec = err, rec
		p.failed.Store(true)
	case err == nil && rec.Topic == p.topic:
		p.mu.highest = max(p.mu.highest, rec.Offset)
	}
}

// fault is the first produce error of the transaction.
func (p *committer) fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.err == nil {
		return nil
	}
	topic := p.mu.rec.Topic
	own := strings.HasPrefix(topic, p.app)
	switch {
	case p.lanes && !own && isLaneFault(p.mu.err):
		var sample []*kgo.Record
		for rec := range p.mu.foreign {
			if rec.Topic == topic {
				sample = append(sample, rec)
			}
		}
		return &laneError{faults: []laneFault{{topic: topic, reason: p.mu.err, sample: sampleOf(sample)}}}
	case isRecordFault(p.mu.err, topic == p.topic),
		// A topic that belongs to others and that we may not write to is like one that is missing.
		!own && errors.Is(p.mu.err, kerr.TopicAuthorizationFailed):
		return &recordError{topic: topic, err: p.mu.err, bytes: recordSize(p.mu.rec)}
	}
	return fmt.Errorf("produce to %s: %w", topic, p.mu.err)
}

// commit ends cycle c with a transaction and reports the position that the
// store has once c is applied.
func (t *task) commit(ctx context.Context, c *Cycle) (next int64, err error) {
	c.batch.Put([]byte(changelog.ProgressKey), t.progress(c))
	if err := t.store.Prepare(c.batch); err != nil {
		if errors.Is(err, statestore.ErrIndexer) || errors.Is(err, statestore.ErrLimit) {
			return 0, &recordError{topic: t.cfg.Changelog, err: err}
		}
		return 0, fmt.Errorf("prepare batch: %w", err)
	}
	if err := t.mayCommit(); err != nil {
		return 0, err
	}
	t.mutations = changelog.Records(t.cfg.Changelog, t.id, c.batch, t.mutations[:0], func() *kgo.Record { return &c.room.records.take(1)[0] })
	c.stats.Outputs, c.stats.Mutations = len(c.outs), len(t.mutations)

	began := t.cfg.Clock()
	t.works(false) // the client bounds its waits for brokers
	next, err = t.committer.commit(ctx, t.mutations, c.outs)
	t.works(true)
	c.stats.Commit = t.cfg.Clock().Sub(began)
	clear(t.mutations)
	var lane *laneError
	if errors.As(err, &lane) {
		t.w.destinations.trip(lane.faults)
	}
	return next, err
}

// apply brings the committed batch into the store, with its position.
func (t *task) apply(c *Cycle, next int64) error {
	if err := t.failpoint(FailApply); err != nil {
		return err
	}
	began := t.cfg.Clock()
	if err := t.store.Apply(c.batch, statestore.Position{Next: next, Time: c.now}); err != nil {
		return fmt.Errorf("apply batch: %w", err)
	}
	c.stats.Apply = t.cfg.Clock().Sub(began)
	return t.failpoint(FailApplied)
}
