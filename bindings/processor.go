package bindings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// decodePatience bounds how long one record waits for a registry before its task backs off.
const decodePatience = 2 * time.Second

// processor is one rule on one task. What it keeps between records is memory for reuse.
type processor struct {
	r     *reader
	ev    Event
	outs  []Output
	kvs   []sagas.KV
	tally *tally

	counted *topology.Record // the last that Process has counted
}

var begunKey = []byte("begun")

// WakeAtStart implements topology.Starter.
func (p *processor) WakeAtStart() bool { return true }

// Wake writes the first positions as soon as they are known, so that they do not depend on when the first
// record comes.
func (p *processor) Wake(c *topology.Cycle) error {
	_, found, err := c.Get(begunKey)
	if err == nil && !found {
		c.Put(begunKey, []byte{1})
	}
	return err
}

// Decode implements topology.Processor: every record stays on the task that read it.
func (*processor) Decode(*topology.Record) (any, []byte) { return nil, nil }

// Timer implements topology.Processor. There are none.
func (*processor) Timer(c *topology.Cycle, key []byte) error {
	c.Delete(key)
	return nil
}

// Process implements topology.Processor.
func (p *processor) Process(c *topology.Cycle, rec *topology.Record, _ any) error {
	for _, point := range [...]string{topology.FailDecode, topology.FailLoad, topology.FailAdvance} {
		if err := c.Failpoint(point); err != nil {
			return err
		}
	}
	if rec.Value == nil { // a tombstone tells of no event
		p.tally.count(passed)
		return nil
	}
	what, err := p.evaluate(rec)
	var f *Fault
	switch {
	case errors.As(err, &f):
		c.Emit(p.r.deadLetter(rec, f))
		what = dead
	case err != nil:
		return err
	}
	for i := range p.outs {
		c.Emit(p.r.record(&p.outs[i], c.Now()))
	}
	p.tally.count(what)
	p.counted = rec
	return c.Failpoint(topology.FailStage)
}

// evaluate leaves the outputs of a record in outs.
func (p *processor) evaluate(rec *topology.Record) (what result, err error) {
	p.outs = p.outs[:0]
	ctx, cancel := context.WithTimeout(context.Background(), decodePatience)
	defer cancel()
	if err := p.r.take(ctx, &p.ev, rec, &p.kvs); err != nil {
		return 0, err
	}
	p.outs, err = p.r.rule().Evaluate(&p.ev, p.outs)
	if err != nil {
		if beside := (besideFault{}); !errors.As(err, &beside) {
			p.outs = p.outs[:0]
		}
		return 0, err
	}
	if len(p.outs) == 0 {
		return passed, nil
	}
	return matched, nil
}

// Poison implements topology.Processor: what went wrong in another way.
func (p *processor) Poison(c *topology.Cycle, rec *topology.Record, _ []byte, err error) {
	if rec == nil {
		panic(err)
	}
	f := &Fault{ClassFailed, err.Error()}
	switch {
	case errors.Is(err, topology.ErrTooLarge):
		f.Class = ClassTooLarge
	case errors.Is(err, topology.ErrPanic):
		f.Message = topology.ErrPanic.Error() // the log has the rest
		p.r.log.Error("a record panicked", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "err", err)
	}
	c.Emit(p.r.deadLetter(rec, f))
	if p.counted == rec { // its outputs were refused
		p.tally.postponed()
	}
	p.tally.count(dead)
}

// take makes a record the next one of ev.
func (r *reader) take(ctx context.Context, ev *Event, rec *topology.Record, kvs *[]sagas.KV) error {
	given, body, err := openEvent(rec)
	if err != nil {
		return &Fault{ClassMalformed, err.Error()}
	}
	value, _, err := r.cfg.Codec.Decode(ctx, rec.Topic, given, body)
	switch {
	case errors.Is(err, schema.ErrUnavailable):
		return fmt.Errorf("%w: %s/%d@%d: %w", topology.ErrRetry, rec.Topic, rec.Partition, rec.Offset, err)
	case err != nil:
		return &Fault{ClassMalformed, err.Error()}
	}
	headers := (*kvs)[:0]
	for i := range given {
		headers = append(headers, sagas.KV{Key: given[i].Key, Value: string(given[i].Value)})
	}
	*kvs = headers
	ev.Take(sagas.EventRecord{
		Value: value, Headers: headers, Key: rec.Key, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
		Time: sagas.Time(rec.Timestamp.UnixMilli()),
	})
	return nil
}

// openEvent is the record in binary mode, when it is a CloudEvent in structured mode; else as it is.
func openEvent(rec *topology.Record) ([]topology.Header, []byte, error) {
	if !slices.ContainsFunc(rec.Headers, func(h topology.Header) bool { return protocol.IsCloudEvent(h.Key, h.Value) }) {
		return rec.Headers, rec.Value, nil
	}
	given := make([]protocol.Header, len(rec.Headers))
	for i := range rec.Headers {
		given[i] = protocol.Header(rec.Headers[i])
	}
	given, body, err := protocol.OpenCloudEvent(given, rec.Value)
	if err != nil {
		return nil, nil, err
	}
	out := make([]topology.Header, len(given))
	for i := range given {
		out[i] = topology.Header(given[i])
	}
	return out, body, nil
}

// record is an output as it is written. Its time is that of the writing, so that no retention takes it away
// unread; when the event was, it says itself.
func (r *reader) record(o *Output, now int64) *topology.Record {
	rec := &topology.Record{Topic: o.Topic, Partition: topology.ByKey, Key: o.Key, Value: o.Value, Timestamp: time.UnixMilli(now)}
	if rec.Topic == "" {
		rec.Topic = r.topics.Intake
	}
	for _, h := range o.Headers {
		rec.Headers = append(rec.Headers, topology.Header{Key: h.Key, Value: []byte(h.Value)})
	}
	return rec
}

// letterBytes is how much of a record goes into its dead letter.
const letterBytes = 900 << 10

// deadLetter is a record that was meant and has no outputs, with the reason. One that is too large for a dead
// letter leaves its value and headers where it is.
func (r *reader) deadLetter(rec *topology.Record, f *Fault) *topology.Record {
	message, key, value := "binding "+r.key+": "+f.Message, rec.Key, rec.Value
	size := len(key) + len(value)
	for i := range rec.Headers {
		size += len(rec.Headers[i].Key) + len(rec.Headers[i].Value) + 8
	}
	var original []protocol.Header
	if size <= letterBytes {
		for i := range rec.Headers {
			original = append(original, protocol.Header(rec.Headers[i]))
		}
	} else {
		message, key, value = message+" (the record is too large to be copied; it is where it came from)", nil, []byte("{}")
	}
	letter := protocol.DeadLetter{
		Original: original, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: max(0, rec.Timestamp.UnixMilli()),
		Group: Group(r.cfg.Namespace, r.key), Stage: "bind", Class: f.Class, Message: message, Attempts: 1, Node: r.cfg.Advertise,
	}
	out := &topology.Record{Topic: r.topics.DLQ, Partition: topology.ByKey, Key: key, Value: value}
	for _, h := range letter.Headers() {
		out.Headers = append(out.Headers, topology.Header(h))
	}
	return out
}

// result is what became of a record.
type result uint8

const (
	passed result = iota + 1 // it was not meant
	matched
	dead
)

// tally is what the cycle of one task counts, until it is known whether the cycle commits.
type tally struct {
	mu     sync.Mutex
	counts [dead + 1]int
	last   result
}

func (t *tally) count(what result) {
	t.mu.Lock()
	t.counts[what]++
	t.last = what
	t.mu.Unlock()
}

// postponed takes back what the last record counted: it comes again.
func (t *tally) postponed() {
	t.mu.Lock()
	if t.last > 0 {
		t.counts[t.last]--
		t.last = 0
	}
	t.mu.Unlock()
}

// settle gives what was counted, when it was committed, and begins anew.
func (t *tally) settle(committed bool, add func(what result, n int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, n := range t.counts {
		if committed && n > 0 {
			add(result(what), n)
		}
	}
	t.counts, t.last = [dead + 1]int{}, 0
}
