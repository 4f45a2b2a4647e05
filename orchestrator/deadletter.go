package orchestrator

import (
	"errors"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// deadLetter sends rec to the dead-letter topic as it came, with the reason in headers. rec is nil
// for a timer: there is no record to keep then, and nothing is sent.
func (p *processor) deadLetter(c *topology.Cycle, rec *topology.Record, wid string, f fault) {
	p.counts.deadLetter(f.class)
	if rec == nil {
		return
	}
	original := make([]protocol.Header, len(rec.Headers))
	for i := range rec.Headers {
		original[i] = protocol.Header(rec.Headers[i])
	}
	c.Emit(&topology.Record{
		Topic: p.topics.DLQ, Partition: topology.ByKey, Key: rec.Key, Value: rec.Value,
		Headers: recordHeaders(protocol.DeadLetter{
			Original: original, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
			Timestamp: rec.Timestamp.UnixMilli(), Group: p.group, Stage: f.stage, Class: f.class, Message: f.message,
			Attempts: 1, WorkflowID: wid, Node: p.cfg.Advertise, Version: Version,
		}.Headers()),
	})
}

// machineLetter sends what the machine sets aside: the record of the event, or a start that waited in
// the store until it turned out that it cannot run.
func (p *processor) machineLetter(c *topology.Cycle, o *origin, e *sagas.DeadLetter) {
	rec := o.rec
	switch {
	case e.Class == sagas.ClassOrphanReply && p.cfg.OrphanReplies == OrphanDrop:
		p.counts.ignored("orphan-reply")
		return
	case e.Parked != nil:
		rec = p.startRecord(e.Parked)
	case e.Signal != nil:
		rec = p.signalRecord(e.Signal)
	}
	p.deadLetter(c, rec, o.wid, fault{stageAdvance, e.Class, e.Message})
}

// startRecord writes a start anew, so that it can be sent again as it is. Its first record is gone
// from memory, so the dead letter names offset 0.
func (p *processor) startRecord(s *sagas.Start) *topology.Record {
	_, id := sagas.SplitWorkflowID(s.WorkflowID)
	value, err := protocol.AppendAvro(nil, &protocol.Start{
		Type: s.Type, ID: id, Version: s.Version, StartID: s.StartID, Input: s.Input, ReplyTo: s.ReplyTo,
		Tags: s.Tags, IssuedAt: int64(s.IssuedAt), Trace: s.Trace, Parent: parentRecord(s.Parent),
	})
	if err != nil {
		p.cfg.Logger.Error("waiting start cannot be written anew", "workflow_id", s.WorkflowID, "err", err)
		return nil
	}
	key := []byte(s.WorkflowID)
	topic := p.topics.Intake
	if s.Parent != nil {
		topic = p.topics.Control
	}
	return &topology.Record{Topic: topic, Partition: protocol.Partition(key, p.partitions), Key: key, Value: value,
		Timestamp: time.UnixMilli(int64(s.IssuedAt)), Headers: []topology.Header{contentAvro}}
}

// signalRecord writes a signal anew that waited in an instance, or in a mailbox, until nothing could
// consume it any more. What a person decided goes back to the control topic.
func (p *processor) signalRecord(s *sagas.Signal) *topology.Record {
	typ, id := sagas.SplitWorkflowID(s.WorkflowID)
	var msg any = &protocol.Signal{Type: typ, ID: id, Name: s.Name, SignalID: s.ID, Payload: s.Payload, Actor: s.Actor, TTL: s.TTL, IssuedAt: int64(s.IssuedAt)}
	topic := p.topics.Intake
	if strings.HasPrefix(s.Name, protocol.DecisionPrefix) {
		topic = p.topics.Control
		msg = &protocol.Admin{Type: typ, ID: id, Action: protocol.ActionSignal, Operator: s.Actor, Reason: "sent again",
			Args: map[string]string{protocol.ArgName: s.Name, protocol.ArgSignalID: s.ID, protocol.ArgPayload: string(s.Payload)}}
	}
	value, err := protocol.AppendAvro(nil, msg)
	if err != nil {
		p.cfg.Logger.Error("waiting signal cannot be written anew", "workflow_id", s.WorkflowID, "err", err)
		return nil
	}
	key := []byte(s.WorkflowID)
	return &topology.Record{Topic: topic, Partition: protocol.Partition(key, p.partitions), Key: key, Value: value,
		Timestamp: time.UnixMilli(int64(s.IssuedAt)), Headers: []topology.Header{contentAvro}}
}

// faultOfPoison says why the runtime gave up on a record or a timer. The text holds no payload: a
// panic's value is left out, the log has it.
func faultOfPoison(err error) fault {
	switch {
	case errors.Is(err, topology.ErrMisrouted):
		return fault{stageRoute, classMisrouted, err.Error()}
	case errors.Is(err, topology.ErrTooLarge), errors.Is(err, errInstanceTooLarge):
		return fault{stageStage, classTooLarge, err.Error()}
	case errors.Is(err, errAboveLevel):
		return fault{stageStage, classLevel, err.Error()}
	case errors.Is(err, topology.ErrUndeliverable):
		return fault{stageStage, classUndeliverable, err.Error()}
	case errors.Is(err, topology.ErrPanic):
		return fault{stageAdvance, classPanic, "the processor panicked; the log of this node has the stack"}
	}
	return fault{stageAdvance, classFailed, err.Error()}
}

// recordHeaders converts the headers of package protocol to Kafka's.
func recordHeaders(h []protocol.Header) []topology.Header {
	out := make([]topology.Header, len(h))
	for i := range h {
		out[i] = topology.Header(h[i])
	}
	return out
}
