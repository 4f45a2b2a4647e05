package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// AppendAvro appends the single-object encoding of v: *Start, *Signal, *Cancel, *Admin,
// *CommandRecord, *ReplyRecord, *Lifecycle, *ChildDone, *Reverse or *ParentClosed. It fails when a number does not fit its field, a name
// is not one of its enum, or a text is not UTF-8.
func AppendAvro(dst []byte, v any) ([]byte, error) {
	w := avroWriter{b: dst}
	switch v := v.(type) {
	case *Start:
		w.headerSince(SchemaStart, v.Parent != nil)
		w.start(v)
	case *Signal:
		w.header(SchemaSignal)
		w.text(v.WorkflowID())
		w.text(v.Name)
		w.text(v.SignalID)
		w.bytes(v.Payload)
		w.text(v.ContentType)
		w.optional(v.Actor)
		w.optionalLong(v.TTL)
		w.long(v.IssuedAt)
	case *Cancel:
		w.header(SchemaCancel)
		w.text(v.WorkflowID())
		w.text(v.RequestID)
		w.text(v.Reason)
		w.text(v.Actor)
		w.long(v.VoidTTL)
	case *Admin:
		w.header(SchemaAdmin)
		w.text(v.WorkflowID())
		w.text(v.RequestID)
		w.enum("action", string(v.Action), actionIndex)
		w.optional(v.Path)
		w.texts(v.Args)
		w.text(v.Operator)
		w.optional(v.Approver)
		w.text(v.Reason)
		w.natural("expectRev", v.ExpectRev)
	case *CommandRecord:
		w.header(SchemaCommand)
		w.command(v)
	case *ReplyRecord:
		w.header(SchemaReply)
		w.reply(v)
	case *Lifecycle:
		w.lifecycle(v)
	case *ChildDone:
		w.header(SchemaChildDone)
		w.text(v.WorkflowID())
		w.int32("run", v.Run)
		w.text(v.Path)
		w.text(v.Child)
		w.enum("end", string(v.End), endIndex)
		w.optional(v.Code)
		w.optional(v.Message)
		w.bytes(v.Output)
	case *Reverse:
		w.header(SchemaReverse)
		w.kin((*Kin)(v))
	case *ParentClosed:
		w.header(SchemaParentClosed)
		w.kin((*Kin)(v))
	default:
		return dst, fmt.Errorf("append avro: %T is not one of our records", v)
	}
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

// AppendLifecycle appends the single-object encoding of l. It allocates nothing but what dst needs
// to grow.
func AppendLifecycle(dst []byte, l *Lifecycle) ([]byte, error) {
	w := avroWriter{b: dst}
	w.lifecycle(l)
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

// DecodeLifecycle reads what AppendLifecycle wrote.
func DecodeLifecycle(b []byte) (*Lifecycle, error) {
	v, err := DecodeAvro(b)
	if err != nil {
		return nil, err
	}
	l, ok := v.(*Lifecycle)
	if !ok {
		return nil, &Error{Class: ClassUnsupported, Text: "not a lifecycle record"}
	}
	return l, nil
}

// LifecycleKinds returns every kind that a lifecycle record may have, in the order of the schema.
func LifecycleKinds() []string { return append([]string(nil), lifecycleKinds...) }

var lifecycleKinds = []string{
	"started", "rejected", "duplicate", "conflict", "parked", "voided",
	"step-sent", "step-done", "step-rejected", "step-failed", "step-unknown", "step-skipped", "inquired",
	"committed", "cancel-requested", "cancel-refused", "cancel-acked", "deadline-hit",
	"compensating", "undo-sent", "step-undone", "attention", "attention-cleared",
	"contract-violation", "late-effect", "phantom", "reopened",
	"completed", "compensated", "closed", "expired",
	"entered", "resolved", "caught", "timed-out", "task-opened", "task-reminded", "task-decided",
	"signalled", "signal-used", "signal-dropped", "operator", "continued", "child-started", "child-ended", "emitted",
}

// formerKinds is how many of the kinds the former schema knows.
const formerKinds = 31

// Positions of the symbols in the enums of the schemas. A test compares them with the schemas.
var (
	kindIndex    = indexOf(lifecycleKinds)
	actionIndex  = indexOf(actions)
	endIndex     = indexOf(ends)
	opIndex      = indexOf([]Op{OpDo, OpUndo, OpInquire})
	effectIndex  = indexOf([]Effect{EffectNone, EffectDone, EffectUnknown})
	outcomeIndex = indexOf([]Outcome{OutcomeOK, OutcomeRejected, OutcomeFailedRetriable, OutcomeFailedFatal,
		OutcomeProgress, OutcomeExecuted, OutcomeNotExecuted, OutcomeRunning})
)

func indexOf[S ~string](names []S) map[string]int {
	m := make(map[string]int, len(names))
	for i, name := range names {
		m[string(name)] = i
	}
	return m
}

// avroWriter writes Avro binary by hand: the library wants a map per record and per union, which is
// most of the cost on the way out. Tests compare it with the library over random records.
type avroWriter struct {
	b   []byte
	err error
}

func (w *avroWriter) fail(field, text string) {
	if w.err == nil {
		w.err = malformed(field, text)
	}
}

func (w *avroWriter) header(name string) { w.b = append(w.b, schemas[name].header...) }

// headerSince writes the present header when the record says what only the present schema can say,
// else the former one.
func (w *avroWriter) headerSince(name string, present bool) {
	s := schemas[name]
	if present {
		w.b = append(w.b, s.header...)
		return
	}
	w.b = append(w.b, s.former...)
}

// long writes int, long and the timestamps: zigzag, then base 128.
func (w *avroWriter) long(n int64) { w.b = binary.AppendVarint(w.b, n) }

func (w *avroWriter) int32(field string, n uint32) {
	if n > math.MaxInt32 {
		w.fail(field, "does not fit an Avro int")
	}
	w.long(int64(n))
}

func (w *avroWriter) natural(field string, n uint64) {
	if n > math.MaxInt64 {
		w.fail(field, "does not fit an Avro long")
	}
	w.long(int64(n))
}

func (w *avroWriter) text(s string) {
	if !utf8.ValidString(s) {
		w.fail("", "a text that is not UTF-8")
	}
	w.long(int64(len(s)))
	w.b = append(w.b, s...)
}

func (w *avroWriter) bytes(b []byte) {
	w.long(int64(len(b)))
	w.b = append(w.b, b...)
}

func (w *avroWriter) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

// optional writes a union of null and string, "" as null.
func (w *avroWriter) optional(s string) {
	if s == "" {
		w.long(0)
		return
	}
	w.long(1)
	w.text(s)
}

// optionalLong writes a union of null and long, 0 as null.
func (w *avroWriter) optionalLong(n int64) {
	if n == 0 {
		w.long(0)
		return
	}
	w.long(1)
	w.long(n)
}

func (w *avroWriter) enum(field, symbol string, index map[string]int) {
	i, known := index[symbol]
	if !known {
		w.fail(field, "not a symbol of the schema")
	}
	w.long(int64(i))
}

// texts writes a map of strings in key order.
func (w *avroWriter) texts(m map[string]string) {
	if len(m) > 0 {
		w.long(int64(len(m)))
		for _, k := range sortedKeys(m) {
			w.text(k)
			w.text(m[k])
		}
	}
	w.long(0)
}

func (w *avroWriter) source(s *Source) {
	if s == nil {
		w.long(0)
		return
	}
	w.long(1)
	w.text(s.Topic)
	w.long(int64(s.Partition))
	w.long(s.Offset)
}

func (w *avroWriter) start(s *Start) {
	if s.OrSignal != nil {
		w.fail("orSignal", "is written in JSON only")
		return
	}
	w.text(s.WorkflowID())
	w.text(s.Type)
	if s.Version == 0 {
		w.long(0)
	} else {
		w.long(1)
		w.int32("version", s.Version)
	}
	w.text(s.StartID)
	w.bytes(s.Input)
	w.text("")
	w.optionalLong(s.NotBefore)
	w.optional(s.ReplyTo)
	if s.Parent == nil {
		w.long(0)
	} else {
		w.long(1)
		w.text(s.Parent.WorkflowID)
		w.int32("parent.run", s.Parent.Run)
		w.text(s.Parent.Path)
		w.bool(s.Parent.Reversible)
	}
	w.texts(s.Tags)
	w.long(s.IssuedAt)
	w.source(s.Causation)
}

func (w *avroWriter) command(c *CommandRecord) {
	w.text(c.Token)
	w.text(c.WorkflowID)
	w.text(c.Type)
	w.text(c.Path)
	w.enum("op", string(c.Op), opIndex)
	w.text(c.Name)
	w.text(c.Key)
	w.optional(c.ForwardKey)
	w.int32("attempt", c.Attempt)
	w.int32("round", c.Round)
	w.optionalLong(c.Deadline)
	w.text(c.ReplyTo)
	w.long(int64(c.ReplyPartition))
	w.bytes(c.Payload)
	w.text(c.Schema)
	w.text(c.Trace)
}

func (w *avroWriter) reply(r *ReplyRecord) {
	w.text(r.Token)
	w.enum("outcome", string(r.Outcome), outcomeIndex)
	if r.Effect == "" {
		w.long(0)
	} else {
		w.long(1)
		w.enum("effect", string(r.Effect), effectIndex)
	}
	w.optional(r.Code)
	w.optional(r.Message)
	w.optionalLong(r.RetryAfter)
	w.bool(r.Noop)
	w.bool(r.Replayed)
	w.texts(r.Handle)
	w.bytes(r.Payload)
}

func (w *avroWriter) kin(k *Kin) {
	w.text(workflowID(k.Type, k.ID))
	w.text(k.Parent)
	w.int32("run", k.Run)
	w.text(k.Path)
}

func (w *avroWriter) lifecycle(l *Lifecycle) {
	w.headerSince(SchemaLifecycle, kindIndex[l.Kind] >= formerKinds)
	w.text(l.WorkflowID)
	w.int32("run", l.Run)
	w.natural("seq", l.Seq)
	w.natural("rev", l.Rev)
	w.long(l.At)
	w.enum("kind", l.Kind, kindIndex)
	w.optional(l.Path)
	w.text(l.Phase)
	if len(l.Attention) > 0 {
		w.long(int64(len(l.Attention)))
		for _, path := range l.Attention {
			w.text(path)
		}
	}
	w.long(0)
	w.optional(l.Cause)
	w.text(l.Definition)
	if len(l.Detail) > 0 {
		w.long(int64(len(l.Detail)))
		for i, kv := range l.Detail {
			// Twice the same key is a map that readers refuse.
			if i > 0 && strings.Compare(l.Detail[i-1].Key, kv.Key) >= 0 {
				w.fail("detail", "keys are not in order")
			}
			w.text(kv.Key)
			w.text(kv.Value)
		}
	}
	w.long(0)
	w.source(l.Source)
}
