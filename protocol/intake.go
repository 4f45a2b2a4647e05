package protocol

import (
	"bytes"
	"strconv"
	"strings"
)

// Fields of the JSON form of intake and control records.
var (
	startFields    = []string{"kind", "type", "id", "version", "startId", "input", "replyTo", "tags", "issuedAt", "orSignal"}
	orSignalFields = []string{"name", "signalId", "payload", "ttl"}
	cancelFields   = []string{"kind", "type", "id", "requestId", "reason", "actor", "voidTtlMs"}
	signalFields   = []string{"kind", "type", "id", "name", "signalId", "payload", "ttl", "actor", "issuedAt"}
	adminFields    = []string{"kind", "type", "id", "requestId", "action", "path", "args", "operator", "approver", "reason", "expectRev"}
)

// DecodeIntake reads a record of the intake topic: *Start, *Signal or *Cancel. The value is JSON or
// the Avro single-object encoding of StartSaga, Signal or Cancel. The id comes from the value, else
// from the key, where a leading "<type>/" is left out; a start may have none, then its definition
// computes it. Start.Input and Signal.Payload alias value.
//
// What only the orchestrator and operators may say is refused here: a start with a parent, the answer
// of a child, and the decision of a person (a signal whose name begins with DecisionPrefix), because
// anybody who may start a saga could forge it. Such records belong on the control topic.
//
// A record in the structured mode of CloudEvents is read as the event that it holds: see OpenCloudEvent.
func DecodeIntake(key, value []byte, h []Header) (any, error) {
	h, value, err := OpenCloudEvent(h, value)
	if err != nil {
		return nil, err
	}
	form, err := formOf(value, h)
	if err != nil {
		return nil, err
	}
	var rec any
	if form == ContentAvro {
		rec, err = DecodeAvro(value)
	} else {
		rec, err = decodeIntakeJSON(value)
	}
	if err != nil {
		return nil, err
	}
	switch rec := rec.(type) {
	case *Start:
		if rec.Parent != nil {
			return nil, &Error{Class: ClassUnsupported, Field: "parent", Text: "only the orchestrator starts a child"}
		}
		rec.ID, rec.IDFromKey = idOf(rec.Type, rec.ID, key)
		if err := firstError(rec.fromHeaders(h), rec.check()); err != nil {
			return nil, err
		}
		if s := rec.OrSignal; s != nil {
			s.Type, s.ID, s.IDFromKey, s.IssuedAt = rec.Type, rec.ID, rec.IDFromKey, rec.IssuedAt
			if err := s.checkAsPart(); err != nil {
				return nil, err
			}
		}
		return rec, nil
	case *Cancel:
		rec.ID, rec.IDFromKey = idOf(rec.Type, rec.ID, key)
		if err := rec.check(); err != nil {
			return nil, err
		}
		return rec, nil
	case *Signal:
		rec.ID, rec.IDFromKey = idOf(rec.Type, rec.ID, key)
		if err := firstError(rec.fromHeaders(h), rec.check()); err != nil {
			return nil, err
		}
		if strings.HasPrefix(rec.Name, DecisionPrefix) {
			return nil, &Error{Class: ClassUnsupported, Field: "name", Text: "a person's decision on the intake topic", Hint: "Send it to the control topic, as the operator action signal."}
		}
		return rec, nil
	case *Admin:
		return nil, &Error{Class: ClassUnsupported, Text: "an operator action on the intake topic", Hint: "Send it to the control topic."}
	}
	return nil, &Error{Class: ClassUnsupported, Text: "not a record of the intake topic"}
}

// DecisionPrefix begins the name of the signal that decides an approval; the rest is the path of the
// step.
const DecisionPrefix = "decision/"

// DecodeControl reads a record of the control topic: an *Admin in the same two forms, or, in Avro
// only, what instances tell one another: a *Start with a parent, *Cancel, *ChildDone, *Reverse or
// *ParentClosed.
func DecodeControl(key, value []byte, h []Header) (any, error) {
	form, err := formOf(value, h)
	if err != nil {
		return nil, err
	}
	var rec any
	if form == ContentAvro {
		rec, err = DecodeAvro(value)
	} else {
		rec, err = decodeControlJSON(value)
	}
	if err != nil {
		return nil, err
	}
	switch rec := rec.(type) {
	case *Admin:
		rec.ID, rec.IDFromKey = idOf(rec.Type, rec.ID, key)
		err = rec.check()
	case *Start:
		if rec.Parent == nil {
			return nil, errNotControl()
		}
		err = firstError(rec.fromHeaders(h), rec.check(), checkID(rec.ID), rec.Parent.check())
	case *Cancel:
		err = rec.check()
	case *ChildDone:
		err = rec.check()
	case *Reverse:
		err = (*Kin)(rec).check()
	case *ParentClosed:
		err = (*Kin)(rec).check()
	default:
		return nil, errNotControl()
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func errNotControl() error {
	return &Error{Class: ClassUnsupported, Text: "not a record of the control topic", Hint: "Starts, signals and cancels go to the intake topic."}
}

// formOf tells JSON from Avro, and enforces the limits of the whole record.
func formOf(value []byte, h []Header) (string, error) {
	if len(value) > MaxRecordBytes {
		return "", tooLarge("", "a value of more than "+strconv.Itoa(MaxRecordBytes)+" bytes; large fields can travel by reference, see docs/claimcheck.md")
	}
	if err := checkHeaders(h); err != nil {
		return "", err
	}
	if isAvro(value) {
		return ContentAvro, nil
	}
	content, _, err := lookup(h, HeaderContentType)
	if err != nil {
		return "", err
	}
	text := bytes.TrimLeft(value, " \t\r\n")
	switch {
	case len(text) == 0:
		return "", malformed("", "the value is empty")
	case text[0] == '{', isJSON(string(content)):
		return ContentJSON, nil
	case text[0] == 0:
		return "", &Error{Class: ClassUnknownSchema, Text: "the framing of a schema registry", Hint: "Send JSON, or Avro in the single-object encoding of one of our schemas."}
	}
	return "", malformed("", "neither a JSON object nor Avro in the single-object encoding")
}

func isJSON(content string) bool {
	content, _, _ = strings.Cut(content, ";")
	content = strings.ToLower(strings.TrimSpace(content))
	return content == ContentJSON || strings.HasSuffix(content, "+json")
}

func decodeIntakeJSON(value []byte) (any, error) {
	m, err := readMembers(value)
	if err != nil {
		return nil, err
	}
	r := memberReader{members: m}
	switch kind := r.text("kind", MaxName); {
	case r.err != nil:
		return nil, r.err
	case kind == "" || kind == "start":
		if err := m.only(startFields); err != nil {
			return nil, err
		}
		s := &Start{
			Type:     r.text("type", MaxType),
			ID:       r.text("id", MaxID),
			Version:  uint32(r.number("version", 1<<31-1)),
			StartID:  r.text("startId", MaxID),
			Input:    r.raw("input"),
			ReplyTo:  r.text("replyTo", MaxTopic),
			Tags:     r.texts("tags", MaxTags),
			IssuedAt: r.time("issuedAt"),
		}
		if s.Input == nil {
			s.Input = []byte("{}")
		}
		if s.Input[0] != '{' {
			r.fail(malformed("input", "want a JSON object"))
		}
		if raw := r.raw("orSignal"); raw != nil && r.err == nil {
			if s.OrSignal, err = decodeOrSignal(raw); err != nil {
				return nil, err
			}
		}
		return s, r.err
	case kind == "cancel":
		if err := m.only(cancelFields); err != nil {
			return nil, err
		}
		c := &Cancel{
			Type:      r.text("type", MaxType),
			ID:        r.text("id", MaxID),
			RequestID: r.text("requestId", MaxID),
			Reason:    r.text("reason", MaxReason),
			Actor:     r.text("actor", MaxName),
			VoidTTL:   r.number("voidTtlMs", MaxTime),
		}
		return c, r.err
	case kind == "admin":
		return nil, &Error{Class: ClassUnsupported, Field: "kind", Text: "an operator action on the intake topic", Hint: "Send it to the control topic."}
	case kind == "signal":
		if err := m.only(signalFields); err != nil {
			return nil, err
		}
		s := &Signal{
			Type:     r.text("type", MaxType),
			ID:       r.text("id", MaxID),
			Name:     r.text("name", MaxSignalName),
			SignalID: r.text("signalId", MaxID),
			Payload:  r.raw("payload"),
			TTL:      r.duration("ttl"),
			Actor:    r.text("actor", MaxName),
			IssuedAt: r.time("issuedAt"),
		}
		return s, r.err
	}
	return nil, malformed("kind", `want "start", "signal" or "cancel"`)
}

// decodeOrSignal reads the signal that a start is when its instance is there.
func decodeOrSignal(raw []byte) (*Signal, error) {
	if raw[0] != '{' {
		return nil, malformed("orSignal", "want a JSON object")
	}
	m, err := readMembers(raw)
	if err != nil {
		return nil, err
	}
	if err := m.only(orSignalFields); err != nil {
		return nil, err
	}
	r := memberReader{members: m}
	s := &Signal{Name: r.text("name", MaxSignalName), SignalID: r.text("signalId", MaxID), Payload: r.raw("payload"), TTL: r.duration("ttl")}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

func decodeControlJSON(value []byte) (any, error) {
	m, err := readMembers(value)
	if err != nil {
		return nil, err
	}
	r := memberReader{members: m}
	switch kind := r.text("kind", MaxName); {
	case r.err != nil:
		return nil, r.err
	case kind == "start" || kind == "cancel" || kind == "signal":
		return nil, errNotControl()
	case kind != "admin":
		return nil, malformed("kind", `want "admin"`)
	}
	if err := m.only(adminFields); err != nil {
		return nil, err
	}
	a := &Admin{
		Type:      r.text("type", MaxType),
		ID:        r.text("id", MaxID),
		RequestID: r.text("requestId", MaxID),
		Action:    Action(r.text("action", MaxName)),
		Path:      r.text("path", MaxPath),
		Args:      r.args("args", MaxArgs),
		Operator:  r.text("operator", MaxName),
		Approver:  r.text("approver", MaxName),
		Reason:    r.text("reason", MaxReason),
		ExpectRev: uint64(r.number("expectRev", 1<<63-1)),
	}
	return a, r.err
}

// idOf returns the id of a record: that of the value, else the key without a leading "<type>/". A
// key that cannot be an id, such as a binary one, counts as none: producers may key as they like.
func idOf(typ, id string, key []byte) (string, bool) {
	if id != "" || len(key) == 0 || len(key) > MaxWorkflowID {
		return id, false
	}
	id = strings.TrimPrefix(string(key), typ+"/")
	if checkID(id) != nil {
		return "", false
	}
	return id, true
}

// fromHeaders takes the CloudEvents id as the id of the signal.
func (s *Signal) fromHeaders(h []Header) error {
	r := headerReader{hs: h}
	if id, found := r.text(HeaderCloudEventID, MaxID); found && s.SignalID == "" {
		s.SignalID = id
	}
	return r.err
}

// fromHeaders takes what a producer may say beside the value: its trace, and the CloudEvents id as
// the id of the start.
func (s *Start) fromHeaders(h []Header) error {
	r := headerReader{hs: h}
	s.Trace, _ = r.text(HeaderTraceparent, 256)
	if id, found := r.text(HeaderCloudEventID, MaxID); found && s.StartID == "" {
		s.StartID = id
	}
	return r.err
}
