package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Preview is what an operator action, a start, a signal or a cancel would do now: the machine itself made it from the present state, and
// nothing was written. A topic that takes nothing at the moment is asked as it would be.
type Preview struct {
	WorkflowID string `json:"workflowId"`
	Action     string `json:"action"`
	Path       string `json:"path,omitempty"`
	Rev        uint64 `json:"rev"` // of the state that it was made from: act with this as the expected revision
	// Refused says why the action would change nothing; empty when it would be taken.
	Refused string `json:"refused,omitempty"`

	PhaseBefore  string   `json:"phaseBefore,omitempty"` // empty: there is no instance yet
	PhaseAfter   string   `json:"phaseAfter,omitempty"`
	StatusBefore string   `json:"statusBefore,omitempty"`
	StatusAfter  string   `json:"statusAfter,omitempty"`
	Attention    []string `json:"attention,omitempty"` // what would still ask for a person

	Commands []PreviewRecord `json:"commands"`          // what participants would be told, in order
	Other    []PreviewRecord `json:"other,omitempty"`   // results, domain events, and what kin would be told
	Facts    []PreviewFact   `json:"facts,omitempty"`   // what the lifecycle would say
	Waiting  []string        `json:"waiting,omitempty"` // topics that take nothing now: what is for them would wait
}

// PreviewRecord is one record that would be published.
type PreviewRecord struct {
	Kind      string          `json:"kind"` // command, result, event, start-child, tell-child, tell-parent
	Topic     string          `json:"topic,omitempty"`
	Partition int32           `json:"partition"` // of commands; else -1
	Key       string          `json:"key"`
	Headers   []Header        `json:"headers,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`

	Path        string `json:"path,omitempty"`
	Op          string `json:"op,omitempty"` // do, undo or inquire
	Participant string `json:"participant,omitempty"`
	Command     string `json:"command,omitempty"`
	SagaKey     string `json:"sagaKey,omitempty"` // idempotency key
	Attempt     uint32 `json:"attempt,omitempty"`
}

// Header is one header of a record.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// PreviewFact is one fact.
type PreviewFact struct {
	Kind string `json:"kind"`
	Path string `json:"path,omitempty"`
}

// Proposal is a record that may be written to an input topic.
type Proposal struct {
	Input      string `json:"input"` // intake or control
	WorkflowID string `json:"workflowId"`
	Value      []byte `json:"value"` // as the topic takes it
	What       string `json:"what"`  // start, signal, cancel or the name of the action
	Path       string `json:"path,omitempty"`
}

// Propose checks a *protocol.Start, *Signal, *Cancel or *Admin as the topic would, and says which instance it is
// for. Errors are those of Act.
func (o *Orchestrator) Propose(msg any) (Proposal, error) {
	p := Proposal{Input: inputIntake}
	var err error
	level := o.definitions.current.Load().Level()
	switch m := msg.(type) {
	case *protocol.Admin:
		p.Input, p.What, p.Path = inputControl, string(m.Action), m.Path
		p.WorkflowID = m.WorkflowID()
		p.Value, err = checkAction(m, level)
		return p, err
	case *protocol.Signal:
		p.What, p.WorkflowID = "signal", m.WorkflowID()
		if level < levelFull {
			return p, needsLevel("a signal", level)
		}
	case *protocol.Cancel:
		p.What, p.WorkflowID = "cancel", m.WorkflowID()
	case *protocol.Start:
		p.What, p.WorkflowID = "start", m.WorkflowID()
	default:
		return p, badBatch("nothing that can be written to an input topic")
	}
	if p.Value, err = protocol.AppendAvro(nil, msg); err == nil {
		_, err = protocol.DecodeIntake(nil, p.Value, nil)
	}
	if err != nil {
		return p, badRecord(err)
	}
	if p.WorkflowID == "" { // the definition makes the id
		in := o.bareProcessor().decode(o.recordOf(p))
		if in.fault != nil {
			return p, badBatch("%s", in.fault.message)
		}
		p.WorkflowID = in.wid
	}
	return p, nil
}

func (o *Orchestrator) recordOf(p Proposal) *topology.Record {
	topic := o.topics.Intake
	if p.Input == inputControl {
		topic = o.topics.Control
	}
	return &topology.Record{Topic: topic, Key: []byte(p.WorkflowID), Value: p.Value, Headers: []topology.Header{contentAvro}, Timestamp: o.cfg.Clock()}
}

// Preview says what a record would do to an instance that this process owns. Errors are those of Get.
func (o *Orchestrator) Preview(ctx context.Context, prop Proposal) (Preview, error) {
	wid := prop.WorkflowID
	w := o.worker.Load()
	if w == nil {
		return Preview{}, movingError(nil)
	}
	task := w.TaskOf([]byte(wid))
	view, ok := w.View(task)
	if !ok {
		_, err := o.Get(ctx, wid) // which says where it is
		if err == nil {
			err = movingError(nil)
		}
		return Preview{}, err
	}
	inst, err := readWhole(view, wid)
	switch {
	case errors.Is(err, topology.ErrNotRunning):
		return Preview{}, movingError(err)
	case err != nil:
		return Preview{}, storeError(err)
	case inst == nil && prop.Input == inputControl:
		return Preview{}, notFound(wid)
	}
	p := o.bareProcessor()
	closed := map[string]bool{}
	for _, d := range w.Destinations() {
		closed[d.Topic] = d.State != topology.DestinationClosed
	}
	return p.preview(inst, prop, o.recordOf(prop), sagas.Time(o.cfg.Clock().UnixMilli()), func(topic string, _ sagas.Sending) bool { return !closed[topic] })
}

// bareProcessor does what needs no task.
func (o *Orchestrator) bareProcessor() *processor {
	return &processor{cfg: o.cfg, topics: o.topics, group: protocol.Group(o.cfg.Namespace), partitions: o.layout.partitions, definitions: o.definitions}
}

func notFound(wid string) error {
	return &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no instance %q", wid)}
}

// preview is the walk of a record without its last steps.
func (p *processor) preview(inst *sagas.Instance, prop Proposal, record *topology.Record, now sagas.Time, gate sagas.Gate) (Preview, error) {
	in := p.decode(record)
	if in.fault != nil {
		return Preview{}, badBatch("%s", in.fault.message)
	}
	plan, ev := p.plan(inst, in.event, in.version)
	out := Preview{WorkflowID: prop.WorkflowID, Action: prop.What, Path: prop.Path, Commands: []PreviewRecord{}}
	if inst != nil {
		now = max(now, inst.LastNow)
		before := inst.View(plan)
		out.Rev, out.PhaseBefore, out.StatusBefore = inst.Rev, before.Phase, before.Status
	}
	next, effects := sagas.StepGated(plan, inst, ev, now, gate)
	x := plan.Private()
	words := x.Words(next)
	if next != nil {
		after := next.View(plan)
		out.PhaseAfter, out.StatusAfter = after.Phase, after.Status
		for _, at := range next.Attention {
			out.Attention = append(out.Attention, at.String())
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case sagas.Command:
			rec := p.command(apart{}, &e, &origin{rec: record, wid: prop.WorkflowID, event: ev})
			r := PreviewRecord{Kind: "command", Topic: rec.Topic, Partition: protocol.Partition(rec.Key, p.partitions), Key: string(rec.Key),
				Path: e.Path, Op: e.Op.String(), Participant: e.Participant, Command: e.Name, SagaKey: e.Key, Attempt: e.Attempt, Payload: words.JSON(x.Payload(e.Path, e.Op, jsonOr(rec.Value)))}
			for _, h := range rec.Headers {
				if h.Key == protocol.HeaderToken {
					continue // whoever has it may answer for the participant
				}
				r.Headers = append(r.Headers, Header{h.Key, words.Text(string(h.Value))})
			}
			out.Commands = append(out.Commands, r)
		case sagas.Result:
			out.Other = append(out.Other, PreviewRecord{Kind: "result", Topic: e.Topic, Partition: -1, Key: e.WorkflowID, Payload: words.JSON(x.Result(jsonOr(e.Output)))})
		case sagas.Emit:
			rec := p.domainEvent(&e, prop.WorkflowID)
			out.Other = append(out.Other, PreviewRecord{Kind: "event", Topic: rec.Topic, Partition: -1, Key: string(rec.Key), Payload: words.JSON(x.Published("", jsonOr(rec.Value)))})
		case sagas.Subscribe:
			out.Other = append(out.Other, PreviewRecord{Kind: "subscribe", Topic: p.topics.Correlation, Partition: -1, Key: string(protocol.CorrelationKey(e.Route, e.Value)), Path: e.Path})
		case sagas.Unsubscribe:
			out.Other = append(out.Other, PreviewRecord{Kind: "unsubscribe", Topic: p.topics.Correlation, Partition: -1, Key: string(protocol.CorrelationKey(e.Route, e.Value)), Path: e.Path})
		case sagas.StartChild:
			out.Other = append(out.Other, PreviewRecord{Kind: "start-child", Partition: -1, Key: e.Start.WorkflowID})
		case sagas.TellChild:
			out.Other = append(out.Other, PreviewRecord{Kind: "tell-child", Partition: -1, Key: e.WorkflowID})
		case sagas.TellParent:
			out.Other = append(out.Other, PreviewRecord{Kind: "tell-parent", Partition: -1, Key: e.WorkflowID})
		case sagas.Lifecycle:
			out.Facts = append(out.Facts, PreviewFact{string(e.Kind), e.Path})
		case sagas.Waits:
			out.Waiting = append(out.Waiting, e.Topic)
		case sagas.Ignored:
			out.Refused = e.Reason
		}
	}
	return out, nil
}

// jsonOr is b when it is JSON, else a JSON text that says how long it is.
func jsonOr(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return b
	}
	text, _ := json.Marshal(fmt.Sprintf("%d bytes", len(b))) // a string always has JSON
	return text
}
