package flow

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/correlate"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// handler is the process on one task. What it remembers is in the store.
type handler struct {
	cfg     Config
	topics  protocol.Topics
	headers []protocol.Header // scratch
}

type context = topology.Context[output]

// Handle takes one record to the entity of its value.
func (h *handler) Handle(c *context, it topology.Item[[]byte]) error {
	h.headers = h.headers[:0]
	for _, x := range it.Headers {
		h.headers = append(h.headers, protocol.Header(x))
	}
	rec, err := protocol.ParseCorrelation(h.headers)
	if err != nil {
		return err
	}
	if key := protocol.CorrelationKey(rec.Route, rec.Value); !bytes.Equal(it.Key, key) {
		return &fault{correlate.ClassInvalid, "the key of the record is not that of its value"}
	}
	return h.step(c, it.Key, rec.Route, rec.Value, inputOf(&rec, it.Value), it.Time)
}

// Due is called when something in an entity ends.
func (h *handler) Due(c *context, _ string, key []byte) error {
	e, err := h.load(c, key)
	if err != nil {
		return err
	}
	if e == nil {
		return nil
	}
	return h.step(c, bytes.Clone(key), e.Name, e.Value, correlate.Tick{}, c.Now())
}

func (h *handler) load(c *context, key []byte) (*correlate.Entity, error) {
	stored, _, err := c.Store(storeName).Get(key)
	if err != nil {
		return nil, err
	}
	return correlate.Decode(stored)
}

// step is load, step, store, and what comes of it.
func (h *handler) step(c *context, key []byte, name, value string, in correlate.Input, at int64) error {
	e, err := h.load(c, key)
	if err != nil {
		return err
	}
	next, effects := correlate.Step(e, name, value, in, c.Now())
	for _, f := range effects {
		if f, refused := f.(correlate.Refused); refused {
			return &fault{f.Class, f.Message}
		}
	}
	switch store := c.Store(storeName); {
	case next == nil && e != nil:
		store.Delete(key)
	case next != nil && next != e:
		store.Put(key, next.Append(nil))
	}
	_, isEvent := in.(correlate.Event)
	for _, f := range effects {
		if err := h.carryOut(c, key, name, value, f, at, isEvent); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) carryOut(c *context, key []byte, name, value string, f correlate.Effect, at int64, isEvent bool) error {
	switch f := f.(type) {
	case correlate.Deliver:
		h.cfg.Metrics.deliver(&f)
		it, err := h.deliver(name, value, &f, at)
		if err != nil {
			return err
		}
		return c.Forward(it)
	case correlate.DeadLetter:
		h.cfg.Metrics.letters.WithLabelValues(f.Class).Inc()
		return c.Forward(h.letter(c, key, name, value, &f, at, isEvent))
	case correlate.Ignored:
		h.cfg.Metrics.ignored.WithLabelValues(f.Reason).Inc()
	}
	return nil
}

// inputOf reads a record of the topic as an input. Texts of headers may alias the record: they are copied
// into the entity when that is written.
func inputOf(c *protocol.Correlation, value []byte) correlate.Input {
	place := correlate.Place{WorkflowID: c.WorkflowID, Run: c.Run, Path: c.Path, Op: string(c.Op)}
	switch c.Kind {
	case protocol.CorrelateSubscribe:
		return correlate.Subscribe{Wait: correlate.Wait{Place: place, Group: c.Group, Signal: c.Signal, Token: c.Token, Keep: c.Token != "", Until: c.Until}}
	case protocol.CorrelateUnsubscribe:
		return correlate.Unsubscribe{Place: place}
	}
	return correlate.Event{
		ID: c.EventID, Source: c.Source, Binding: c.Binding, Payload: value, Groups: c.Groups, TTL: c.TTL,
		Answer: correlate.Answer{Op: string(c.Op), Outcome: string(c.Outcome), Effect: string(c.Effect), Code: c.Code},
	}
}

// recordOf is the record that an event came with.
func recordOf(name, value string, ev *correlate.Event) protocol.Correlation {
	return protocol.Correlation{
		Kind: protocol.CorrelateEvent, Route: name, Value: value, Op: protocol.Op(ev.Answer.Op), EventID: ev.ID, Source: ev.Source, Binding: ev.Binding,
		Groups: ev.Groups, TTL: ev.TTL, Outcome: protocol.Outcome(ev.Answer.Outcome), Effect: protocol.Effect(ev.Answer.Effect), Code: ev.Answer.Code,
	}
}

var contentAvro = topology.Header{Key: protocol.HeaderContentType, Value: []byte(protocol.ContentAvro)}

// deliver is the event as the signal or the reply that it becomes, keyed by the workflow ID.
func (h *handler) deliver(name, value string, f *correlate.Deliver, at int64) (topology.Item[output], error) {
	w, ev := &f.Wait, &f.Event
	it := topology.Item[output]{Key: []byte(w.WorkflowID), Time: at}
	if w.Token != "" {
		if ev.Answer.Outcome == "" {
			return it, &fault{correlate.ClassInvalid, "the event answers a command and has no outcome"}
		}
		it.Value = output{h.topics.Replies, ev.Payload}
		it.Headers = recordHeaders(protocol.Reply{
			Token: w.Token, Outcome: protocol.Outcome(ev.Answer.Outcome), Effect: protocol.Effect(ev.Answer.Effect), Code: ev.Answer.Code, ContentType: protocol.ContentJSON,
		}.Headers())
		return it, nil
	}
	typ, id, _ := strings.Cut(w.WorkflowID, "/")
	record, err := protocol.AppendAvro(nil, &protocol.Signal{
		Type: typ, ID: id, Name: w.Signal, SignalID: correlate.SignalID(name, value, ev.ID, w.WorkflowID), Payload: ev.Payload, IssuedAt: max(at, 0),
	})
	if err != nil {
		return it, &fault{correlate.ClassInvalid, "the event cannot be a signal: " + err.Error()}
	}
	it.Value, it.Headers = output{h.topics.Intake, record}, []topology.Header{contentAvro}
	return it, nil
}

// letter is an event that nobody takes any more. One that had waited is written anew, so that it can be sent
// again; where its record was nobody knows then, so it names offset 0.
func (h *handler) letter(c *context, key []byte, name, value string, f *correlate.DeadLetter, at int64, isEvent bool) topology.Item[output] {
	l := h.cfg.letter(h.topics, f.Class, f.Message)
	l.Original = recordOf(name, value, &f.Event).Headers()
	l.Timestamp = max(at, 0)
	if rec := c.Record(); rec != nil {
		l.Partition = rec.Partition
		if isEvent && f.Class != correlate.ClassExpired {
			l.Offset = rec.Offset
		}
	} else {
		l.Partition = c.Task()
	}
	if f.Event.Source != "" {
		l.Message = fmt.Sprintf("event %s: %s", f.Event.Source, f.Message)
	}
	return topology.Item[output]{Key: key, Value: output{h.topics.DLQ, f.Event.Payload}, Time: at, Headers: recordHeaders(l.Headers())}
}

// letter is what all dead letters of the correlation have.
func (c *Config) letter(topics protocol.Topics, class, message string) protocol.DeadLetter {
	return protocol.DeadLetter{Topic: topics.Correlation, Group: Group(c.Namespace), Stage: "correlate", Class: class, Message: message, Attempts: 1, Node: c.Advertise, Version: c.Version}
}

// setAside is a record that could not be handled, as it came.
func setAside(cfg Config, topics protocol.Topics, rec *topology.Record, err error) *topology.Record {
	message := err.Error()
	if classOf(err) == "PANIC" {
		message = topology.ErrPanic.Error() // the log has the rest
	}
	cfg.Logger.Error("record set aside", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "class", classOf(err), "err", err)
	l := cfg.letter(topics, classOf(err), message)
	for _, x := range rec.Headers {
		l.Original = append(l.Original, protocol.Header(x))
	}
	l.Partition, l.Offset, l.Timestamp = rec.Partition, rec.Offset, max(rec.Timestamp.UnixMilli(), 0)
	return &topology.Record{Topic: topics.DLQ, Partition: topology.ByKey, Key: slices.Clone(rec.Key), Value: rec.Value, Headers: recordHeaders(l.Headers()), Timestamp: time.UnixMilli(l.Timestamp)}
}

func recordHeaders(h []protocol.Header) []topology.Header {
	out := make([]topology.Header, len(h))
	for i := range h {
		out[i] = topology.Header(h[i])
	}
	return out
}
