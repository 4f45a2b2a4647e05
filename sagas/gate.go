package sagas

import "slices"

// Sending says what would go to a topic.
type Sending uint8

const (
	SendFirst  Sending = iota + 1 // the first command of a step or of its undo
	SendAgain                     // another attempt, or a question
	SendEvent                     // a domain event
	SendResult                    // the answer to a start
)

// Gate says whether something may be sent to a topic of others now. It is asked right before each
// sending, and a yes is followed by the sending. It must not change its mind about a no within one Step.
type Gate func(topic string, what Sending) bool

// StepGated is Step for a runtime that may not send to every topic at every moment. What may not be
// sent is not sent: the instance stays where it is, and a Waits effect names the topic. The runtime
// remembers it in the same transaction and sends a Released event once it may.
//
//	      what            while it waits                   Released
//	do    first           READY                            inputs are taken and it is sent now
//	do    again           BACKOFF without a timer          sent, unless within or the key window has passed
//	undo  first           OWED                             sent
//	undo  again           U_BACKOFF without a timer        sent, unless the key window has passed
//	inquire               INQUIRING, U_INQUIRING without   asked, unless the time for questions has passed
//	                      a timer
//	emit                  READY                            published
//	result                the end, not answered            answered
//
// What was never sent has no clock: the time of an attempt begins when it is sent, and a step that
// waits for its first sending is never unknown: a cancel or a deadline abandons it, without an undo.
// Of a step that was sent before, within and the key window go on: another participant's memory does
// not stand still. They are looked at when it is released. Deadlines, leases and conditions are
// judged when something is sent, as always.
func StepGated(p *Plan, inst *Instance, ev Event, now Time, gate Gate) (*Instance, []Effect) {
	m := &machine{p: p, given: p, now: min(max(now, 0), maxTime), gate: gate}
	return m.step(inst, ev)
}

// Released tells that what waits for Topic may be sent.
type Released struct{ Topic string }

// Waits says that the instance has something for Topic that may not be sent. Path is the step, ""
// for the result. A Step names each topic once.
type Waits struct{ Topic, Path string }

func (Released) event() {}
func (Waits) effect()   {}

// may asks the gate, and notes a no.
func (m *machine) may(topic, path string, what Sending) bool {
	if m.gate == nil {
		return true
	}
	noted := slices.ContainsFunc(m.effects, func(e Effect) bool {
		w, ok := e.(Waits)
		return ok && w.Topic == topic
	})
	if !noted && m.gate(topic, what) {
		return true
	}
	if !noted {
		m.effects = append(m.effects, Waits{Topic: topic, Path: path})
	}
	return false
}

// mayBegin asks for what a READY step would send.
func (m *machine) mayBegin(i int) bool {
	s, d := &m.inst.Steps[i], m.plan(i)
	switch d.Node {
	case NodeCall:
		return m.may(commandTopic(d.Topic, d.Participant), s.Path, SendFirst)
	case NodeEmit:
		return m.may(d.Emit.Topic, s.Path, SendEvent)
	}
	return true
}

// mayUndo asks for the undo of step i.
func (m *machine) mayUndo(i int, what Sending) bool {
	s := &m.inst.Steps[i]
	if s.Child != "" {
		return true
	}
	topic, participant := s.Record.Topic, s.Record.Participant
	if u := m.plan(i).Undo; u != nil && !s.Record.Set() {
		topic, participant = u.Topic, u.Participant
	}
	return m.may(commandTopic(topic, participant), s.Path, what)
}

// released sends what waits, if it may. Whatever waits without a timer waits for this event.
func (m *machine) released() string {
	if m.inst == nil {
		return ignoredUnknownInstance
	}
	if m.inst.Phase.Terminal() {
		before := m.inst.Answered
		m.result()
		if m.inst.Answered == before && len(m.effects) == 0 {
			return ignoredStale
		}
		return ""
	}
	if !m.inst.Phase.Active() {
		return ignoredNotActive
	}
	if m.p == nil {
		return ignoredUnknownDefinition
	}
	before := m.transitions
	for i := 0; i < len(m.inst.Steps) && !m.inst.Suspended; i++ {
		s := &m.inst.Steps[i]
		if s.Timer != (Timer{}) {
			continue
		}
		switch {
		case s.Undo == UndoBackoff:
			m.transitions++
			m.resendUndo(i)
		case s.Undo == UndoInquiring, s.State == StepInquiring && s.Undo == UndoNone:
			m.transitions++
			m.askAgain(i)
		case s.State == StepBackoff && s.Undo == UndoNone:
			m.transitions++
			m.resendDo(i)
		}
	}
	m.advance()
	if m.transitions == before && len(m.effects) == 0 {
		return ignoredStale
	}
	return ""
}

// commandTopic is where the commands of a participant go.
func commandTopic(topic, participant string) string {
	if topic == "" {
		return DefaultCommandTopicStart + participant
	}
	return topic
}

// Waiting lists what of the instance may wait for a topic to open: what it would send next without a
// timer, and the result that was not given. Whether a topic is shut only the runtime knows.
func (i *Instance) Waiting(p *Plan) (list []Waits) {
	if i.Phase.Terminal() && i.ReplyTo != "" && i.Answered != i.Phase {
		return []Waits{{Topic: i.ReplyTo}}
	}
	if p == nil || !i.Phase.Active() || !pinned(i, p) {
		return nil
	}
	m := &machine{p: p, inst: i}
	for k := range i.Steps {
		s, d := &i.Steps[k], m.plan(k)
		switch {
		case s.Stuck, s.Timer != (Timer{}):
		case s.Undo == UndoOwed || s.Undo == UndoBackoff:
			if topic, participant := s.Record.Topic, s.Record.Participant; s.Record.Set() {
				list = append(list, Waits{Topic: commandTopic(topic, participant), Path: s.Path})
			}
		case s.Undo == UndoInquiring, s.Undo == UndoNone && (s.State == StepInquiring || s.State == StepBackoff || s.State == StepReady && d.Node == NodeCall):
			list = append(list, Waits{Topic: commandTopic(d.Topic, d.Participant), Path: s.Path})
		case s.State == StepReady && d.Node == NodeEmit:
			list = append(list, Waits{Topic: d.Emit.Topic, Path: s.Path})
		}
	}
	return list
}
