package orchestrator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// origin is what an event came from.
type origin struct {
	rec    *topology.Record // nil for timers and wake-ups
	wid    string
	event  sagas.Event
	stored *sagas.Record   // nil = there was no instance
	before *sagas.Instance // as Step gave it: of an instance in pages it may be a part
}

// stage turns what Step returned into writes and records of this cycle.
func (p *processor) stage(c *topology.Cycle, o *origin, next *sagas.Instance, effects []sagas.Effect) error {
	if err := p.store(c, o, next); err != nil {
		return err
	}
	if reply, ok := o.event.(sagas.Reply); ok {
		p.counts.reply(&reply, o.before)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case sagas.Command:
			c.Emit(p.command(&e))
			p.counts.command(&e)
		case sagas.Lifecycle:
			rec, err := p.lifecycle(&e, o.rec)
			if err != nil {
				return err
			}
			c.Emit(rec)
			p.counts.lifecycle(&e, o.before)
		case sagas.DeadLetter:
			p.machineLetter(c, o, &e)
		case sagas.Result:
			c.Emit(p.result(&e))
		case sagas.StartChild:
			if err := p.startChild(c, &e); err != nil {
				return err
			}
		case sagas.TellParent:
			if err := p.tell(c, e.WorkflowID, childDone(&e)); err != nil {
				return err
			}
		case sagas.TellChild:
			msg, err := toChild(&e)
			if err != nil {
				return err
			}
			if err := p.tell(c, e.WorkflowID, msg); err != nil {
				return err
			}
		case sagas.Emit:
			c.Emit(p.domainEvent(&e, o.wid))
		case sagas.Waits:
			if err := c.Wait(e.Topic, []byte(o.wid)); err != nil {
				return err
			}
		case sagas.Ignored:
			p.counts.ignored(e.Reason)
		default:
			return fmt.Errorf("effect %T is not known", e)
		}
	}
	return nil
}

// command is the record of one command: the protocol in headers, the payload as it is.
func (p *processor) command(e *sagas.Command) *topology.Record {
	op := protocol.Op(e.Op.String())
	token := protocol.Token{WorkflowID: e.WorkflowID, Run: e.Run, Path: e.Path, Op: op, Round: e.Round, Attempt: e.Attempt}
	key := []byte(e.WorkflowID)
	return &topology.Record{
		Topic: e.Topic, Partition: topology.ByKey, Key: key, Value: e.Payload,
		Headers: recordHeaders(protocol.Command{
			Token: token.Encode(p.cfg.TokenSecret), WorkflowID: e.WorkflowID, Op: op, Name: e.Name,
			Key: e.Key, ForwardKey: e.ForwardKey, Attempt: e.Attempt, Deadline: int64(e.Deadline),
			ReplyTo: p.topics.Replies, ReplyPartition: protocol.Partition(key, p.partitions),
			Definition: definitionRef{e.Type, e.Version}.String(), Trace: e.Trace, ContentType: protocol.ContentJSON,
		}.Headers()),
	}
}

// lifecycle is the record of one fact, in Avro's single-object encoding.
func (p *processor) lifecycle(e *sagas.Lifecycle, rec *topology.Record) (*topology.Record, error) {
	fact := protocol.Lifecycle{
		WorkflowID: e.WorkflowID, Run: e.Run, Seq: e.Seq, Rev: e.Rev, At: int64(e.At), Kind: string(e.Kind), Path: e.Path,
		Phase: e.Phase.String(), Attention: e.Attention, Cause: e.Cause, Detail: details(e.Detail),
	}
	if e.Type != "" {
		fact.Definition = definitionRef{e.Type, e.Version}.String()
	}
	if rec != nil {
		fact.Source = &protocol.Source{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
	}
	value, err := protocol.AppendLifecycle(nil, &fact)
	if err != nil {
		return nil, fmt.Errorf("encode the lifecycle record %s of %s: %w", e.Kind, e.WorkflowID, err)
	}
	return &topology.Record{
		Topic: p.topics.Lifecycle, Partition: topology.ByKey, Key: []byte(e.WorkflowID), Value: value,
		Headers: []topology.Header{
			{Key: protocol.HeaderKind, Value: []byte(e.Kind)},
			{Key: protocol.HeaderSeq, Value: strconv.AppendUint(nil, e.Seq, 10)},
			contentAvro,
		},
	}, nil
}

var contentAvro = topology.Header{Key: protocol.HeaderContentType, Value: []byte(protocol.ContentAvro)}

// details sorts what the wire wants sorted, and lets the first of two equal keys stand: a fact must
// never fail for its remarks.
func details(in []sagas.KV) []protocol.KV {
	if len(in) == 0 {
		return nil
	}
	out := make([]protocol.KV, len(in))
	for i := range in {
		out[i] = protocol.KV(in[i])
	}
	byKey := func(a, b protocol.KV) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(out, byKey) {
		slices.SortStableFunc(out, byKey)
	}
	return slices.CompactFunc(out, func(a, b protocol.KV) bool { return a.Key == b.Key })
}

// result answers the start.
func (p *processor) result(e *sagas.Result) *topology.Record {
	return &topology.Record{
		Topic: e.Topic, Partition: topology.ByKey, Key: []byte(e.WorkflowID), Value: e.Output,
		Headers: recordHeaders(protocol.Result{WorkflowID: e.WorkflowID, Run: e.Run, Phase: e.Phase.String(), Cause: e.Cause}.Headers()),
	}
}
