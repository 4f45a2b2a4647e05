package topology

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/murmur2"
	"github.com/amendsio/amends/statestore"
)

// HeaderForwarded marks a record that a task has sent on to the right
// partition; its value is <topic>/<partition>/<offset> of the original.
const HeaderForwarded = "saga-forwarded"

// Cycle is what a Processor sees of one round from poll to commit. Everything
// done through it becomes part of one Kafka transaction, or of nothing. It is
// valid only during the call it was passed to.
type Cycle struct {
	task *task
	now  int64

	// What the transaction will hold. batch is the state, outs are the records
	// for other topics.
	batch    *statestore.Batch
	outs     []*kgo.Record
	outBytes int
	room     room

	// What it was made from.
	inBytes   int
	started   time.Time
	stats     CycleStats
	positions positions // as they will be after this cycle
	woke      bool
	taken     int // records
	fired     int // timers, poisoned ones included
	pumped    int // keys that waited for a topic
	lastTimer []byte
	lastTaken *kgo.Record
	picking   picking

	lastPumped []byte
	lanes      *lanes
	refused    error // an output that need not be tried
	suspect    bool  // an output may be refused for its size

	// firing is the key of the timer that is being fired; kept says that
	// nothing was written under it yet.
	firing []byte
	kept   bool

	hit       map[string]bool // failpoints of the processor that were hit
	originKey []byte          // scratch

	crashed error // what a failpoint asked for; the cycle goes no further
}

// Now is the time of this cycle in milliseconds since 1970. It is the same for
// all records of a cycle, never falls on a task, not even over a restart on
// another machine, and is never before the last commit.
func (c *Cycle) Now() int64 { return c.now }

// Task is the number of the task.
func (c *Cycle) Task() int32 { return c.task.id }

// Get reads an entry, with the writes of this cycle in view. The value belongs
// to the cycle: do not change or keep it.
func (c *Cycle) Get(key []byte) (value []byte, found bool, err error) { return c.batch.Get(key) }

// Put writes an entry. Key and value are copied.
func (c *Cycle) Put(key, value []byte) {
	c.touch(key)
	c.batch.Put(key, value)
}

// PutObject is Put, and gives what value means to the processor, which takes
// about weight bytes of memory. Nobody may change object any more.
func (c *Cycle) PutObject(key, value []byte, object any, weight int) {
	c.touch(key)
	c.batch.PutObject(key, value, object, weight)
}

// Object is what PutObject was given with the value that Get would return, or
// nil: then Get it. It is forgotten when there is no room for it, when the key is
// written again, and whenever the task begins anew.
func (c *Cycle) Object(key []byte) any { return c.batch.Object(key) }

// Delete removes an entry. The key is copied.
func (c *Cycle) Delete(key []byte) {
	c.touch(key)
	c.batch.Delete(key)
}

func (c *Cycle) touch(key []byte) {
	if c.kept && bytes.Equal(key, c.firing) {
		c.kept = false
	}
}

// Emit adds a record to the transaction. Its Partition is taken as it is when
// zero or above; ByKey hashes its key. The cycle keeps the record.
//
// What is known to be too large makes the record, timer or key of this call
// poison. Ask May before a record for a topic of others.
func (c *Cycle) Emit(rec *Record) {
	size := recordSize(rec)
	if c.refused == nil {
		c.refused = tooLarge(rec.Topic, size)
	}
	c.suspect = c.suspect || c.task.batching.suspects(rec.Topic, size, c.now)
	c.outs = append(c.outs, rec)
	c.outBytes += size
}

// NewRecord returns an empty record for Emit in memory of the cycle, with room for
// that many headers: Headers has the length 0. It is valid until Process (or
// whatever was called) has returned, and may be dropped.
func (c *Cycle) NewRecord(headers int) *Record {
	rec := &c.room.records.take(1)[0]
	rec.Headers = c.room.headers.take(headers)[:0]
	return rec
}

// Bytes returns n zero bytes in memory of the cycle, for keys, values and headers
// of records that are emitted. What is given to Put is copied and needs none.
func (c *Cycle) Bytes(n int) []byte { return c.room.bytes.take(n) }

// Scan visits the entries under prefix that come after the key after, in key
// order, until fn returns false. It sees the store as the last commit left it,
// without the writes of this cycle.
func (c *Cycle) Scan(prefix, after []byte, fn func(key, value []byte) bool) error {
	return c.task.store.Scan(prefix, after, fn)
}

// ScanAttr visits the keys of the entries that have attr, as Scan does.
func (c *Cycle) ScanAttr(attr string, after []byte, fn func(key []byte) bool) error {
	return c.task.store.ScanAttr(attr, after, fn)
}

// Failpoint is where a Processor names the point it has reached; see
// failpoint.go. Each name counts once per cycle. After an error the processor
// returns: nothing of this cycle will be committed.
func (c *Cycle) Failpoint(name string) error {
	if c.crashed != nil {
		return c.crashed
	}
	if c.hit[name] {
		return nil
	}
	c.hit[name] = true
	if err := c.task.failpoint(name); err != nil {
		c.crashed = err
	}
	return c.crashed
}

// newCycle makes the cycle that a task uses again and again, until an error.
func newCycle(t *task) *Cycle {
	c := &Cycle{task: t, batch: t.store.NewBatch(), hit: make(map[string]bool)}
	c.room.init()
	return c
}

// reset makes c ready for the next cycle. The batch and the slices are reused.
func (c *Cycle) reset(now int64, started time.Time) {
	c.now, c.started = now, started
	c.batch.Reset()
	clear(c.outs)
	c.room.reset()
	c.outs, c.outBytes, c.inBytes = c.outs[:0], 0, 0
	c.stats = CycleStats{Task: c.task.id}
	c.woke, c.taken, c.fired, c.lastTimer, c.lastTaken = false, 0, 0, nil, nil
	c.pumped, c.lastPumped, c.refused, c.suspect = 0, nil, nil, false
	c.lanes.reset()
	c.firing, c.kept, c.crashed = nil, false, nil
	clear(c.hit)
	c.task.batching.doomed.seen = false
	c.positions.copyFrom(&c.task.positions)
}

// size is what the transaction and its inputs weigh so far.
func (c *Cycle) size() int { return c.inBytes + c.outBytes + c.batch.Bytes() }

// savepoint is what rollback returns to.
type savepoint struct {
	batch    statestore.Savepoint
	outs     int
	outBytes int
	waits    int
}

func (c *Cycle) mark() savepoint {
	return savepoint{batch: c.batch.Mark(), outs: len(c.outs), outBytes: c.outBytes, waits: len(c.lanes.changes)}
}

func (c *Cycle) rollback(s savepoint) {
	c.batch.Rollback(s.batch)
	clear(c.outs[s.outs:])
	c.outs, c.outBytes = c.outs[:s.outs], s.outBytes
	c.lanes.changes = c.lanes.changes[:s.waits]
	c.suspect = false
}

// cycle is the data's walk: what one round does, from the queue of the task to
// its store. It reports how much it did; an error means that nothing happened
// and that the caller must leave the task by the crash path.
//
// A cycle never ends half: either one Kafka transaction holds the positions of
// its records, its state, its outputs and its progress record, and the store
// then takes the same in one write, or none of it exists.
func (t *task) cycle(ctx context.Context) (worked bool, err error) {
	c := t.current
	if c.lanes == nil {
		if c.lanes, err = t.newLanes(); err != nil {
			return false, err
		}
		_, t.committer.lanes = t.processor.(Releaser)
	}
	c.reset(t.clock(), t.cfg.Clock())

	// poll
	records := c.draw()
	if len(records) > 0 {
		if err := t.failpoint(FailPoll); err != nil {
			return false, err
		}
		if err := t.failpoint(FailRoute); err != nil {
			return false, err
		}
	}
	if t.woken.Swap(false) {
		c.woke = true
		if err := c.wake(); err != nil {
			return false, err
		}
	}

	// what waited for a topic of others goes before what comes now
	if err := c.pump(t.batching.releases(len(records))); err != nil {
		return false, err
	}

	// route, decode, load, advance, stage: one record at a time
	if err := c.pick(records); err != nil {
		return false, err
	}

	// the same for the timers that are due
	if err := c.timers(t.batching.timers(c.taken+c.pumped, c.started)); err != nil {
		return false, err
	}
	if c.taken == 0 && c.batch.Len() == 0 && len(c.outs) == 0 {
		return t.batching.idle() || c.picking.dropped > 0, nil
	}
	c.stats.Records, c.stats.Timers, c.stats.Bytes = c.taken, c.fired, c.size()
	c.stats.Process = t.cfg.Clock().Sub(c.started)

	// commit
	next, err := t.commit(ctx, c)
	if err != nil {
		return false, err
	}

	// apply
	if err := t.apply(c, next); err != nil {
		return false, err
	}
	c.lanes.settle(t.w.destinations)
	t.w.destinations.passed(c.outs)
	t.finished(c)
	return true, nil
}

// full says that the cycle has reached a limit of bytes or time.
func (c *Cycle) full() bool {
	l := &c.task.cfg.Limits
	return c.suspect || c.size() >= l.CycleBytes || c.task.cfg.Clock().Sub(c.started) >= l.CycleTime
}

// errAlone ends a cycle before a record that has to go alone.
var errAlone = errors.New("goes alone, in the next cycle")

// record takes one input record into the cycle.
func (c *Cycle) record(rec *kgo.Record) error {
	t := c.task
	c.inBytes += recordSize(rec)
	c.stats.Delay = max(c.stats.Delay, time.Duration(c.now-rec.Timestamp.UnixMilli())*time.Millisecond)

	msg, key, err := c.decode(rec)
	if err == nil && key != nil {
		if partition := murmur2.Partition(key, t.partitions); partition%t.tasks != t.id {
			if !forwarded(rec) {
				c.forward(rec, key, partition)
				return nil
			}
			err = fmt.Errorf("%w: %s/%d@%d belongs to partition %d", ErrMisrouted, rec.Topic, rec.Partition, rec.Offset, partition)
		}
	}
	if err == nil && t.cfg.originsOf(rec.Topic) {
		if done, err := c.repeated(rec); err != nil || done {
			return err
		}
	}
	if err == nil {
		err = t.batching.condemned(rec)
	}
	if err == nil {
		before := c.mark()
		err = c.call(func() error { return t.processor.Process(c, rec, msg) })
		if err == nil && c.suspect && c.crashed == nil && c.taken+c.pumped > 0 {
			c.rollback(before)
			t.hooks.postponed(t.id)
			return errAlone
		}
		if err == nil || c.crashed != nil {
			return c.crashed
		}
		c.rollback(before)
		if fault := storeFault(err); fault != nil {
			return fault
		}
		if errors.Is(err, ErrRetry) {
			// What came before it is done first, so that only what lies behind it waits.
			if c.taken+c.pumped > 0 {
				return errAlone
			}
			return err
		}
	}
	return c.poison(rec, key, err)
}

// decode guards Processor.Decode, which must not fail but is not trusted.
func (c *Cycle) decode(rec *kgo.Record) (msg any, key []byte, err error) {
	err = c.call(func() error {
		msg, key = c.task.processor.Decode(rec)
		return nil
	})
	return msg, key, err
}

// forwarded says that rec was sent on once already.
func forwarded(rec *kgo.Record) bool {
	for i := range rec.Headers {
		if rec.Headers[i].Key == HeaderForwarded {
			return true
		}
	}
	return false
}

// forward sends rec on to the partition of its key, in this transaction. The
// producer of the record used another key or another partitioner than ours.
func (c *Cycle) forward(rec *kgo.Record, key []byte, partition int32) {
	headers := make([]kgo.RecordHeader, len(rec.Headers), len(rec.Headers)+1)
	copy(headers, rec.Headers)
	from := fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)
	c.Emit(&kgo.Record{
		Topic: rec.Topic, Partition: partition, Key: key, Value: rec.Value, Timestamp: rec.Timestamp,
		Headers: append(headers, kgo.RecordHeader{Key: HeaderForwarded, Value: []byte(from)}),
	})
	c.stats.Forwarded++
}

// timers fires what is due, at most limit.
func (c *Cycle) timers(limit int) error {
	t := c.task
	if limit <= 0 || c.suspect {
		return nil
	}
	if next, ok := t.store.NextDue(); !ok || next > c.now {
		return nil
	}
	due := t.due[:0]
	err := t.store.Due(c.now, limit, func(key []byte, at int64) bool {
		due = append(due, timer{key: bytes.Clone(key), at: at})
		return true
	})
	t.due = due
	if err != nil {
		return err
	}
	for i := range due {
		if i > 0 && c.full() {
			break
		}
		if err := c.fire(due[i]); err != nil {
			return err
		}
	}
	return nil
}

// timer is one entry of the store that is due.
type timer struct {
	key []byte
	at  int64
}

// fire runs one timer, unless a record of this cycle has moved it.
func (c *Cycle) fire(tm timer) error {
	t := c.task
	value, found, err := c.batch.Get(tm.key)
	if err != nil {
		return err
	}
	if !found {
		return nil
	}
	if at := t.cfg.Index(tm.key, value).Due; at == 0 || at > c.now {
		return nil
	}
	c.fired++
	c.lastTimer = tm.key
	c.stats.Late = max(c.stats.Late, time.Duration(c.now-tm.at)*time.Millisecond)

	c.firing, c.kept = tm.key, true
	defer func() { c.firing, c.kept = nil, false }()
	err = t.batching.condemnedTimer(tm.key)
	if err == nil {
		before := c.mark()
		err = c.call(func() error { return t.processor.Timer(c, tm.key) })
		if c.crashed != nil {
			return c.crashed
		}
		if err == nil && c.kept {
			err = ErrTimerKept
		}
		if err == nil {
			return nil
		}
		c.rollback(before)
		c.kept = true
		if fault := storeFault(err); fault != nil {
			return fault
		}
		if errors.Is(err, ErrRetry) {
			return err
		}
	}
	if err := c.poison(nil, tm.key, err); err != nil {
		return err
	}
	if c.kept {
		return halt("timer of %q cannot be handled and cannot be set aside: %w", tm.key, err)
	}
	return nil
}

// wake runs the processor's Wake, if it has one.
func (c *Cycle) wake() error {
	waker, ok := c.task.processor.(Waker)
	if !ok {
		return nil
	}
	err := c.task.batching.condemnedWake()
	if err == nil {
		before := c.mark()
		err = c.call(func() error { return waker.Wake(c) })
		if err == nil || c.crashed != nil {
			return c.crashed
		}
		c.rollback(before)
		if fault := storeFault(err); fault != nil {
			return fault
		}
	}
	return c.poison(nil, nil, err)
}

// poison hands what cannot be handled to the processor, in this transaction.
func (c *Cycle) poison(rec *kgo.Record, key []byte, cause error) error {
	t := c.task
	c.stats.Poisoned++
	t.hooks.poisoned(t.id, cause)
	err := c.call(func() error {
		t.processor.Poison(c, rec, key, cause)
		return nil
	})
	if c.crashed != nil {
		return c.crashed
	}
	switch {
	case err == nil:
		return nil
	case rec != nil:
		return halt("%s/%d@%d cannot be handled (%v) and cannot be set aside: %w", rec.Topic, rec.Partition, rec.Offset, cause, err)
	default:
		return halt("%q cannot be handled (%v) and cannot be set aside: %w", key, cause, err)
	}
}

// call runs fn and turns a panic, or a write that the store has refused, into an
// error, so that one record cannot take the process or the batch down.
func (c *Cycle) call(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	c.refused = nil
	if err := fn(); err != nil {
		return err
	}
	if c.refused != nil {
		return c.refused
	}
	return c.batch.Err()
}

// storeFault picks errors of the store out of what a processor returned: they
// are not the record's fault, and the task must not go on.
func storeFault(err error) error {
	for _, fault := range []error{statestore.ErrCorrupt, statestore.ErrFailed, statestore.ErrClosed} {
		if errors.Is(err, fault) {
			return err
		}
	}
	return nil
}

// progress is the record by which the next owner knows where to go on. Every
// transaction holds one, so that one without inputs is fenced like any other.
func (t *task) progress(c *Cycle) []byte {
	t.encoded = (&changelog.Progress{
		Inputs: c.positions.list(), Ahead: c.positions.ahead, Time: c.now, Epoch: t.epoch, Owner: t.cfg.Advertise, Commit: t.commits + 1,
	}).Append(t.encoded[:0])
	return bytes.Clone(t.encoded)
}

// recordSize is about what a record weighs on the wire.
func recordSize(rec *kgo.Record) int {
	n := len(rec.Key) + len(rec.Value) + 16
	for i := range rec.Headers {
		n += len(rec.Headers[i].Key) + len(rec.Headers[i].Value) + 2
	}
	return n
}
