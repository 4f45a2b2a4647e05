package derive

import (
	"errors"
	"fmt"

	"github.com/linkedin/goavro/v2"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// output is one record for one target.
type output struct {
	target int
	value  []byte
}

// outputs writes the value of an output. Its format is the target's already.
type outputs struct{ name string }

func (o outputs) Name() string { return o.name }
func (outputs) Append(dst []byte, v output) ([]byte, error) {
	if v.value == nil {
		return nil, nil
	}
	return append(dst, v.value...), nil
}
func (outputs) Decode([]byte) (output, error) { return output{}, errors.New("outputs are not read") }

// Topology is the stage as a topology: one Process node without stores, and a sink per target. counts
// gives what a task counts into; it may be nil.
func (st *Stage) Topology(counts func(task int32) *Tally) (*topology.Topology, error) {
	b := topology.NewBuilder("derive " + st.Name)
	in := topology.From(b, st.From, wide{st.format.name})
	out := topology.Process(in, "project", func(task int32) topology.Handler[[]byte, output] {
		h := &handler{st: st, record: record{scanner: *newScanner(st.slots)}}
		if counts != nil {
			h.tally = counts(task)
		}
		return h
	}, topology.Uses{})
	conditions := make([]func(topology.Item[output]) bool, len(st.targets)-1)
	for i := range conditions {
		conditions[i] = func(it topology.Item[output]) bool { return it.Value.target == i }
	}
	for i, s := range out.Branch(conditions...) {
		s.To(st.targets[i].topic, outputs{st.targets[i].format.name})
	}
	b.SetAsideBy(st.DeadLetters, func(rec *topology.Record, err error) *topology.Record {
		return st.deadLetter(rec, err)
	})
	return b.Build()
}

// wide is the value of the source: its bytes. What is wrong with them is found by the handler.
type wide struct{ name string }

func (w wide) Name() string                              { return w.name }
func (wide) Decode(b []byte) ([]byte, error)             { return b, nil }
func (wide) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

// handler derives the outputs of one task's records. What it keeps between records is memory for reuse
// and nothing else.
type handler struct {
	st     *Stage
	record record
	tally  *Tally
	buf    []byte // of the value under way
	json   []byte // of a record that came as Avro
}

var errNoValue = errors.New("the record has no value")

// Handle implements topology.Handler.
func (h *handler) Handle(c *topology.Context[output], it topology.Item[[]byte]) error {
	st := h.st
	if it.Value == nil {
		return malformed(errNoValue)
	}
	value := it.Value
	if st.format.codec != nil {
		var err error
		if value, err = textOf(st.format.codec, it.Value, h.json[:0]); err != nil {
			return malformed(err)
		}
		h.json = value
	}
	if err := h.record.take(it.Key, value); err != nil {
		return malformed(err)
	}
	h.tally.in(len(it.Key) + len(it.Value))
	if holds, err := st.where.holds(&h.record); err != nil || !holds {
		return mapping(err)
	}
	for i := range st.targets {
		if err := h.derive(c, it, i); err != nil {
			return err
		}
	}
	return nil
}

// derive makes the output for one target.
func (h *handler) derive(c *topology.Context[output], it topology.Item[[]byte], i int) error {
	tg := &h.st.targets[i]
	if holds, err := tg.where.holds(&h.record); err != nil || !holds {
		return mapping(err)
	}
	if tg.intake != nil {
		return h.start(c, it, i)
	}
	key, err := tg.key.key(&h.record)
	if err != nil {
		return mapping(err)
	}
	if h.st.format.codec != nil && tg.key != nil {
		key = append([]byte(nil), key...) // it lies in memory that the next record reuses
	}
	value := it.Value
	if tg.value != nil {
		var has bool
		if value, has, err = tg.value.append(h.buf[:0], &h.record); err != nil {
			return mapping(err)
		}
		if !has {
			return mapping(errNothing)
		}
		h.buf = value
		if tg.format.codec != nil {
			if value, err = binaryOf(tg.format.codec, value); err != nil {
				return mapping(fmt.Errorf("for %s: %w", tg.topic, err))
			}
		}
	}
	out := topology.Item[output]{Key: key, Value: output{i, value}, Time: it.Time}
	if tg.headers {
		out.Headers = it.Headers
	}
	h.tally.out(i, len(key)+len(value))
	return c.Forward(out)
}

var errNothing = errors.New("value is an optional without a value")

// Error classes of dead letters.
const (
	ClassMalformed = "MALFORMED" // the record is not what the format says
	ClassMapping   = "MAPPING"   // a condition, key or value has no result for it
	ClassTooLarge  = "TOO_LARGE"
	ClassFailed    = "FAILED"
)

// fault is an error with the class that its dead letter gets.
type fault struct {
	class string
	err   error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func malformed(err error) error { return &fault{ClassMalformed, err} }

func mapping(err error) error {
	if err == nil {
		return nil
	}
	return &fault{ClassMapping, err}
}

// deadLetter is a record that has no outputs, with the reason.
func (st *Stage) deadLetter(rec *topology.Record, err error) *topology.Record {
	class, message := ClassFailed, err.Error()
	var f *fault
	switch {
	case errors.As(err, &f):
		class = f.class
	case errors.Is(err, topology.ErrTooLarge):
		class = ClassTooLarge
	case errors.Is(err, topology.ErrPanic):
		message = topology.ErrPanic.Error()
	}
	original := make([]protocol.Header, len(rec.Headers))
	for i := range rec.Headers {
		original[i] = protocol.Header(rec.Headers[i])
	}
	dead := protocol.DeadLetter{
		Original: original, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp.UnixMilli(),
		Group: st.Group(), Stage: "derive", Class: class, Message: message, Attempts: 1,
	}
	var headers []topology.Header
	for _, h := range dead.Headers() {
		headers = append(headers, topology.Header(h))
	}
	return &topology.Record{Topic: st.DeadLetters, Partition: topology.ByKey, Key: rec.Key, Value: rec.Value, Headers: headers, Timestamp: rec.Timestamp}
}

// textOf turns an Avro value into JSON: unions without their wrapping, bytes and fixed as the Avro
// specification writes them.
func textOf(codec *goavro.Codec, b, dst []byte) ([]byte, error) {
	native, rest, err := codec.NativeFromBinary(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the Avro value", len(rest))
	}
	return codec.TextualFromNative(dst, native)
}

// binaryOf turns JSON into an Avro value.
func binaryOf(codec *goavro.Codec, text []byte) ([]byte, error) {
	native, _, err := codec.NativeFromTextual(text)
	if err != nil {
		return nil, err
	}
	return codec.BinaryFromNative(nil, native)
}
