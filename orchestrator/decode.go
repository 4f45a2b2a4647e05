package orchestrator

import (
	"errors"
	"unicode/utf8"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Stages of the walk, as dead letters name them.
const (
	stageRoute   = "route"
	stageDecode  = "decode"
	stageAdvance = "advance"
	stageStage   = "stage"
)

// Classes of dead letters beside those of package protocol and those that the machine names.
const (
	classTombstone     = "TOMBSTONE"     // a record without a value where one is needed
	classMisrouted     = "MISROUTED"     // forwarded once and still on the wrong partition
	classNoID          = "NO_ID"         // neither the value nor the definition gives an id
	classTooLarge      = "TOO_LARGE"     // the instance or its outputs would not fit into a record
	classUndeliverable = "UNDELIVERABLE" // Kafka refuses an output, e.g. because its topic is missing
	classPanic         = "PANIC"         // a fault of ours
	classFailed        = "FAILED"        // anything else
)

// fault says why a record is set aside.
type fault struct{ stage, class, message string }

// input is one record after decoding: an event for the instance wid, or a fault.
type input struct {
	wid   string
	event sagas.Event
	fault *fault
	// version is what a start asks for; 0 is the active one.
	version uint32
}

// Decode reads the envelope of one record. It never fails: what is wrong becomes a fault.
func (p *processor) Decode(rec *topology.Record) (msg any, key []byte) {
	in := p.decode(rec)
	if in.wid == "" {
		return in, nil
	}
	return in, []byte(in.wid)
}

func (p *processor) decode(rec *topology.Record) *input {
	if len(rec.Value) > protocol.MaxRecordBytes {
		return faulty(protocol.ClassTooLarge, "the value is larger than 1 MiB")
	}
	p.headers = p.headers[:0]
	for i := range rec.Headers {
		p.headers = append(p.headers, protocol.Header(rec.Headers[i]))
	}
	switch rec.Topic {
	case p.topics.Replies:
		return p.decodeReply(rec)
	case p.topics.Intake:
		return p.decodeIntake(rec)
	default:
		return p.decodeControl(rec)
	}
}

func (p *processor) decodeIntake(rec *topology.Record) *input {
	if rec.Value == nil {
		return faulty(classTombstone, "a record of this topic needs a value")
	}
	msg, err := protocol.DecodeIntake(rec.Key, rec.Value, p.headers)
	if err != nil {
		return faultOf(err)
	}
	switch m := msg.(type) {
	case *protocol.Start:
		return p.start(m, rec)
	case *protocol.Cancel:
		return &input{wid: m.WorkflowID(), event: sagas.Cancel{
			WorkflowID: m.WorkflowID(), RequestID: m.RequestID, Reason: m.Reason, Actor: m.Actor, VoidTTL: m.VoidTTL,
		}}
	}
	return faulty(protocol.ClassUnsupported, "this kind of record is not taken here yet")
}

func (p *processor) start(m *protocol.Start, rec *topology.Record) *input {
	if m.Parent != nil || m.NotBefore > 0 {
		return faulty(protocol.ClassUnsupported, "starts with a parent or notBefore are not taken yet")
	}
	if ownTopic(p.cfg.Namespace, m.ReplyTo) {
		// Whoever may start a saga must not be able to write to the state topic through it.
		in := faulty(sagas.ClassInvalidInput, "replyTo names a topic of the engine")
		in.wid = m.WorkflowID()
		return in
	}
	body, err := sagas.CanonicalJSON(m.Input)
	if err != nil {
		in := faulty(sagas.ClassInvalidInput, "the input is not a JSON object that can be taken: "+err.Error())
		in.wid = m.WorkflowID()
		return in
	}
	id := m.ID
	// The key of the record is only the id of last resort: a definition that makes the id itself
	// makes the same one for every producer.
	if id == "" || m.IDFromKey {
		plan, _ := p.definitions.current.Load().resolve(m.Type, m.Version)
		switch {
		case plan != nil && plan.ID != nil:
			made, err := plan.ID.String(sagas.InputOnly(body))
			if err != nil || made == "" || len(made) > protocol.MaxID || !utf8.ValidString(made) {
				return faulty(sagas.ClassInvalidInput, "the definition's id expression makes no usable id of this input")
			}
			id = made
		case id == "" && plan == nil:
			return faulty(sagas.ClassUnknownDefinition, "the record has no id, and no definition is known that makes one")
		case id == "":
			return faulty(classNoID, "the record has no id, and the definition makes none")
		}
	}
	issued := m.IssuedAt
	if issued == 0 {
		issued = rec.Timestamp.UnixMilli()
	}
	wid := m.Type + "/" + id
	return &input{wid: wid, version: m.Version, event: sagas.Start{
		WorkflowID: wid, Type: m.Type, StartID: m.StartID, Input: body, IssuedAt: sagas.Time(issued),
		ReplyTo: m.ReplyTo, Tags: m.Tags, Trace: m.Trace,
	}}
}

func (p *processor) decodeControl(rec *topology.Record) *input {
	if rec.Value == nil {
		return faulty(classTombstone, "a record of this topic needs a value")
	}
	m, err := protocol.DecodeControl(rec.Key, rec.Value, p.headers)
	if err != nil {
		return faultOf(err)
	}
	if m.Action != protocol.ActionClose {
		in := faulty(protocol.ClassUnsupported, "this action is not taken yet: "+string(m.Action))
		in.wid = m.WorkflowID()
		return in
	}
	return &input{wid: m.WorkflowID(), event: sagas.Admin{
		Action: sagas.AdminAction(m.Action), Path: m.Path, RequestID: m.RequestID, Operator: m.Operator,
		Reason: m.Reason, ExpectRev: m.ExpectRev,
	}}
}

// decodeReply reads an answer of a participant. A readable token is enough to tell the machine that
// something came: a reply that is broken otherwise must not turn into a silent timeout.
func (p *processor) decodeReply(rec *topology.Record) *input {
	r, err := protocol.ParseReply(p.headers)
	if r.Token == "" {
		if err == nil {
			return faulty(protocol.ClassBadToken, "the reply carries no token")
		}
		return faultOf(err)
	}
	token, tokenErr := protocol.DecodeToken(r.Token, p.cfg.TokenSecret)
	if tokenErr != nil {
		return faultOf(tokenErr)
	}
	reply := sagas.Reply{Address: addressOf(token)}
	var output []byte
	if err == nil && len(rec.Value) > 0 {
		output, err = sagas.CanonicalJSON(rec.Value)
	}
	if err != nil {
		reply.Outcome, reply.Code, reply.Message = sagas.OutcomeBadReply, sagas.ClassBadReply, messageOf(err)
		return &input{wid: token.WorkflowID, event: reply} // the machine asks for the dead letter
	}
	reply.Outcome, reply.Effect = sagas.Outcome(r.Outcome), sagas.Certainty(r.Effect)
	reply.Code, reply.Message, reply.RetryAfter = r.Code, r.Message, r.RetryAfter
	reply.Noop, reply.Replayed = r.Noop, r.Replayed
	if reply.Outcome == sagas.OutcomeProgress {
		reply.Handle = output
	} else {
		reply.Output = output
	}
	return &input{wid: token.WorkflowID, event: reply}
}

func addressOf(t protocol.Token) sagas.Address {
	return sagas.Address{Run: t.Run, Path: t.Path, Op: opOf(t.Op), Round: t.Round, Attempt: t.Attempt}
}

func opOf(op protocol.Op) sagas.Op {
	switch op {
	case protocol.OpDo:
		return sagas.OpDo
	case protocol.OpUndo:
		return sagas.OpUndo
	}
	return sagas.OpInquire
}

func faulty[C ~string](class C, message string) *input {
	return &input{fault: &fault{stageDecode, string(class), message}}
}

// faultOf turns an error of package protocol into a fault.
func faultOf(err error) *input {
	var pe *protocol.Error
	if errors.As(err, &pe) {
		return faulty(pe.Class, messageOf(err))
	}
	return faulty(protocol.ClassMalformed, err.Error())
}

func messageOf(err error) string {
	var pe *protocol.Error
	if !errors.As(err, &pe) {
		return err.Error()
	}
	s := pe.Text
	if pe.Field != "" {
		s = pe.Field + ": " + s
	}
	if pe.Hint != "" {
		s += ". " + pe.Hint
	}
	return s
}
