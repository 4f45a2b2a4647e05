package orchestrator

import (
	"fmt"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// What instances tell one another goes over the control topic, keyed by the workflow ID that is to
// hear it. Only operators and the orchestrator may write there, so nobody else can end a step by
// pretending to be its child. One topic for all of it also keeps the order of what a parent tells a
// child.

// tell sends msg, one of package protocol's records, to the instance wid.
func (p *processor) tell(c *topology.Cycle, wid string, msg any) error {
	value, err := protocol.AppendAvro(nil, msg)
	if err != nil {
		return fmt.Errorf("encode %T for %s: %w", msg, wid, err)
	}
	c.Emit(&topology.Record{Topic: p.topics.Control, Partition: topology.ByKey, Key: []byte(wid), Value: value, Headers: []topology.Header{contentAvro}})
	return nil
}

// startChild sends the start of a child. A workflow ID that no record can have is answered in the
// child's place: the parent would wait for ever.
func (p *processor) startChild(c *topology.Cycle, e *sagas.StartChild) error {
	s := &e.Start
	typ, id, err := protocol.SplitWorkflowID(s.WorkflowID)
	if err != nil || typ != s.Type {
		return p.rejectChild(c, s, sagas.ClassInvalidInput, "the id of the child is not one that an instance can have")
	}
	msg := &protocol.Start{
		Type: typ, ID: id, Version: s.Version, StartID: s.StartID, Input: s.Input, ReplyTo: s.ReplyTo, Tags: s.Tags, IssuedAt: int64(s.IssuedAt),
		Parent: parentRecord(s.Parent),
	}
	value, err := protocol.AppendAvro(nil, msg)
	if err != nil {
		return fmt.Errorf("encode the start of %s: %w", s.WorkflowID, err)
	}
	headers := []topology.Header{contentAvro}
	if s.Trace != "" {
		headers = append(headers, topology.Header{Key: protocol.HeaderTraceparent, Value: []byte(s.Trace)})
	}
	c.Emit(&topology.Record{Topic: p.topics.Control, Partition: topology.ByKey, Key: []byte(s.WorkflowID), Value: value, Headers: headers})
	return nil
}

func parentRecord(in *sagas.Parent) *protocol.Parent {
	if in == nil {
		return nil
	}
	return &protocol.Parent{WorkflowID: in.WorkflowID, Run: in.Run, Path: in.Path, Reversible: in.Reversible}
}

// rejectChild answers a start in the place of a child that cannot come into being.
func (p *processor) rejectChild(c *topology.Cycle, s *sagas.Start, code, message string) error {
	return p.tell(c, s.Parent.WorkflowID, childDone(&sagas.TellParent{WorkflowID: s.Parent.WorkflowID, Done: sagas.ChildDone{
		Run: s.Parent.Run, Path: s.Parent.Path, Child: s.WorkflowID, Code: code, Message: message,
	}}))
}

var endOfPhase = map[sagas.Phase]protocol.End{
	0: protocol.EndRejected, sagas.Completed: protocol.EndCompleted, sagas.Compensated: protocol.EndCompensated, sagas.Closed: protocol.EndClosed,
}

// childDone is the record; texts are cut to what a record may hold, else its reader would refuse it.
func childDone(e *sagas.TellParent) *protocol.ChildDone {
	typ, id := sagas.SplitWorkflowID(e.WorkflowID)
	return &protocol.ChildDone{
		Type: typ, ID: id, Run: e.Done.Run, Path: e.Done.Path, Child: e.Done.Child, End: endOfPhase[e.Done.Phase],
		Code: clip(e.Done.Code, protocol.MaxCode), Message: clip(e.Done.Message, protocol.MaxMessage), Output: e.Done.Output,
	}
}

func toChild(e *sagas.TellChild) (any, error) {
	typ, id := sagas.SplitWorkflowID(e.WorkflowID)
	switch ev := e.Event.(type) {
	case sagas.Reverse:
		return &protocol.Reverse{Type: typ, ID: id, Parent: ev.Parent, Run: ev.Run, Path: ev.Path}, nil
	case sagas.ParentClosed:
		return &protocol.ParentClosed{Type: typ, ID: id, Parent: ev.Parent, Run: ev.Run, Path: ev.Path}, nil
	case sagas.Cancel:
		return &protocol.Cancel{Type: typ, ID: id, RequestID: clip(ev.RequestID, protocol.MaxID), Reason: clip(ev.Reason, protocol.MaxReason),
			Actor: clip(ev.Actor, protocol.MaxName), VoidTTL: ev.VoidTTL}, nil
	}
	return nil, fmt.Errorf("a child cannot be told %T", e.Event)
}

// clip bounds a text to n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// domainEvent is the record of an event that a saga publishes.
func (p *processor) domainEvent(e *sagas.Emit, wid string) *topology.Record {
	key := e.Key
	if key == "" {
		key = wid
	}
	return &topology.Record{
		Topic: e.Topic, Partition: topology.ByKey, Key: []byte(key), Value: e.Payload, Timestamp: time.UnixMilli(int64(e.At)),
		Headers: recordHeaders(protocol.Event{ID: e.ID, WorkflowID: wid, Type: e.Type, At: int64(e.At)}.Headers()),
	}
}
