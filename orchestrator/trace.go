package orchestrator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Span is one event of an instance that was processed, or one command that it sent, as traces show it. A
// run has one trace. No span lasts longer than a cycle: an answer is a span of its own that links to its
// command. It holds no payload and no text of a participant.
type Span struct {
	Send    bool     // a command that was sent; else an event that was processed
	TraceID [16]byte // of the run
	ID      [8]byte  // of a command: the one in its traceparent
	Parent  [8]byte  // of a command: the event that caused it; zero = none
	Links   []string // traceparents: what the event answers, who triggered it
	Start   time.Time
	End     time.Time // the commit

	Topic     string // where the record is or goes; empty for a timer or an event from within
	Partition int32  // -1 = not known
	Offset    int64  // -1 = not known
	Group     string // that read it

	WorkflowID string
	Type       string // <saga>@<version>
	Step       string // path; empty = the instance itself
	Event      string // start, reply, timers, signal, cancel, admin, child; of a command its operation
	Command    string
	Attempt    uint32
	Outcome    string // of a reply
	Phase      string // of the instance after it
}

// maxLink bounds a traceparent that came from outside.
const maxLink = 256

// trace notes the spans of one event. They are told when the cycle has committed.
func (p *processor) trace(c *topology.Cycle, o *origin, next *sagas.Instance, effects []sagas.Effect) {
	inst := next
	if inst == nil {
		inst = o.before
	}
	if inst == nil || next == o.before && len(effects) <= 1 { // ignored
		return
	}
	ref := definitionRef{inst.Type, inst.Version}.String()
	ev := Span{
		TraceID: sagas.TraceID(p.cfg.Namespace, o.wid, inst.Run), Start: time.UnixMilli(c.Now()), Partition: -1, Offset: -1,
		WorkflowID: o.wid, Type: ref, Event: "timers", Phase: inst.Phase.String(),
	}
	ev.ID = eventSpan(ev.TraceID, inst.Rev)
	if o.rec != nil {
		ev.Topic, ev.Partition, ev.Offset, ev.Group = o.rec.Topic, o.rec.Partition, o.rec.Offset, p.group
		for i := range o.rec.Headers {
			if h := &o.rec.Headers[i]; h.Key == protocol.HeaderTraceparent && len(h.Value) <= maxLink {
				ev.Links = append(ev.Links, string(h.Value))
			}
		}
	}
	switch e := o.event.(type) {
	case sagas.Start:
		ev.Event = "start"
		if len(ev.Links) == 0 && e.Trace != "" && len(e.Trace) <= maxLink {
			ev.Links = append(ev.Links, e.Trace)
		}
	case sagas.Reply:
		ev.Event, ev.Step, ev.Attempt, ev.Outcome = "reply", e.Path, e.Attempt, string(e.Outcome)
		id := sagas.CommandSpan(p.cfg.Namespace, o.wid, e.Address)
		ev.Links = append(ev.Links, "00-"+hex.EncodeToString(ev.TraceID[:])+"-"+hex.EncodeToString(id[:])+"-01")
	case sagas.Signal:
		ev.Event = "signal"
	case sagas.Cancel:
		ev.Event = "cancel"
	case sagas.Admin:
		ev.Event, ev.Step = "admin", e.Path
	case sagas.ChildDone:
		ev.Event, ev.Step = "child", e.Path
	}
	p.counts.span(ev)
	for _, e := range effects {
		cmd, ok := e.(sagas.Command)
		if !ok {
			continue
		}
		s := Span{Send: true, TraceID: ev.TraceID, Parent: ev.ID, Start: ev.Start, Topic: cmd.Topic, Partition: -1, Offset: -1,
			WorkflowID: o.wid, Type: ref, Step: cmd.Path, Event: cmd.Op.String(), Command: cmd.Name, Attempt: cmd.Attempt, Phase: ev.Phase}
		s.ID = sagas.CommandSpan(p.cfg.Namespace, o.wid, cmd.Address)
		p.counts.span(s)
	}
}

// eventSpan names the event that brought the instance to its revision.
func eventSpan(trace [16]byte, rev uint64) [8]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(trace[:], rev))
	return [8]byte(sum[:8])
}

// span keeps a span until it is known whether the cycle commits.
func (t *tally) span(s Span) {
	t.mu.Lock()
	t.mu.spans = append(t.mu.spans, s)
	t.mu.Unlock()
}

// ended copies spans and ends them now.
func ended(spans []Span) []Span {
	out := make([]Span, len(spans))
	now := time.Now()
	for i, s := range spans {
		s.End = now
		if s.End.Before(s.Start) {
			s.End = s.Start
		}
		out[i] = s
	}
	return out
}
