package topology

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batching decides how much a cycle takes and when it starts.
//
// An idle task commits at once: the first record after a pause waits for
// nothing. Under load the batch is what arrived while the last commit was under
// way. Only when commits queue, and records come so fast that a short wait adds
// many of them, does a task gather for a moment, because the cost of a
// transaction at the broker does not depend on its size.
//
// When the broker refuses a record of a batch (too large, no such topic), the
// batch is halved until one input remains; that one is then condemned, and goes
// to Processor.Poison instead of Process.
type batching struct {
	limits *Limits

	limit    int  // items of the next cycle; 0 means no bisection is under way
	wakeOnly bool // the next cycle does nothing but wake
	doomed   doom

	caps map[string]sizeCap // topics that have refused a record for its size

	beside beside // how many timers go with records

	arrived int           // records that waited when the last commit ended
	took    time.Duration // of the last commit
	fastest time.Duration // of the commits of late; what one takes when nobody is in its way
}

// doom names the one input whose outputs Kafka refuses.
type doom struct {
	err       error
	topic     string
	partition int32
	offset    int64
	timer     []byte
	release   []byte
	wake      bool
	seen      bool // this cycle has met it
}

// sizeCap is a size that a topic has refused. Until says when to try again: its limit may be raised.
type sizeCap struct {
	bytes int
	until int64
}

const (
	// outputMax is what no record may weigh: the clients refuse more. Their
	// count is a few bytes above recordSize.
	outputMax = 1_000_012
	// capFor is how long a refused size is remembered, in milliseconds.
	capFor = 5 * 60 * 1000
	// capsMax bounds the topics that are remembered.
	capsMax = 1024
)

// tooLarge says, without asking Kafka, that no topic takes a record.
func tooLarge(topic string, bytes int) error {
	if bytes > outputMax {
		return fmt.Errorf("%w: %d bytes for %s", ErrTooLarge, bytes, topic)
	}
	return nil
}

// suspects says that topic has refused a record that was not larger. Compression
// decides, so this one may pass: it goes alone, and no batch is halved for it.
func (b *batching) suspects(topic string, bytes int, now int64) bool {
	if len(b.caps) == 0 {
		return false
	}
	c, ok := b.caps[topic]
	return ok && bytes >= c.bytes && now < c.until
}

// learn remembers the size of a record that was refused alone.
func (b *batching) learn(err *recordError, outs int, now int64) {
	if outs != 1 || err.bytes == 0 || !errors.Is(err.cause(), ErrTooLarge) {
		return
	}
	if c, ok := b.caps[err.topic]; ok && c.bytes <= err.bytes && now < c.until {
		return
	}
	if b.caps == nil || len(b.caps) >= capsMax {
		b.caps = make(map[string]sizeCap)
	}
	b.caps[err.topic] = sizeCap{bytes: err.bytes, until: now + capFor}
}

// gatherLeast is the number of records that a wait must promise to add.
const gatherLeast = 16

// records is the most records that the next cycle takes.
func (b *batching) records() int {
	switch {
	case b.wakeOnly:
		return 0
	case b.doomed.timer != nil, b.doomed.release != nil:
		return 0
	case b.limit > 0:
		return min(b.limit, b.limits.CycleRecords)
	}
	return b.limits.CycleRecords
}

// whole says that no bisection is under way.
func (b *batching) whole() bool { return b.limit == 0 && b.doomed.err == nil && !b.wakeOnly }

// releases is the most keys that a cycle with that many records releases: while
// batches are whole, up to half of a cycle, so that new records go on as well.
func (b *batching) releases(records int) int {
	switch {
	case b.wakeOnly, b.doomed.timer != nil:
		return 0
	case b.doomed.release != nil:
		return 1
	case b.limit > 0:
		return min(b.limit-records, b.limits.CycleRecords/2)
	}
	return max(1, b.limits.CycleRecords/2)
}

// timers is the most timers that a cycle with that many records fires.
func (b *batching) timers(records int, now time.Time) int {
	switch {
	case b.wakeOnly, b.doomed.release != nil:
		return 0
	case b.doomed.timer != nil:
		return 1
	case b.limit > 0:
		return min(b.limit-records, b.limits.CycleTimers)
	}
	return b.beside.limit(records, now, b.limits.CycleTimers)
}

// condemned is the reason why rec goes to Poison, or nil.
func (b *batching) condemned(rec *kgo.Record) error {
	if d := &b.doomed; d.err != nil && d.timer == nil && d.release == nil && !d.wake &&
		d.offset == rec.Offset && d.partition == rec.Partition && d.topic == rec.Topic {
		d.seen = true
		return d.err
	}
	return nil
}

// condemnedTimer is the reason why the timer of key goes to Poison, or nil.
func (b *batching) condemnedTimer(key []byte) error {
	if b.doomed.timer != nil && bytes.Equal(b.doomed.timer, key) {
		b.doomed.seen = true
		return b.doomed.err
	}
	return nil
}

// condemnedRelease is the reason why the release of key goes to Poison, or nil.
func (b *batching) condemnedRelease(key []byte) error {
	if b.doomed.release != nil && bytes.Equal(b.doomed.release, key) {
		b.doomed.seen = true
		return b.doomed.err
	}
	return nil
}

// condemnedWake is the reason why a wake goes to Poison, or nil.
func (b *batching) condemnedWake() error {
	if b.doomed.wake {
		b.doomed.seen = true
		return b.doomed.err
	}
	return nil
}

// refused narrows the next cycle down after Kafka refused this one. It returns
// an error when there is nothing left to narrow: even Poison's output of a
// single input was refused.
func (b *batching) refused(c *Cycle, err *recordError) error {
	items := c.taken + c.fired + c.pumped
	if c.woke {
		items++
	}
	b.learn(err, items, c.now)
	if b.doomed.seen && items == 1 {
		return halt("output cannot be delivered, nor can the record that says so: %w", err.cause())
	}
	switch {
	case items > 1 && c.woke:
		b.wakeOnly = true
	case items > 1:
		b.limit = items / 2
	case c.woke:
		b.wakeOnly = true
		b.doomed = doom{err: err.cause(), wake: true}
	case c.taken == 1:
		rec := c.lastTaken
		b.limit = 1
		b.doomed = doom{err: err.cause(), topic: rec.Topic, partition: rec.Partition, offset: rec.Offset}
	case c.pumped == 1:
		b.limit = 1
		b.doomed = doom{err: err.cause(), release: bytes.Clone(c.lastPumped)}
	case c.fired == 1:
		b.limit = 1
		b.doomed = doom{err: err.cause(), timer: bytes.Clone(c.lastTimer)}
	default:
		return err
	}
	return nil
}

// committed notes how the cycle went that is now done.
func (b *batching) committed(took time.Duration, waiting int) {
	b.took, b.arrived = took, waiting
	if b.fastest > 0 { // forgotten slowly: a partition may move to a broker that is further away
		b.fastest += time.Duration(float64(b.fastest) * float64(took) / float64(fastestFor))
	}
	if b.fastest == 0 || took < b.fastest {
		b.fastest = took
	}
	b.wakeOnly = false
	if b.doomed.seen {
		b.doomed = doom{}
	}
	if b.limit > 0 && b.doomed.err == nil {
		if b.limit *= 2; b.limit >= b.limits.CycleRecords {
			b.limit = 0
		}
	}
}

// idle notes that a cycle found nothing to do, and reports whether that was
// only because it was narrowed to a timer or a wake that is gone. A condemned
// record stays condemned: it may not have been fetched again yet.
func (b *batching) idle() (narrowed bool) {
	b.arrived = 0
	narrowed = b.wakeOnly || b.doomed.timer != nil || b.doomed.release != nil
	b.wakeOnly = false
	if b.doomed.timer != nil || b.doomed.release != nil || b.doomed.wake {
		b.doomed = doom{}
	}
	return narrowed
}

// fastestFor is the time spent in commits after which b.fastest has about doubled, if none was as fast.
const fastestFor = 10 * time.Minute

// gather is how long to wait for more records before the next cycle.
//
// A commit that takes longer than the fastest has waited for something that others use too: a processor,
// or the broker. Fewer and larger transactions are the remedy, so the wait is twice that time. When
// commits are as fast as they can be, waiting would gain nothing.
func (b *batching) gather() time.Duration {
	if b.limits.Gather <= 0 || b.arrived == 0 || b.took <= 0 || b.limit > 0 {
		return 0
	}
	if b.arrived >= b.limits.CycleRecords/2 {
		return 0
	}
	window := min(b.limits.Gather, 2*(b.took-b.fastest))
	if expected := float64(b.arrived) * float64(window) / float64(b.took); expected < gatherLeast {
		return 0
	}
	return window
}
