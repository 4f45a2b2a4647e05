package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A destination is a topic of others that tasks of this process write to. A Kafka transaction cannot
// commit while one partition of it takes no writes, so one such topic would stop everything. Each
// destination therefore has a breaker, and what may not be written is not produced at all: the
// processor asks Cycle.May first and lets the key wait (Cycle.Wait), which is part of the state.
//
//	          a commit fails for this topic           the probe was acknowledged
//	closed ───────────────────────────────► open ───────────────────────────────► half-open
//	   ▲                                     ▲  │ probe fails: next one later          │ │
//	   │                                     │  └─┘                                    │ │
//	   │                                     └──────── a commit fails for it ──────────┘ │
//	   └────────────────────────────────── a commit with this topic succeeds ────────────┘
//
// The probe writes copies of records that were refused, in a transaction of its own that is then
// aborted, under a transactional id of its own: a topic that stalls cannot stall a task that way, and
// nobody who reads committed data sees it. Half-open lets a few records through.
//
// Breakers are of the process and in memory: they decide when something is written, never what. A
// process that starts anew finds out again.

// DestinationState is the state of a breaker.
type DestinationState uint8

// The states of a breaker.
const (
	DestinationClosed   DestinationState = iota + 1 // records flow
	DestinationOpen                                 // nothing is written, a probe is due
	DestinationHalfOpen                             // the probe passed, a few records may follow it
)

func (s DestinationState) String() string {
	switch s {
	case DestinationClosed:
		return "closed"
	case DestinationOpen:
		return "open"
	case DestinationHalfOpen:
		return "half-open"
	}
	return "invalid"
}

// MarshalText gives the name.
func (s DestinationState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Destinations say when a worker stops writing to a topic of others, and how fast it writes.
type Destinations struct {
	// Patience is how long a commit waits for topics of others after all own topics have answered,
	// before it counts them as stalled. It is also how long a probe waits. Default 1 s.
	Patience time.Duration
	// Probe is the wait before the first probe of a topic; it doubles up to ProbeMax.
	// Defaults 500 ms and 10 s.
	Probe    time.Duration
	ProbeMax time.Duration
	// HalfOpen is how many records may follow a successful probe before one of them is committed.
	// Default 64.
	HalfOpen int
	// All are the limits of every topic that Topics does not name.
	All Lane
	// Topics are the limits of single topics.
	Topics map[string]Lane
}

// Lane bounds what one process writes to one topic of others.
type Lane struct {
	// Rate is the most records per second, in the long run; Burst how many may come at once.
	// Rate 0 means no limit; Burst 0 means one second's worth.
	Rate  float64 `json:"rate,omitempty"`
	Burst int     `json:"burst,omitempty"`
	// Retries is the budget of repeated records as a share of first ones: 0.5 lets one repetition
	// through for every two first records. RetriesMin, per second, are allowed in any case, and
	// ten seconds' worth of them at once. Retries 0 means no budget. RetriesMin 0 means 10.
	Retries    float64 `json:"retries,omitempty"`
	RetriesMin float64 `json:"retriesMin,omitempty"`
}

// DestinationInfo describes a destination whose breaker is not closed, or that keys wait for.
type DestinationInfo struct {
	Topic   string           `json:"topic"`
	State   DestinationState `json:"state"`
	Reason  string           `json:"reason,omitempty"` // why it is not closed, or was not
	Since   int64            `json:"since"`            // of the state, ms since 1970
	Waiting int64            `json:"waiting"`          // keys of this process's tasks that wait for it
	Limits  *Lane            `json:"limits,omitempty"` // nil: none
}

// laneFault is what a commit, or a probe, found wrong with one topic.
type laneFault struct {
	topic  string
	reason error
	sample []*kgo.Record // some of what was not acknowledged
}

// samplesMax bounds the records that a breaker keeps for its probes.
const samplesMax = 4

// destinationsMax bounds what is remembered: topics for results are named by producers.
const destinationsMax = 4096

// destinations are the breakers and limits of a worker.
type destinations struct {
	cfg   *Config
	hooks *hooks
	probe func(faults laneFault) error // writes samples and aborts; set by the worker
	spawn func(fn func(stop <-chan struct{}))
	wake  func() // every task

	trips atomic.Int64 // how often a breaker has opened
	shut  atomic.Int32 // breakers that are not closed

	mu struct {
		sync.Mutex
		by map[string]*destination
	}
}

type destination struct {
	topic   string
	lane    Lane
	state   DestinationState
	since   time.Time
	reason  string
	sample  []*kgo.Record
	wait    time.Duration // before the next probe
	left    int           // half-open: records that may still go
	rate    bucket
	retries bucket
	waiting int64
}

// bucket is a token bucket. Its time is what it is given.
type bucket struct {
	tokens, max, rate float64
	at                time.Time
}

func (b *bucket) fill(now time.Time) {
	if !b.at.IsZero() {
		b.tokens = min(b.max, b.tokens+b.rate*now.Sub(b.at).Seconds())
	} else {
		b.tokens = b.max
	}
	b.at = now
}

// next is how long until a token is there.
func (b *bucket) next() time.Duration {
	if b.tokens >= 1 || b.rate <= 0 {
		return 0
	}
	return time.Duration((1 - b.tokens) / b.rate * float64(time.Second))
}

func newDestinations(cfg *Config, hooks *hooks) *destinations {
	d := &destinations{cfg: cfg, hooks: hooks}
	d.mu.by = make(map[string]*destination)
	return d
}

// foreign says whether a topic belongs to others.
func (d *destinations) foreign(topic string) bool { return !strings.HasPrefix(topic, d.cfg.App) }

// get finds or makes a destination; nil when too many are remembered.
func (d *destinations) getLocked(topic string) *destination {
	if x := d.mu.by[topic]; x != nil {
		return x
	}
	if len(d.mu.by) >= destinationsMax {
		for name, x := range d.mu.by {
			if x.state == DestinationClosed && x.waiting == 0 {
				delete(d.mu.by, name)
				break
			}
		}
		if len(d.mu.by) >= destinationsMax {
			return nil
		}
	}
	lane, named := d.cfg.Destinations.Topics[topic]
	if !named {
		lane = d.cfg.Destinations.All
	}
	x := &destination{topic: topic, lane: lane, state: DestinationClosed, since: d.cfg.Clock()}
	if lane.Rate > 0 {
		x.rate = bucket{rate: lane.Rate, max: max(1, lane.Rate)}
		if lane.Burst > 0 {
			x.rate.max = float64(lane.Burst)
		}
	}
	if lane.Retries > 0 {
		least := cmp.Or(lane.RetriesMin, 10)
		x.retries = bucket{rate: least, max: max(1, 10*least)}
	}
	d.mu.by[topic] = x
	return x
}

// unlimited says whether records to topic need no look at its destination now.
func (d *destinations) unlimited(topic string) bool {
	if d.shut.Load() > 0 || d.cfg.Destinations.All.limited() {
		return false
	}
	lane, named := d.cfg.Destinations.Topics[topic]
	return !named || !lane.limited()
}

func (l *Lane) limited() bool { return l.Rate > 0 || l.Retries > 0 }

// admit asks for one record to topic. A yes has used up what it needs.
func (d *destinations) admit(topic string, again bool) bool {
	if !d.foreign(topic) || d.unlimited(topic) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.getLocked(topic)
	if x == nil {
		return true
	}
	if x.waitLocked(time.Now(), again) != 0 {
		return false
	}
	if x.state == DestinationHalfOpen {
		x.left--
	}
	if x.lane.Rate > 0 {
		x.rate.tokens--
	}
	switch {
	case x.lane.Retries <= 0:
	case again:
		x.retries.tokens--
	default:
		x.retries.tokens = min(x.retries.max, x.retries.tokens+x.lane.Retries)
	}
	return true
}

// never is the wait for a breaker: its change wakes whoever waits.
const never = time.Duration(1<<63 - 1)

// waitLocked is how long no record can go: 0 = now, never = until the breaker changes.
func (x *destination) waitLocked(now time.Time, again bool) time.Duration {
	if x.state == DestinationOpen || x.state == DestinationHalfOpen && x.left <= 0 {
		return never
	}
	wait := time.Duration(0)
	if x.lane.Rate > 0 {
		x.rate.fill(now)
		wait = x.rate.next()
	}
	if again && x.lane.Retries > 0 {
		x.retries.fill(now)
		wait = max(wait, x.retries.next())
	}
	return wait
}

// flows is how long a key that waits for topic must wait on: 0 = not at all, never = until it is woken.
func (d *destinations) flows(topic string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.mu.by[topic]; x != nil {
		return x.waitLocked(time.Now(), false)
	}
	return 0
}

// trip opens the breakers of topics that a commit failed for.
func (d *destinations) trip(faults []laneFault) {
	for _, f := range faults {
		d.mu.Lock()
		x := d.getLocked(f.topic)
		if x == nil || x.state == DestinationOpen { // another task saw it first
			d.mu.Unlock()
			continue
		}
		timing := &d.cfg.Destinations
		if x.state == DestinationClosed && d.cfg.Clock().Sub(x.since) > timing.ProbeMax {
			x.wait = 0
		}
		x.wait = min(max(2*x.wait, timing.Probe), timing.ProbeMax)
		x.reason = f.reason.Error()
		if len(f.sample) > 0 {
			x.sample = f.sample
		}
		d.enterLocked(x, DestinationOpen)
		info := x.info()
		d.mu.Unlock()
		d.trips.Add(1)
		d.hooks.destination(info)
		d.spawn(func(stop <-chan struct{}) { d.heal(x, stop) })
	}
}

// enterLocked changes the state of a breaker.
func (d *destinations) enterLocked(x *destination, to DestinationState) {
	switch {
	case x.state == DestinationClosed && to != DestinationClosed:
		d.shut.Add(1)
	case x.state != DestinationClosed && to == DestinationClosed:
		d.shut.Add(-1)
	}
	x.state, x.since = to, d.cfg.Clock()
}

// heal probes an open destination until it takes records again.
func (d *destinations) heal(x *destination, stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.mu.Lock()
		timer.Reset(x.wait)
		f := laneFault{topic: x.topic, sample: x.sample}
		d.mu.Unlock()
		select {
		case <-timer.C:
		case <-stop:
			return
		}
		err := d.probe(f)
		d.mu.Lock()
		if err == nil {
			x.left = d.cfg.Destinations.HalfOpen
			d.enterLocked(x, DestinationHalfOpen)
		} else {
			x.reason = err.Error()
			x.wait = min(2*x.wait, d.cfg.Destinations.ProbeMax)
		}
		info := x.info()
		d.mu.Unlock()
		d.hooks.destination(info)
		if err == nil {
			d.wake()
			d.renew(x, timer, stop)
			return
		}
	}
}

// renew lets another few records through when nothing came of the first: their batch may have been
// dropped for other reasons, and only a commit closes the breaker.
func (d *destinations) renew(x *destination, timer *time.Timer, stop <-chan struct{}) {
	for {
		timer.Reset(d.cfg.Destinations.ProbeMax)
		select {
		case <-timer.C:
		case <-stop:
			return
		}
		d.mu.Lock()
		again := x.state == DestinationHalfOpen
		if again {
			x.left = d.cfg.Destinations.HalfOpen
		}
		d.mu.Unlock()
		if !again {
			return
		}
		d.wake()
	}
}

// passed closes the breakers of topics that a commit succeeded for.
func (d *destinations) passed(outs []*kgo.Record) {
	if d.shut.Load() == 0 {
		return
	}
	closed := false
	for _, rec := range outs {
		if !d.foreign(rec.Topic) {
			continue
		}
		d.mu.Lock()
		x := d.mu.by[rec.Topic]
		if x == nil || x.state != DestinationHalfOpen {
			d.mu.Unlock()
			continue
		}
		x.sample = nil
		d.enterLocked(x, DestinationClosed)
		info := x.info()
		d.mu.Unlock()
		d.hooks.destination(info)
		closed = true
	}
	if closed {
		d.wake()
	}
}

// isOpen says whether the breaker of topic is open.
func (d *destinations) isOpen(topic string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.mu.by[topic]
	return x != nil && x.state == DestinationOpen
}

// count adds to the keys that wait for topic in the tasks of this process.
func (d *destinations) count(topic string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.getLocked(topic); x != nil {
		x.waiting += int64(n)
	}
}

// list describes what is not as it should be.
func (d *destinations) list() (all []DestinationInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.mu.by {
		if x.state != DestinationClosed || x.waiting > 0 {
			all = append(all, x.info())
		}
	}
	slices.SortFunc(all, func(a, b DestinationInfo) int { return strings.Compare(a.Topic, b.Topic) })
	return all
}

func (x *destination) info() DestinationInfo {
	info := DestinationInfo{Topic: x.topic, State: x.state, Reason: x.reason, Since: x.since.UnixMilli(), Waiting: x.waiting}
	if lane := x.lane; lane.limited() {
		info.Limits = &lane
	}
	return info
}

// laneError ends a commit that topics of others held up. Their breakers are open when it is returned.
type laneError struct{ faults []laneFault }

func (e *laneError) Error() string {
	var b strings.Builder
	for i, f := range e.faults {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "produce to %s: %v", f.topic, f.reason)
	}
	return b.String()
}

// Unwrap gives the reasons.
func (e *laneError) Unwrap() []error {
	list := make([]error, len(e.faults))
	for i := range e.faults {
		list[i] = e.faults[i].reason
	}
	return list
}

// errStalled is the reason of a topic that does not answer.
var errStalled = errors.New("no answer")

// isLaneFault recognises answers that say something about a topic and nothing about the producer or
// the record.
func isLaneFault(err error) bool {
	for _, k := range []*kerr.Error{
		kerr.InvalidTopicException, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.TopicAuthorizationFailed, kerr.PolicyViolation,
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition,
		kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.KafkaStorageError, kerr.RequestTimedOut, kerr.ThrottlingQuotaExceeded,
	} {
		if errors.Is(err, k) {
			return true
		}
	}
	return errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries)
}
