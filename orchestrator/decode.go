package orchestrator

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
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
	classLevel         = "FEATURE_LEVEL" // the namespace's feature level does not allow it yet
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
	later error // why it cannot be read now
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
	case *protocol.Signal:
		return p.signal(m, rec)
	}
	return faulty(protocol.ClassUnsupported, "this kind of record is not taken here yet")
}

func (p *processor) signal(m *protocol.Signal, rec *topology.Record) *input {
	wid := m.WorkflowID()
	if in := p.needs(levelFull, wid, "signals"); in != nil {
		return in
	}
	payload, err := canonicalOrNil(m.Payload)
	if err != nil {
		in := faulty(protocol.ClassMalformed, "payload: "+err.Error())
		in.wid = wid
		return in
	}
	issued := m.IssuedAt
	if issued == 0 {
		issued = rec.Timestamp.UnixMilli()
	}
	return &input{wid: wid, event: sagas.Signal{
		WorkflowID: wid, Name: m.Name, ID: m.SignalID, Actor: m.Actor, Payload: payload, IssuedAt: sagas.Time(issued), TTL: m.TTL,
	}}
}

func canonicalOrNil(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return sagas.CanonicalJSON(b)
}

// needs refuses what the namespace's feature level does not allow yet: a process of the release before
// could not read the state that comes of it.
func (p *processor) needs(level uint32, wid, what string) *input {
	if have := p.definitions.current.Load().Level(); have < level {
		in := faulty(classLevel, fmt.Sprintf("%s: the namespace is at feature level %d, and this needs %d. Raise it with amends level finalize", what, have, level))
		in.wid = wid
		return in
	}
	return nil
}

func (p *processor) start(m *protocol.Start, rec *topology.Record) *input {
	if m.NotBefore > 0 {
		return faulty(protocol.ClassUnsupported, "starts with notBefore are not taken yet")
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
	var orSignal *sagas.Signal
	if s := m.OrSignal; s != nil {
		if in := p.needs(levelBindings, wid, "a start that may be a signal"); in != nil {
			return in
		}
		payload, err := canonicalOrNil(s.Payload)
		if err != nil {
			in := faulty(protocol.ClassMalformed, "orSignal: "+err.Error())
			in.wid = wid
			return in
		}
		orSignal = &sagas.Signal{WorkflowID: wid, Name: s.Name, ID: s.SignalID, Payload: payload, IssuedAt: sagas.Time(issued), TTL: s.TTL}
	}
	start := sagas.Start{
		WorkflowID: wid, Type: m.Type, StartID: m.StartID, Input: body, IssuedAt: sagas.Time(issued),
		ReplyTo: m.ReplyTo, Tags: m.Tags, Trace: m.Trace, OrSignal: orSignal,
	}
	if start.Unfit, err = p.unfit(m.Type, m.Version, body); err != nil {
		return &input{wid: wid, later: err}
	}
	if m.Parent != nil {
		start.Parent = &sagas.Parent{WorkflowID: m.Parent.WorkflowID, Run: m.Parent.Run, Path: m.Parent.Path, Reversible: m.Parent.Reversible}
	}
	return &input{wid: wid, version: m.Version, event: start}
}

func (p *processor) decodeControl(rec *topology.Record) *input {
	if rec.Value == nil {
		return faulty(classTombstone, "a record of this topic needs a value")
	}
	msg, err := protocol.DecodeControl(rec.Key, rec.Value, p.headers)
	if err != nil {
		return faultOf(err)
	}
	switch m := msg.(type) {
	case *protocol.Admin:
		return p.admin(m)
	case *protocol.Start:
		return p.start(m, rec)
	case *protocol.Cancel:
		return &input{wid: m.WorkflowID(), event: sagas.Cancel{
			WorkflowID: m.WorkflowID(), RequestID: m.RequestID, Reason: m.Reason, Actor: m.Actor, VoidTTL: m.VoidTTL,
		}}
	case *protocol.ChildDone:
		output, err := canonicalOrNil(m.Output)
		if err != nil {
			return faulty(protocol.ClassMalformed, "output: "+err.Error())
		}
		return &input{wid: m.WorkflowID(), event: sagas.ChildDone{
			Run: m.Run, Path: m.Path, Child: m.Child, Phase: phaseOfEnd[m.End], Code: m.Code, Message: m.Message, Output: output,
		}}
	case *protocol.Reverse:
		return &input{wid: m.WorkflowID(), event: sagas.Reverse{WorkflowID: m.WorkflowID(), Parent: m.Parent, Run: m.Run, Path: m.Path}}
	case *protocol.ParentClosed:
		return &input{wid: m.WorkflowID(), event: sagas.ParentClosed{WorkflowID: m.WorkflowID(), Parent: m.Parent, Run: m.Run, Path: m.Path}}
	}
	return faulty(protocol.ClassUnsupported, "this kind of record is not taken here yet")
}

// phaseOfEnd is the phase in which a child ended; a start that was rejected has none.
var phaseOfEnd = map[protocol.End]sagas.Phase{
	protocol.EndCompleted: sagas.Completed, protocol.EndCompensated: sagas.Compensated, protocol.EndClosed: sagas.Closed,
}

func (p *processor) admin(m *protocol.Admin) *input {
	wid := m.WorkflowID()
	if m.Action != protocol.ActionClose {
		if in := p.needs(levelFull, wid, "the action "+string(m.Action)); in != nil {
			return in
		}
	}
	request := m.RequestID
	if p.definitions.current.Load().Level() < levelFull {
		request = "" // an instance that remembers requests has a record that level 1 cannot read
	}
	a := sagas.Admin{
		Action: sagas.AdminAction(m.Action), Path: m.Path, RequestID: request, Operator: m.Operator,
		Reason: m.Reason, ExpectRev: m.ExpectRev, Effect: sagas.Certainty(m.Args[protocol.ArgEffect]), By: m.By(),
	}
	var err error
	if a.Output, err = canonicalOrNil([]byte(m.Args[protocol.ArgOutput])); err == nil && m.Action == protocol.ActionSignal {
		// The operator is the actor: a front end that lets people decide sends their names.
		a.Signal = &sagas.Signal{WorkflowID: wid, Name: m.Args[protocol.ArgName], ID: m.Args[protocol.ArgSignalID], Actor: m.Operator}
		a.Signal.Payload, err = canonicalOrNil([]byte(m.Args[protocol.ArgPayload]))
	}
	if err != nil {
		in := faulty(protocol.ClassMalformed, "args: "+err.Error())
		in.wid = wid
		return in
	}
	return &input{wid: wid, event: a}
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
		output, err = p.replyValue(rec)
	}
	if errors.Is(err, schema.ErrUnavailable) {
		return &input{wid: token.WorkflowID, later: err}
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
