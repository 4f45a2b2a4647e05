package orchestrator

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Fact is one entry of the lifecycle.
type Fact struct {
	WorkflowID string            `json:"workflowId"`
	Seq        uint64            `json:"seq"` // gapless per workflow ID; 0 = a fact about one that has no instance
	Rev        uint64            `json:"rev"`
	Run        uint32            `json:"run"`
	At         int64             `json:"at"` // ms
	Kind       string            `json:"kind"`
	Path       string            `json:"path,omitempty"`
	Phase      string            `json:"phase"`
	Attention  []string          `json:"attention,omitempty"`
	Cause      string            `json:"cause,omitempty"`
	Definition string            `json:"definition,omitempty"`
	Detail     map[string]string `json:"detail,omitempty"`
	Source     *Place            `json:"source,omitempty"` // the record that caused it; none for a timer
	Place      Place             `json:"place"`            // of the fact itself
}

// Place is where a record is.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// History is the lifecycle of an instance.
type History struct {
	Facts []Fact `json:"facts"`
	// Partial says that not all of the log could be looked at, or that its beginning is gone by retention.
	Partial bool `json:"partial,omitempty"`
	// Unread are the topics and partitions that could not be looked at, and why.
	Unread []string `json:"unread,omitempty"`
}

// historyMargin is how far the clocks of a broker and a process may be apart.
const historyMargin = 5 * int64(time.Second/time.Millisecond)

// MaxFacts is the most facts of one answer.
const MaxFacts = 10_000

// History reads the facts of an instance out of the lifecycle topic, in order, from those after a number.
// Any process can do it. The view bounds what has to be read; without one (the zero View) all is read that
// is kept.
func (o *Orchestrator) History(ctx context.Context, workflowID string, v sagas.View, after uint64) (History, error) {
	out := History{Facts: []Fact{}}
	topic := o.topics.Lifecycle
	partition := protocol.Partition([]byte(workflowID), o.layout.partitions)
	from, to := int64(0), int64(0)
	if v.StartedAt > 0 {
		from = max(int64(v.StartedAt)-historyMargin, 1)
		to = int64(max(v.UpdatedAt, v.EndedAt)) + historyMargin
	}
	whole, unread, err := o.logs.read(ctx, since(from, to, map[string][]int32{topic: {partition}}), func(rec *kgo.Record) bool {
		if string(rec.Key) != workflowID {
			return true
		}
		f, ok := factOf(rec)
		if !ok {
			return true
		}
		if f.Seq > after || f.Seq == 0 {
			out.Facts = append(out.Facts, f)
		}
		return len(out.Facts) < MaxFacts && (v.Seq == 0 || f.Seq < v.Seq)
	})
	if err != nil {
		return History{}, err
	}
	out.Unread = unread
	out.Partial = !whole || len(out.Facts) > 0 && out.Facts[0].Seq > after+1 || len(out.Facts) == MaxFacts
	return out, nil
}

func factOf(rec *kgo.Record) (Fact, bool) {
	l, err := protocol.DecodeLifecycle(rec.Value)
	if err != nil {
		return Fact{}, false
	}
	f := Fact{WorkflowID: l.WorkflowID, Seq: l.Seq, Rev: l.Rev, Run: l.Run, At: l.At, Kind: l.Kind, Path: l.Path, Phase: l.Phase, Attention: l.Attention,
		Cause: l.Cause, Definition: l.Definition, Place: placeOf(rec)}
	for _, kv := range l.Detail {
		if f.Detail == nil {
			f.Detail = map[string]string{}
		}
		f.Detail[kv.Key] = kv.Value
	}
	if s := l.Source; s != nil {
		f.Source = &Place{s.Topic, s.Partition, s.Offset}
	}
	return f, true
}

func placeOf(rec *kgo.Record) Place { return Place{rec.Topic, rec.Partition, rec.Offset} }

// Message is one record that an instance received or sent.
type Message struct {
	Kind    string          `json:"kind"` // start, signal, cancel, action, reply, command, kin
	At      int64           `json:"at"`   // ms
	Place   Place           `json:"place"`
	Path    string          `json:"path,omitempty"`    // of the step
	Op      string          `json:"op,omitempty"`      // of commands and replies: do, undo, inquire
	Name    string          `json:"name,omitempty"`    // of the command, the signal, the action
	Outcome string          `json:"outcome,omitempty"` // of a reply
	Headers []Header        `json:"headers,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"` // what JSON and our own Avro hold
	Bytes   string          `json:"bytes,omitempty"` // base64 of anything else
	Size    int             `json:"size"`
}

// Messages is what went between an instance and the others.
type Messages struct {
	Messages []Message `json:"messages"`
	Partial  bool      `json:"partial,omitempty"`
	Unread   []string  `json:"unread,omitempty"` // topics and partitions that could not be looked at, and why
}

// MaxMessages is the most messages of one answer, maxMessageBytes the most of one value that is shown.
const (
	MaxMessages     = 2000
	maxMessageBytes = 64 << 10
)

// Messages reads what an instance received and sent, by time. Any process can do it. The topics are those of
// the definition; a record is one of the instance's when its key is the workflow ID.
func (o *Orchestrator) Messages(ctx context.Context, workflowID string, v sagas.View) (Messages, error) {
	out := Messages{Messages: []Message{}}
	key := []byte(workflowID)
	partition := protocol.Partition(key, o.layout.partitions)
	places := map[string][]int32{o.topics.Intake: {partition}, o.topics.Control: {partition}, o.topics.Replies: {partition}}
	if l := o.definitions.current.Load().versions[definitionRef{v.Type, v.Version}]; l != nil && l.plan != nil {
		for _, topic := range commandTopics(l.plan) {
			places[topic] = nil // every partition: a topic of others may have another count
		}
	}
	from, to := int64(0), int64(0)
	if v.StartedAt > 0 {
		from, to = max(int64(v.StartedAt)-60*historyMargin, 1), int64(max(v.UpdatedAt, v.EndedAt))+historyMargin
	}
	x := o.private(v.Type, v.Version)
	var msgs []any
	var parts []clearPart
	whole, unread, err := o.logs.read(ctx, since(from, to, places), func(rec *kgo.Record) bool {
		if string(rec.Key) == workflowID {
			m, msg := o.messageOf(rec)
			out.Messages = append(out.Messages, m)
			msgs, parts = append(msgs, msg), append(parts, partOf(&m, msg, rec.Value))
		}
		return len(out.Messages) < MaxMessages
	})
	if err != nil {
		return Messages{}, err
	}
	words := wordsOf(x, parts)
	for i := range out.Messages {
		out.Messages[i].mask(x, words, msgs[i])
	}
	out.Unread = unread
	out.Partial = !whole || len(out.Messages) == MaxMessages
	slices.SortFunc(out.Messages, o.messageOrder)
	return out, nil
}

// messageOrder is by time. Within a millisecond what came in from outside is first, and the rest stands by its
// place, so that every answer has the same order.
func (o *Orchestrator) messageOrder(a, b Message) int {
	late := func(m Message) int {
		if m.Place.Topic == o.topics.Intake || m.Place.Topic == o.topics.Control {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(late(a), late(b)), strings.Compare(a.Place.Topic, b.Place.Topic),
		cmp.Compare(a.Place.Partition, b.Place.Partition), cmp.Compare(a.Place.Offset, b.Place.Offset))
}

// messageOf also gives what the record was read as, nil for commands and replies and what cannot be read.
func (o *Orchestrator) messageOf(rec *kgo.Record) (Message, any) {
	var read any
	m := Message{Kind: "command", At: rec.Timestamp.UnixMilli(), Place: placeOf(rec), Size: len(rec.Value)}
	hs := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		hs[i] = protocol.Header(h)
		if h.Key != protocol.HeaderToken && utf8.Valid(h.Value) { // whoever has the token may answer for the participant
			m.Headers = append(m.Headers, Header{h.Key, string(h.Value)})
		}
	}
	m.Value, m.Bytes = shown(rec.Value)
	secret := o.cfg.TokenSecret
	switch rec.Topic {
	case o.topics.Replies:
		m.Kind = "reply"
		if r, err := protocol.ParseReply(hs); err == nil {
			m.Outcome = string(r.Outcome)
			if t, err := protocol.DecodeToken(r.Token, secret); err == nil {
				m.Path, m.Op = t.Path, string(t.Op)
			}
		}
	case o.topics.Intake:
		msg, err := protocol.DecodeIntake(rec.Key, rec.Value, hs)
		m.Kind = "intake"
		if err == nil {
			read = msg
			m.describe(msg)
		}
	case o.topics.Control:
		msg, err := protocol.DecodeControl(rec.Key, rec.Value, hs)
		m.Kind = "control"
		if err == nil {
			read = msg
			m.describe(msg)
		}
	default:
		if c, err := protocol.ParseCommand(hs); err == nil {
			m.Name, m.Op = c.Name, string(c.Op)
			if t, err := protocol.DecodeToken(c.Token, secret); err == nil {
				m.Path = t.Path
			}
		}
	}
	return m, read
}

// describe says what a record of an input topic is, in the words of its JSON form.
func (m *Message) describe(msg any) {
	switch msg := msg.(type) {
	case *protocol.Start:
		m.Kind = "start"
		m.Value, m.Bytes = shown(msg.Input)
	case *protocol.Signal:
		m.Kind, m.Name = "signal", msg.Name
		m.Value, m.Bytes = shown(msg.Payload)
	case *protocol.Cancel:
		m.Kind, m.Name = "cancel", msg.Reason
	case *protocol.Admin:
		m.Kind, m.Name, m.Path = "action", string(msg.Action), msg.Path
		if b, err := json.Marshal(msg.Args); err == nil && len(msg.Args) > 0 {
			m.Value = b
		}
	default:
		m.Kind = "kin"
	}
}

// shown is a value as JSON, or as base64 when it is not, up to a limit.
func shown(value []byte) (json.RawMessage, string) {
	switch {
	case len(value) == 0:
		return nil, ""
	case json.Valid(value) && len(value) <= maxMessageBytes:
		return value, ""
	}
	return nil, base64.StdEncoding.EncodeToString(value[:min(len(value), maxMessageBytes)])
}

// Audit is what people did, newest first.
type Audit struct {
	Facts   []Fact   `json:"facts"`
	Partial bool     `json:"partial,omitempty"` // the log of this time is too long to be looked at as a whole
	Unread  []string `json:"unread,omitempty"`  // topics and partitions that could not be looked at, and why
}

// auditKinds are the facts of which a person is the author. The value is the detail that has to name the person,
// where the machine writes such a fact by itself too.
var auditKinds = map[string]string{
	string(sagas.KindOperator): "", string(sagas.KindTaskDecided): "", string(sagas.KindCancelRequested): "", string(sagas.KindVoided): "",
	string(sagas.KindClosed): "operator", string(sagas.KindCancelAcked): "actor",
}

// Audit reads what people did to all instances between two moments in ms (to 0 = now). Any process can do it.
func (o *Orchestrator) Audit(ctx context.Context, from, to int64, limit int) (Audit, error) {
	out := Audit{Facts: []Fact{}}
	whole, unread, err := o.logs.read(ctx, since(from, to, map[string][]int32{o.topics.Lifecycle: nil}), func(rec *kgo.Record) bool {
		for _, h := range rec.Headers {
			if h.Key != protocol.HeaderKind {
				continue
			}
			if by, of := auditKinds[string(h.Value)]; of {
				if f, ok := factOf(rec); ok && (by == "" || f.Detail[by] != "") {
					out.Facts = append(out.Facts, f)
				}
			}
		}
		return true
	})
	if err != nil {
		return Audit{}, err
	}
	slices.SortFunc(out.Facts, func(a, b Fact) int {
		return cmp.Or(cmp.Compare(b.At, a.At), strings.Compare(a.WorkflowID, b.WorkflowID), cmp.Compare(b.Seq, a.Seq), cmp.Compare(b.Place.Offset, a.Place.Offset))
	})
	out.Partial, out.Unread = !whole, unread
	if len(out.Facts) > limit {
		out.Facts, out.Partial = out.Facts[:limit], true
	}
	return out, nil
}
