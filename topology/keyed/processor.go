package keyed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/unread"
)

// Processor is one process's share of a group. Make it with New and run it once.
type Processor struct {
	cfg     Config
	slots   chan struct{} // a token per call of Handle; nil = no bound
	cl      *kgo.Client
	started atomic.Bool
	waits   sync.WaitGroup // goroutines that wait for handlers
	commits sync.Mutex     // one commit at a time

	mu struct {
		sync.Mutex
		parts map[string]map[int32]*partition
	}
}

// ErrStuck is what Run returns when handlers went on after the end of their context.
var ErrStuck = errors.New("handlers still run")

// New checks cfg. It does not connect; Run does.
func New(cfg Config) (*Processor, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Processor{cfg: cfg}
	if cfg.Concurrency > 0 {
		p.slots = make(chan struct{}, cfg.Concurrency)
	}
	p.mu.parts = make(map[string]map[int32]*partition)
	return p, nil
}

// RunAll runs processors side by side until ctx ends or one of them fails; then all of them stop.
func RunAll(ctx context.Context, ps ...*Processor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(ps))
	for _, p := range ps {
		go func() {
			err := p.Run(ctx)
			if err != nil {
				cancel()
			}
			errs <- err
		}()
	}
	var all []error
	for range ps {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// Run handles records until ctx ends. Then no call begins any more, those under way are waited for, for
// Drain at most, the prefixes are committed, and the process leaves the group.
func (p *Processor) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("a processor runs only once")
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{kgo.DisableClientMetrics(), kgo.Balancers(kgo.CooperativeStickyBalancer())}, p.cfg.Client...),
		kgo.ConsumerGroup(p.cfg.Group),
		kgo.ConsumeTopics(p.cfg.Topics...),
		kgo.ConsumeResetOffset(*p.cfg.Reset),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // what a poll returned belongs to the assignment until it is dispatched
		kgo.OnPartitionsAssigned(p.assigned),
		kgo.OnPartitionsRevoked(p.revoked),
		kgo.OnPartitionsLost(p.lost),
	)...)
	if err != nil {
		return fmt.Errorf("client of %s: %w", p.cfg.Group, err)
	}
	p.cl = cl
	var committing sync.WaitGroup
	stopCommits := make(chan struct{})
	committing.Go(func() { p.commitLoop(stopCommits) })

	faults := unread.Faults{Most: 100 * time.Millisecond} // the other partitions go on
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachPartition(p.dispatch)
		cl.AllowRebalance()
		faults.After(ctx, fetches, func(topic string, partition int32, err error) {
			if hook := p.cfg.Hooks.Unreadable; hook != nil {
				hook(topic, partition, err)
			}
			p.cfg.Logger.Warn("topic cannot be read, trying again", "topic", topic, "partition", partition, "error", err)
		})
	}

	close(stopCommits)
	committing.Wait()
	stuck := p.release(p.all(), p.cfg.Drain)
	cl.CloseAllowingRebalance()
	if stuck {
		return fmt.Errorf("%s: %w", p.cfg.Group, ErrStuck)
	}
	p.waits.Wait()
	return nil
}

// dispatch hands what was fetched of one partition to it. It waits for nothing.
func (p *Processor) dispatch(f kgo.FetchTopicPartition) {
	if len(f.Records) == 0 {
		return
	}
	p.mu.Lock()
	x := p.mu.parts[f.Topic][f.Partition]
	p.mu.Unlock()
	if x == nil || !x.take(f.Records) {
		return
	}
	p.cl.PauseFetchPartitions(map[string][]int32{f.Topic: {f.Partition}})
	p.paused(x, true)
	// A lane may have made room between the two lines above, and its resume come first.
	x.mu.Lock()
	again := !x.mu.paused
	x.mu.Unlock()
	if again {
		p.resume(x)
	}
}

// resume has a partition fetched again.
func (p *Processor) resume(x *partition) {
	p.cl.ResumeFetchPartitions(map[string][]int32{x.topic: {x.id}})
	p.paused(x, false)
}

func (p *Processor) paused(x *partition, paused bool) {
	if hook := p.cfg.Hooks.Paused; hook != nil {
		hook(x.topic, x.id, paused)
	}
}

func (p *Processor) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, ids := range got {
		if p.mu.parts[topic] == nil {
			p.mu.parts[topic] = make(map[int32]*partition)
		}
		for _, id := range ids {
			p.mu.parts[topic][id] = newPartition(p, topic, id)
		}
	}
}

// remove takes partitions out of the books.
func (p *Processor) remove(list map[string][]int32) (parts []*partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, ids := range list {
		for _, id := range ids {
			if x := p.mu.parts[topic][id]; x != nil {
				parts = append(parts, x)
				delete(p.mu.parts[topic], id)
			}
		}
	}
	return parts
}

// all lists the partitions, and keeps them.
func (p *Processor) all() (parts []*partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ids := range p.mu.parts {
		for _, x := range ids {
			parts = append(parts, x)
		}
	}
	return parts
}

// revoked gives partitions away: it waits for what runs and commits.
func (p *Processor) revoked(_ context.Context, _ *kgo.Client, list map[string][]int32) {
	p.release(p.remove(list), p.cfg.Drain)
}

// lost partitions belong to another member already: nothing is waited for, nothing committed.
func (p *Processor) lost(_ context.Context, _ *kgo.Client, list map[string][]int32) {
	for _, x := range p.remove(list) {
		p.unpause(x, x.close())
		x.cut()
	}
}

// unpause makes sure that a partition that comes back is fetched.
func (p *Processor) unpause(x *partition, paused bool) {
	if paused {
		p.resume(x)
	}
}

// release closes partitions, waits for what runs in them and commits their prefixes. It reports whether
// anything still runs: its context is cut off then.
func (p *Processor) release(parts []*partition, drain time.Duration) (stuck bool) {
	for _, x := range parts {
		p.unpause(x, x.close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	for _, x := range parts {
		if !x.drained(ctx) {
			x.cut()
			stuck = true
		}
	}
	p.commit(parts)
	if stuck { // those that heed their context end now
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		stuck = false
		for _, x := range parts {
			stuck = !x.drained(ctx) || stuck
		}
	}
	for _, x := range parts {
		x.cut()
	}
	return stuck
}

func (p *Processor) commitLoop(stop <-chan struct{}) {
	tick := time.NewTicker(p.cfg.Commit)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			p.commit(p.all())
		}
	}
}

// commitTimeout bounds one commit: what it does not bring is committed by the next.
const commitTimeout = 10 * time.Second

// commit commits the prefixes that have moved.
func (p *Processor) commit(parts []*partition) {
	p.commits.Lock()
	defer p.commits.Unlock()
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	var moved []*partition
	for _, x := range parts {
		at, ok := x.commit()
		if !ok {
			continue
		}
		if offsets[x.topic] == nil {
			offsets[x.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[x.topic][x.id] = at
		moved = append(moved, x)
	}
	if len(moved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := p.send(ctx, offsets); err != nil {
		p.cfg.Logger.Warn("positions were not committed, trying again", "group", p.cfg.Group, "error", err)
		return
	}
	for _, x := range moved {
		at := offsets[x.topic][x.id]
		x.committed(at)
		if hook := p.cfg.Hooks.Committed; hook != nil {
			hook(x.topic, x.id, at.Offset)
		}
	}
}
