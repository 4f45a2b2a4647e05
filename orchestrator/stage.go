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
	key    []byte          // wid as the key of records; made when it is needed first
}

// recordKey is the key of the records about wid. They share it, as nobody changes it.
func (o *origin) recordKey(wid string) []byte {
	if wid != o.wid {
		return []byte(wid)
	}
	if o.key == nil {
		o.key = []byte(wid)
	}
	return o.key
}

// stage turns what Step returned into writes and records of this cycle.
func (p *processor) stage(c *topology.Cycle, o *origin, next *sagas.Instance, effects []sagas.Effect) error {
	next, effects, formatted, err := p.formats(next, effects)
	if err != nil {
		return err
	}
	if err := p.store(c, o, next); err != nil {
		return err
	}
	if reply, ok := o.event.(sagas.Reply); ok {
		p.counts.reply(&reply, o.before)
	}
	for i, e := range effects {
		switch e := e.(type) {
		case sagas.Command:
			rec := p.command(c, &e, o)
			if w, ok := formatted[i]; ok {
				w.inFormat(rec)
			}
			c.Emit(rec)
			p.counts.command(&e)
		case sagas.Lifecycle:
			rec, err := p.lifecycle(c, &e, o)
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
		case sagas.Subscribe:
			c.Emit(p.subscribe(&e))
		case sagas.Unsubscribe:
			c.Emit(p.unsubscribe(&e))
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
	if p.cfg.Tracer != nil {
		p.trace(c, o, next, effects)
	}
	return nil
}

// maker gives memory for records: a cycle, or the collector.
type maker interface {
	NewRecord(headers int) *topology.Record
	Bytes(n int) []byte
}

// apart makes records that stay, for who has no cycle.
type apart struct{}

func (apart) NewRecord(headers int) *topology.Record {
	return &topology.Record{Headers: make([]topology.Header, 0, headers)}
}

func (apart) Bytes(n int) []byte { return make([]byte, n) }

// command is the record of one command: the protocol in headers, the payload as it is.
func (p *processor) command(c maker, e *sagas.Command, o *origin) *topology.Record {
	op := protocol.Op(e.Op.String())
	token := protocol.Token{WorkflowID: e.WorkflowID, Run: e.Run, Path: e.Path, Op: op, Round: e.Round, Attempt: e.Attempt}
	key := o.recordKey(e.WorkflowID)
	cmd := protocol.Command{
		Token: token.Encode(p.cfg.TokenSecret), WorkflowID: e.WorkflowID, Op: op, Name: e.Name,
		Key: e.Key, ForwardKey: e.ForwardKey, Attempt: e.Attempt, Deadline: int64(e.Deadline),
		ReplyTo: p.topics.Replies, ReplyPartition: protocol.Partition(key, p.partitions),
		Definition: definitionRef{e.Type, e.Version}.String(), Trace: e.Trace, ContentType: protocol.ContentJSON,
	}
	p.outgoing = cmd.AppendHeaders(p.outgoing[:0], c.Bytes(cmd.HeaderBytes())[:0])
	rec := c.NewRecord(len(p.outgoing))
	rec.Topic, rec.Partition, rec.Key, rec.Value = e.Topic, topology.ByKey, key, e.Payload
	for i := range p.outgoing {
		rec.Headers = append(rec.Headers, topology.Header(p.outgoing[i]))
	}
	return rec
}

// seqMost is the length of the largest number of a fact in decimal.
const seqMost = 20

// lifecycle is the record of one fact, in Avro's single-object encoding.
func (p *processor) lifecycle(c maker, e *sagas.Lifecycle, o *origin) (*topology.Record, error) {
	fact := protocol.Lifecycle{
		WorkflowID: e.WorkflowID, Run: e.Run, Seq: e.Seq, Rev: e.Rev, At: int64(e.At), Kind: string(e.Kind), Path: e.Path,
		Phase: e.Phase.String(), Attention: e.Attention, Cause: e.Cause, Detail: details(e.Detail),
	}
	if e.Type != "" {
		fact.Definition = definitionRef{e.Type, e.Version}.String()
	}
	if rec := o.rec; rec != nil {
		p.source = protocol.Source{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
		fact.Source = &p.source
	}
	buf, err := protocol.AppendLifecycle(p.fact[:0], &fact)
	if err != nil {
		return nil, fmt.Errorf("encode the lifecycle record %s of %s: %w", e.Kind, e.WorkflowID, err)
	}
	p.fact = buf
	// The value, and behind it the number that goes into a header.
	value := append(c.Bytes(len(buf) + seqMost)[:0], buf...)
	seq := strconv.AppendUint(value[len(value):], e.Seq, 10)
	rec := c.NewRecord(3)
	rec.Topic, rec.Partition, rec.Key, rec.Value = p.topics.Lifecycle, topology.ByKey, o.recordKey(e.WorkflowID), value[:len(value):len(value)]
	rec.Headers = append(rec.Headers, topology.Header{Key: protocol.HeaderKind, Value: kindText(e.Kind)},
		topology.Header{Key: protocol.HeaderSeq, Value: seq}, contentAvro)
	if p.cfg.CloudEvents {
		p.headers = fact.AppendCloudEvent(p.headers[:0], value)
		for _, h := range p.headers {
			rec.Headers = append(rec.Headers, topology.Header(h))
		}
	}
	return rec, nil
}

// kindText is the text of a kind; the records of a kind share it.
func kindText(kind sagas.Kind) []byte {
	if b, ok := kindTexts[kind]; ok {
		return b
	}
	return []byte(kind)
}

var kindTexts = func() map[sagas.Kind][]byte {
	texts := make(map[sagas.Kind][]byte)
	for _, kind := range protocol.LifecycleKinds() {
		texts[sagas.Kind(kind)] = []byte(kind)
	}
	return texts
}()

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
