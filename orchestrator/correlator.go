package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/correlate/flow"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// correlator runs this process's share of the correlation, from the moment on at which a definition needs
// it: a namespace without such a definition has no topics, group or clients for it.
type correlator struct {
	o       *Orchestrator
	metrics *flow.Metrics
	news    chan struct{} // has a token when the definitions may be others
	worker  atomic.Pointer[topology.Worker]
	crashed atomic.Bool
}

func newCorrelator(o *Orchestrator) *correlator {
	return &correlator{o: o, metrics: flow.NewMetrics(o.metrics.registry), news: make(chan struct{}, 1)}
}

// look has run look at the definitions.
func (c *correlator) look() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// correlatorPause is how long a correlation that ended is left alone.
const correlatorPause = 5 * time.Second

// run works until ctx ends.
func (c *correlator) run(ctx context.Context) {
	for !c.needed() {
		select {
		case <-c.news:
		case <-ctx.Done():
			return
		}
	}
	for ctx.Err() == nil && !c.crashed.Load() {
		if err := c.work(ctx); ctx.Err() == nil && !c.crashed.Load() {
			c.o.cfg.Logger.Error("correlation has ended, events wait", "err", err)
		}
		select {
		case <-time.After(correlatorPause):
		case <-ctx.Done():
		}
	}
}

// needed says whether a definition whose topics are there uses correlation.
func (c *correlator) needed() bool {
	for _, l := range c.o.definitions.current.Load().versions {
		if l.open && l.plan != nil && len(l.plan.Routes) > 0 {
			return true
		}
	}
	return false
}

func (c *correlator) work(ctx context.Context) error {
	cfg := c.o.cfg
	client := cfg.Client
	if len(cfg.Brokers) > 0 {
		client = append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, client...)
	}
	_, memory := divideMemory(cfg.Memory, true)
	w, err := flow.New(flow.Config{
		Memory:    memory,
		Namespace: cfg.Namespace, DataDir: cfg.DataDir, FS: cfg.FS, Client: client, Advertise: cfg.Advertise, InstanceID: cfg.InstanceID, Zone: cfg.Zone,
		Standbys: cfg.Standbys, Timing: cfg.Timing, Clock: cfg.Clock, Failpoint: cfg.Failpoint, Version: Version, Logger: cfg.Logger, Metrics: c.metrics,
	})
	if err != nil {
		return err
	}
	c.worker.Store(w)
	defer c.worker.Store(nil)
	if c.crashed.Load() {
		return nil
	}
	return w.Run(ctx)
}

// memoryLeast is the least that a worker takes.
const memoryLeast = 64 << 20

// divideMemory divides the budget of a process: an eighth is the correlation's, and at least memoryLeast. The sagas have
// all of it as long as no definition correlates; when the first one comes to a running process, they give it back at the
// next start. 0 is no budget.
func divideMemory(budget int64, correlates bool) (sagas, correlation int64) {
	if budget == 0 {
		return 0, 0
	}
	correlation = max(memoryLeast, budget/8)
	if !correlates {
		return budget, correlation
	}
	return max(memoryLeast, budget-correlation), correlation
}

// live says whether the loops of the correlation turn.
func (c *correlator) live() error {
	if w := c.worker.Load(); w != nil {
		if err := w.Live(); err != nil {
			return fmt.Errorf("correlation: %w", err)
		}
	}
	return nil
}

// crash ends the work as kill -9 would end the process.
func (c *correlator) crash() {
	c.crashed.Store(true)
	if w := c.worker.Load(); w != nil {
		w.Crash()
	}
}

// wake has every task look at the clock now.
func (c *correlator) wake() {
	if w := c.worker.Load(); w != nil {
		for _, t := range w.Tasks() {
			w.Wake(t.Task)
		}
	}
}

// correlations are the rules of the topics whose events come to instances by a value. They are those of all
// versions of the active types: an instance waits by the version that it is pinned to.
func (o *Orchestrator) correlations() []bindings.Desired {
	known := o.definitions.current.Load()
	var plans []*sagas.Plan
	since := map[string]time.Time{} // by topic: when the first of them became active
	for ref, l := range known.versions {
		if l.plan == nil || !l.open || known.active[ref.typ] == 0 {
			continue
		}
		plans = append(plans, l.plan)
		for i := range l.plan.Routes {
			topic := l.plan.Routes[i].Topic
			if at, ok := since[topic]; !ok || known.since[ref.typ].Before(at) {
				since[topic] = known.since[ref.typ]
			}
		}
	}
	// What two versions have in common is taken from either; the order must not depend on the map.
	slices.SortFunc(plans, func(a, b *sagas.Plan) int {
		if a.Type != b.Type {
			return strings.Compare(a.Type, b.Type)
		}
		return int(a.Version) - int(b.Version)
	})
	var out []bindings.Desired
	for _, c := range bindings.CorrelationsOf(plans, o.topics.Correlation) {
		d := bindings.Desired{Rule: c, Since: since[c.Topic()]}
		var h held
		if o.desk.get(deskBinding+c.Key(), &h) {
			d.Paused = h.Paused
		}
		out = append(out, d)
	}
	return out
}
