package topology

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Errors that a record of a built topology is set aside for, beside what its functions return.
var (
	ErrDecode = errors.New("value cannot be decoded")
	ErrEncode = errors.New("value cannot be encoded")
)

// run is a built topology on one task: the Processor that the runtime drives.
type run struct {
	t       *Topology
	task    int32
	c       *Cycle  // of the call under way
	rec     *Record // nil for timers
	out     outbox
	memo    []any // push by node
	sources map[string]func(*run, *Record) error
	due     map[string]func(key []byte) error // by store
	clocks  []ticker
	streams bool // a ticker of stream time is among them

	lastTopic string // of the source found last: records come in runs
	last      func(*run, *Record) error
}

func newRun(t *Topology, task int32) *run {
	r := &run{
		t: t, task: task, memo: make([]any, len(t.nodes)),
		sources: make(map[string]func(*run, *Record) error, len(t.sources)), due: make(map[string]func([]byte) error),
	}
	for _, s := range t.sources {
		r.sources[s.topic] = s.compile(r)
	}
	for i := range r.clocks {
		r.streams = r.streams || r.clocks[i].clock == StreamClock
	}
	return r
}

// Decode implements Processor. It leaves the work to Process, which needs no box for the result, and
// keeps every record on the task that read it.
func (r *run) Decode(*Record) (any, []byte) { return nil, nil }

// Process implements Processor.
func (r *run) Process(c *Cycle, rec *Record, _ any) error {
	for _, point := range [...]string{FailDecode, FailLoad, FailAdvance} {
		if err := c.Failpoint(point); err != nil {
			return err
		}
	}
	if rec.Topic != r.lastTopic || r.last == nil {
		r.lastTopic, r.last = rec.Topic, r.sources[rec.Topic]
	}
	if r.last == nil {
		return fmt.Errorf("no node reads topic %s", rec.Topic)
	}
	r.c, r.rec = c, rec
	err := r.last(r, rec)
	r.rec = nil
	if err == nil && r.streams {
		err = r.advance(rec.Timestamp.UnixMilli())
	}
	r.c = nil
	if err != nil {
		return err
	}
	return c.Failpoint(FailStage)
}

var streamTimeKey = []byte{keyStreamTime}

func (r *run) streamTime() (int64, error) {
	at, _, err := getTime(r.c, streamTimeKey)
	return at, err
}

// advance moves stream time on and calls what has become due by it.
func (r *run) advance(to int64) error {
	at, found, err := getTime(r.c, streamTimeKey)
	if err != nil || found && to <= at {
		return err
	}
	putTime(r.c, streamTimeKey, to)
	for i := range r.clocks {
		k := &r.clocks[i]
		if k.clock != StreamClock {
			continue
		}
		due, found, err := getTime(r.c, k.key)
		if err != nil {
			return err
		}
		if found && due > to {
			continue
		}
		putTime(r.c, k.key, k.next(to))
		if !found {
			continue // the first record only sets the clock
		}
		if err := k.call(Punctuation{Clock: StreamClock, At: due}); err != nil {
			return err
		}
	}
	return nil
}

// WakeAtStart implements Starter: the first times of wall-clock punctuation are set by Wake.
func (r *run) WakeAtStart() bool {
	for i := range r.clocks {
		if r.clocks[i].clock == WallClock {
			return true
		}
	}
	return false
}

// Wake implements Waker.
func (r *run) Wake(c *Cycle) error {
	for i := range r.clocks {
		k := &r.clocks[i]
		if k.clock != WallClock {
			continue
		}
		// A time further away than the interval was set when the interval was longer.
		at, found, err := getTime(c, k.key)
		if err != nil {
			return err
		}
		if next := k.next(c.Now()); !found || at > next {
			putTime(c, k.key, next)
		}
	}
	return nil
}

// Timer implements Processor: an entry of a store is due, or a punctuation.
func (r *run) Timer(c *Cycle, key []byte) error {
	r.c = c
	defer func() { r.c = nil }()
	if key[0] == keyStore {
		name, rest, _ := bytes.Cut(key[1:], []byte{0})
		due := r.due[string(name)]
		if due == nil {
			return fmt.Errorf("no node uses the store %s of a due entry", name)
		}
		return due(rest)
	}
	for i := range r.clocks {
		k := &r.clocks[i]
		if !bytes.Equal(k.key, key) {
			continue
		}
		at, _, err := getTime(c, key)
		if err != nil {
			return err
		}
		putTime(c, key, k.next(c.Now()))
		return k.call(Punctuation{Clock: WallClock, At: at})
	}
	c.Delete(key) // of a node that is no longer there
	return nil
}

// Poison implements Processor: a record goes to where the topology sets records aside. What has no
// such place halts the task.
func (r *run) Poison(c *Cycle, rec *Record, key []byte, err error) {
	switch {
	case rec != nil && r.t.setAside == nil:
		panic(fmt.Errorf("the topology sets no records aside (Builder.SetAside): %w", err))
	case rec != nil:
		if dead := r.t.setAside(rec, err); dead != nil {
			c.Emit(dead)
		}
	case len(key) > 0 && key[0] == keyWall:
		for i := range r.clocks {
			if bytes.Equal(r.clocks[i].key, key) {
				putTime(c, key, r.clocks[i].next(c.Now()))
			}
		}
	default:
		panic(err)
	}
}

// outbox makes records and their values out of larger pieces: two allocations for some hundred
// records instead of two for each. A piece is never used again, so that nothing depends on when the
// client lets go of a record.
type outbox struct {
	records []kgo.Record
	buf     []byte
}

const (
	outboxRecords = 128
	outboxBytes   = 32 << 10
)

func (o *outbox) record() *kgo.Record {
	if len(o.records) == 0 {
		o.records = make([]kgo.Record, outboxRecords)
	}
	rec := &o.records[0]
	o.records = o.records[1:]
	return rec
}

// room is where the next value is appended to; kept is told what came of it, and returns the value.
func (o *outbox) room() []byte {
	if cap(o.buf)-len(o.buf) < outboxBytes/8 {
		o.buf = make([]byte, 0, outboxBytes)
	}
	return o.buf
}

func (o *outbox) kept(out []byte) []byte {
	if out == nil {
		return nil
	}
	from := len(o.buf)
	if cap(out) == cap(o.buf) {
		o.buf = out // the value is in the piece; otherwise it has grown out of it
	}
	return out[from:len(out):len(out)]
}

func (o *outbox) emit(c *Cycle, topic string, key, value []byte, at int64, headers []Header) {
	rec := o.record()
	rec.Topic, rec.Partition, rec.Key, rec.Value, rec.Headers = topic, ByKey, key, value, headers
	rec.Timestamp = time.UnixMilli(at)
	c.Emit(rec)
}
