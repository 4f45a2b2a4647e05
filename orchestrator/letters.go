package orchestrator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Letter is one dead letter.
type Letter struct {
	Offset     int64           `json:"offset"` // in the dead-letter topic: its name here
	At         int64           `json:"at"`     // ms, when it was set aside
	State      string          `json:"state"`  // open, replayed or dropped
	Class      string          `json:"class"`
	Stage      string          `json:"stage"`
	Message    string          `json:"message"`
	WorkflowID string          `json:"workflowId,omitempty"`
	From       Place           `json:"from"` // of the record that was set aside
	Node       string          `json:"node,omitempty"`
	Binding    string          `json:"binding,omitempty"` // that set it aside
	Key        string          `json:"key,omitempty"`
	Headers    []Header        `json:"headers,omitempty"` // of the record, without the reason
	Kind       string          `json:"kind,omitempty"`    // what the record says it is, where that can be read
	Value      json.RawMessage `json:"value,omitempty"`   // when it is JSON
	Bytes      string          `json:"bytes,omitempty"`   // base64 of anything else
	Size       int             `json:"size"`
	Handled    *Handled        `json:"handled,omitempty"`

	masked bool // something in it may be personal
}

// Handled says what somebody did with a dead letter.
type Handled struct {
	State  string `json:"state"` // replayed or dropped
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	At     int64  `json:"at"` // ms
	Edited bool   `json:"edited,omitempty"`
	To     *Place `json:"to,omitempty"` // where it was written again
}

// States of dead letters.
const (
	LetterOpen     = "open"
	LetterReplayed = "replayed"
	LetterDropped  = "dropped"
)

// Letters is a page of dead letters, newest first.
type Letters struct {
	Letters []Letter `json:"letters"`
	// Next is the offset before which the next page is, 0 at the end.
	Next int64 `json:"next,omitempty"`
	// Partial says that not all of this page could be read; ask again.
	Partial bool `json:"partial,omitempty"`
	// Unread says what could not be read at all, and why.
	Unread []string `json:"unread,omitempty"`
}

// LetterQuery says which dead letters are meant. Empty fields are any.
type LetterQuery struct {
	State   string
	Binding string // <type>/<name> of the binding that set them aside
	Before  int64  // offset before which to read; 0 = the end
	Limit   int    // default 100
}

// lettersLooked bounds the records that one page of one binding looks at.
const lettersLooked = 20_000

// Letters reads dead letters, newest first. A page may be short, even empty, though older ones follow: Next says so.
// Any process can do it.
func (o *Orchestrator) Letters(ctx context.Context, q LetterQuery) (Letters, error) {
	limit, before, look := q.Limit, q.Before, 0
	out := Letters{Letters: []Letter{}}
	if limit <= 0 || limit > MaxPage {
		limit = 100
	}
	// Some may be markers, and some of another state or binding: look at more than is asked for.
	if look = 4 * limit; q.Binding != "" {
		look = lettersLooked
	}
	low, start := int64(0), int64(0)
	whole, unread, err := o.logs.read(ctx, func(ctx context.Context, adm *kadm.Client) ([]span, []string, error) {
		spans, unread, err := since(0, 0, map[string][]int32{o.topics.DLQ: {0}})(ctx, adm)
		if err != nil || len(spans) == 0 {
			return nil, unread, err
		}
		s := &spans[0]
		start = s.From
		if before > 0 {
			s.To = min(s.To, before)
		}
		s.From = max(s.From, s.To-int64(look))
		low = s.From
		return spans, unread, nil
	}, func(rec *kgo.Record) bool {
		l, _ := o.letterOf(rec)
		if (q.State == "" || l.State == q.State) && (q.Binding == "" || l.Binding == q.Binding) {
			out.Letters = append(out.Letters, l)
		}
		return true
	})
	if err != nil {
		return Letters{}, err
	}
	out.Partial, out.Unread = !whole, unread
	slices.Reverse(out.Letters)
	if len(out.Letters) > limit {
		out.Letters = out.Letters[:limit]
		low = out.Letters[limit-1].Offset
	}
	if low > start {
		out.Next = low
	}
	return out, nil
}

// letterOf also gives the value as it is, when it can be shown as JSON.
func (o *Orchestrator) letterOf(rec *kgo.Record) (Letter, json.RawMessage) {
	l := Letter{Offset: rec.Offset, At: rec.Timestamp.UnixMilli(), State: LetterOpen, Size: len(rec.Value), Key: printable(rec.Key)}
	hs := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		hs[i] = protocol.Header(h)
	}
	original := hs
	if d, err := protocol.ParseDeadLetter(hs); err == nil {
		original = d.Original
		l.Class, l.Stage, l.Message, l.WorkflowID, l.Node = d.Class, d.Stage, d.Message, d.WorkflowID, d.Node
		l.From = Place{d.Topic, d.Partition, d.Offset}
		l.Binding = bindings.KeyOfGroup(o.cfg.Namespace, d.Group)
	}
	for _, h := range original {
		if h.Key != protocol.HeaderToken {
			l.Headers = append(l.Headers, Header{h.Key, printable(h.Value)})
		}
	}
	l.Value, l.Bytes = shown(rec.Value)
	msg, err := o.decodeLetter(l.From.Topic, rec.Key, rec.Value, original)
	clear := l.Value
	if err == nil {
		m := Message{Kind: o.bareKind(l.From.Topic)}
		if msg != nil {
			m.describe(msg)
			if l.Value == nil {
				l.Value, clear = m.Value, m.Value
			}
		}
		l.Kind = m.Kind
	}
	o.maskLetter(&l, rec, original, msg)
	var h Handled
	if o.desk.get(letterKey(rec.Offset), &h) {
		l.State, l.Handled = h.State, &h
	}
	return l, clear
}

// maskLetter takes personal values out of a letter. What its text, its headers and its bytes may repeat of them
// nobody knows here, because there is no instance to compare with: they are hidden.
func (o *Orchestrator) maskLetter(l *Letter, rec *kgo.Record, original []protocol.Header, msg any) {
	if l.From.Topic == o.topics.Correlation {
		o.maskEvent(l, rec, original)
		return
	}
	wid := l.WorkflowID
	if m, ok := msg.(interface{ WorkflowID() string }); ok && m.WorkflowID() != "" {
		wid = m.WorkflowID()
	}
	if wid == "" {
		wid = string(rec.Key)
	}
	typ, _ := sagas.SplitWorkflowID(wid)
	x := o.private(typ, 0)
	if x == nil {
		return
	}
	l.masked = true
	m := Message{Kind: l.Kind}
	if r, err := protocol.ParseReply(original); err == nil && l.From.Topic == o.topics.Replies {
		if t, err := protocol.DecodeToken(r.Token, o.cfg.TokenSecret); err == nil {
			m.Path = t.Path
		}
	}
	words := wordsOf(x, []clearPart{partOf(&m, msg, rec.Value)})
	l.Message = words.Text(l.Message)
	for i := range l.Headers {
		if l.Headers[i].Value = words.Text(l.Headers[i].Value); l.Headers[i].Key == protocol.HeaderMessage {
			l.Headers[i].Value = sagas.Masked
		}
	}
	switch {
	case l.Bytes != "" && l.Value == nil:
		l.Value = x.Hidden([]byte(l.Bytes))
	case l.Value == nil:
	case l.Bytes != "" || msg == nil && m.Path != "": // the value alone: of our own Avro, or of a reply
		m.Value = l.Value
		m.mask(x, words, msg)
		l.Value = m.Value
	default:
		l.Value = maskRecord(x, words, msg, l.Value)
	}
	l.Bytes = ""
}

// bareKind is what a record is whose value is not the protocol's.
func (o *Orchestrator) bareKind(topic string) string {
	if topic == o.topics.Correlation {
		return "event"
	}
	return "reply"
}

// maskEvent hides an event of the correlation topic, and its value, when a saga that may wait for it has
// personal values: which part of an event is personal nobody knows before an instance takes it.
func (o *Orchestrator) maskEvent(l *Letter, rec *kgo.Record, original []protocol.Header) {
	c, err := protocol.ParseCorrelation(original)
	if err != nil {
		return
	}
	for _, typ := range append(c.Groups, c.Group) {
		x := o.private(typ, 0)
		if x == nil {
			continue
		}
		l.masked = true
		if len(rec.Value) > 0 {
			l.Value, l.Bytes = x.Hidden(rec.Value), ""
		}
		for i := range l.Headers {
			if l.Headers[i].Key == protocol.HeaderValue {
				l.Headers[i].Value = sagas.Masked
			}
		}
		return
	}
}

func letterKey(offset int64) string { return deskLetter + strconv.FormatInt(offset, 10) }

func printable(b []byte) string {
	if json.Valid([]byte(strconv.Quote(string(b)))) {
		return string(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// decodeLetter reads a record as its topic would.
func (o *Orchestrator) decodeLetter(topic string, key, value []byte, hs []protocol.Header) (any, error) {
	switch topic {
	case o.topics.Intake:
		return protocol.DecodeIntake(key, value, hs)
	case o.topics.Control:
		return protocol.DecodeControl(key, value, hs)
	case o.topics.Replies:
		_, err := protocol.ParseReply(hs)
		return nil, err
	case o.topics.Correlation:
		_, err := protocol.ParseCorrelation(hs)
		return nil, err
	}
	return nil, &Error{Code: CodeConflict, Class: ErrConflict, Cause: fmt.Sprintf("the record is of topic %q, which is not an input of this namespace", topic), Fix: "Send it again with a tool of its owner."}
}

// Letter reads one dead letter. The error is of class ErrNotFound when there is none at the offset.
func (o *Orchestrator) Letter(ctx context.Context, offset int64) (Letter, error) {
	rec, err := o.letterRecord(ctx, offset)
	if err != nil {
		return Letter{}, err
	}
	l, _ := o.letterOf(rec)
	return l, nil
}

func (o *Orchestrator) letterRecord(ctx context.Context, offset int64) (*kgo.Record, error) {
	var found *kgo.Record
	_, unread, err := o.logs.read(ctx, func(ctx context.Context, adm *kadm.Client) ([]span, []string, error) {
		spans, unread, err := since(0, 0, map[string][]int32{o.topics.DLQ: {0}})(ctx, adm)
		if err != nil || len(spans) == 0 || offset < spans[0].From || offset >= spans[0].To {
			return nil, unread, err
		}
		return []span{{o.topics.DLQ, 0, offset, offset + 1}}, unread, nil
	}, func(rec *kgo.Record) bool {
		if rec.Offset == offset {
			found = rec
		}
		return false
	})
	if err == nil && len(unread) > 0 {
		err = unreachable("read the dead letters", errors.New(unread[0]))
	}
	if err == nil && found == nil {
		err = &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no dead letter %d", offset), Fix: "It may have gone with the retention of the topic."}
	}
	return found, err
}

// Replay says how to send a dead letter again.
type Replay struct {
	Value  []byte // nil: as it came
	By     string
	Reason string
	DryRun bool // only check
	Again  bool // also when somebody has done it before
}

// Replayed is what was written, or would be.
type Replayed struct {
	Topic      string          `json:"topic"`
	Partition  int32           `json:"partition"`
	Key        string          `json:"key"`
	Kind       string          `json:"kind"`
	WorkflowID string          `json:"workflowId,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	Edited     bool            `json:"edited,omitempty"`
	Position   string          `json:"position,omitempty"`
}

// Replay checks a dead letter as its topic would and writes it there again. The error is of class ErrInvalid when
// the topic would refuse it again for its form, and ErrConflict when it was replayed or dropped before.
func (o *Orchestrator) Replay(ctx context.Context, offset int64, r Replay) (Replayed, error) {
	rec, err := o.letterRecord(ctx, offset)
	if err != nil {
		return Replayed{}, err
	}
	l, clear := o.letterOf(rec)
	if l.Handled != nil && !r.Again {
		return Replayed{}, &Error{Code: CodeConflict, Class: ErrConflict, Cause: fmt.Sprintf("dead letter %d was %s by %s", offset, l.Handled.State, l.Handled.By), Fix: "Say that you want it again."}
	}
	hs := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		hs[i] = protocol.Header(h)
	}
	d, err := protocol.ParseDeadLetter(hs)
	if err != nil {
		return Replayed{}, &Error{Code: CodeConflict, Class: ErrConflict, Cause: "the record does not say where it comes from"}
	}
	value := rec.Value
	if r.Value != nil {
		if value, err = sagas.Unmask(r.Value, l.Value, clear); err != nil {
			return Replayed{}, badRecord(err)
		}
	}
	headers := slices.DeleteFunc(slices.Clone(d.Original), func(h protocol.Header) bool {
		// The walk forwards it anew, and an edited record is JSON whatever it was before.
		return h.Key == topology.HeaderForwarded || r.Value != nil && h.Key == protocol.HeaderContentType && d.Topic != o.topics.Replies
	})
	var others []*kgo.Record
	if l.Binding != "" { // the event goes through its binding, and not to its topic a second time
		d.Original = headers
		list, err := o.bindLetter(ctx, l.Binding, rec, d, value)
		if err != nil {
			return Replayed{}, err
		}
		rec, value, d.Topic, headers = list[0], list[0].Value, list[0].Topic, nil
		for _, r := range list[1:] { // an event may answer to several values
			others = append(others, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
		for _, h := range rec.Headers {
			headers = append(headers, protocol.Header(h))
		}
	}
	msg, err := o.decodeLetter(d.Topic, rec.Key, value, headers)
	if err != nil {
		return Replayed{}, badRecord(err)
	}
	out := Replayed{Topic: d.Topic, Partition: -1, Key: printable(rec.Key), Kind: o.bareKind(d.Topic), WorkflowID: d.WorkflowID, Edited: r.Value != nil}
	key := rec.Key
	if m, ok := msg.(interface{ WorkflowID() string }); ok {
		mm := Message{}
		mm.describe(msg)
		out.Kind = mm.Kind
		if wid := m.WorkflowID(); wid != "" {
			out.WorkflowID, key = wid, []byte(wid)
		}
	} else if d.WorkflowID != "" {
		key = []byte(d.WorkflowID)
	}
	if len(key) > 0 {
		out.Partition = protocol.Partition(key, o.layout.partitions)
	}
	if l.masked {
		out.Value = l.Value // as it came, or as its editor saw it
		if r.Value != nil {
			out.Value = r.Value
		}
	} else {
		out.Value, _ = shown(value)
	}
	if r.DryRun {
		return out, nil
	}
	cl := o.sender.Load()
	if cl == nil {
		return Replayed{}, movingError(nil)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	again := &kgo.Record{Topic: d.Topic, Key: key, Value: value, Headers: recordHeaders(headers)}
	if err := cl.ProduceSync(ctx, append(others, again)...).FirstErr(); err != nil {
		return Replayed{}, unreachable("write to topic "+d.Topic, err)
	}
	if d.Topic != o.topics.Replies && d.Topic != o.topics.Correlation {
		out.Position = positionOf(o.topics, d.Topic, again.Partition, again.Offset).String()
	}
	to := placeOf(again)
	out.Partition = again.Partition
	h := Handled{State: LetterReplayed, By: r.By, Reason: r.Reason, At: o.cfg.Clock().UnixMilli(), Edited: r.Value != nil, To: &to}
	return out, o.desk.put(ctx, cl, letterKey(offset), h)
}

// Drop notes that a dead letter needs nothing more. The record stays where it is.
func (o *Orchestrator) Drop(ctx context.Context, offset int64, by, reason string) error {
	rec, err := o.letterRecord(ctx, offset)
	if err != nil {
		return err
	}
	if l, _ := o.letterOf(rec); l.Handled != nil && l.Handled.State == LetterDropped {
		return nil
	}
	return o.desk.put(ctx, o.sender.Load(), letterKey(offset), Handled{State: LetterDropped, By: by, Reason: reason, At: o.cfg.Clock().UnixMilli()})
}
