package sagas

import (
	"strconv"
	"time"
)

// An inquiry asks what became of a do. Forward (INQUIRING) it decides between DONE and REFUSED; during
// an undo whose key window has passed (U_INQUIRING) it says whether the effect still stands.

// mayInquire says whether a spent budget leads to questions. A pivot or retriable step has no other
// way on, so it asks whenever the participant answers; the others ask when their author chose it.
func (m *machine) mayInquire(i int) bool {
	d := m.plan(i)
	if d.Inquire == nil || d.OnUnknown == UnknownAttention {
		return false
	}
	kind := m.inst.Steps[i].Kind
	return d.OnUnknown != UnknownCompensate || kind == Pivot || kind == Retriable
}

// inquire begins a series of questions.
func (m *machine) inquire(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	if s.Undo == UndoNone {
		s.State = StepInquiring
		s.Until = 0
	} else {
		s.Undo = UndoInquiring
	}
	s.AskedAt = m.now
	m.ask(i)
}

// ask emits the next question.
func (m *machine) ask(i int) {
	s, d := &m.inst.Steps[i], m.plan(i)
	if m.inst.Suspended {
		s.arm(TimerPause, OpInquire, s.Round, s.Asked, m.now)
		return
	}
	if !m.may(commandTopic(d.Topic, d.Participant), s.Path, SendAgain) {
		s.Timer = Timer{}
		return
	}
	key := m.key(i, OpInquire, s.Round)
	if with, named := d.Inquire.With, key; s.Question == nil && (with != nil || s.Payload == nil) {
		if with == nil { // the inputs of the do, which were dropped when it was resolved
			with, named = d.With, m.key(i, OpDo, s.Round)
		}
		q, err := m.render(i, with, named)
		if err != nil || len(q) > MaxPayloadBytes || m.inst.weight()+len(q) > maxForwardBytes {
			m.cannotAsk(i, err)
			return
		}
		s.Question = q
	}
	payload := s.Payload
	if s.Question != nil {
		payload = s.Question
	}
	s.Asked++
	due := after(m.now, orDefault(d.Inquire.Attempt, DefaultAttempt))
	s.arm(TimerAnswer, OpInquire, s.Round, s.Asked, due)
	name := d.Inquire.Command
	if name == "" {
		name = d.Command
	}
	m.command(i, Address{Run: m.inst.Run, Path: s.Path, Op: OpInquire, Round: s.Round, Attempt: s.Asked},
		key, m.key(i, OpDo, s.Round), d.Participant, name, d.Topic, 0, payload)
	m.fact(KindInquired, s.Path, KV{"attempt", strconv.FormatUint(uint64(s.Asked), 10)})
}

// cannotAsk: the question itself cannot be built, so the outcome stays unknown.
func (m *machine) cannotAsk(i int, err error) {
	s := &m.inst.Steps[i]
	if err != nil {
		m.raise(s.Path, ReasonExpr, "inquire.with: "+err.Error())
	} else {
		m.raise(s.Path, ReasonTooLarge, "inquire.with is too large")
	}
	if s.Undo != UndoNone {
		m.stopUndo(i, ReasonKeyWindow, "the key window has passed")
		return
	}
	m.giveUp(i, StepUnknown)
}

// askLater is row j: no answer, or "running". retryAfter in milliseconds may stretch the pause.
func (m *machine) askLater(i int, retryAfter int64) {
	s, q := &m.inst.Steps[i], m.plan(i).Inquire
	m.transitions++
	forward := s.Undo == UndoNone
	if forward && m.turned(i) { // row p: no further questions
		m.giveUp(i, StepUnknown)
		return
	}
	every := orDefault(q.Every, DefaultInquireEvery)
	if m.now >= after(s.AskedAt, orDefault(q.For, DefaultInquireFor)) {
		switch {
		case !forward:
			m.raise(s.Path, ReasonKeyWindow, "the key window has passed and the participant does not say whether the effect stands")
		case m.frozen(i):
			m.raise(s.Path, ReasonUnknownOutcome, "the participant does not say whether the step took effect")
		default:
			m.giveUp(i, StepUnknown)
			return
		}
		every = max(every, min(time.Duration(slowInquiryRate)*every, slowInquiryMax))
	}
	pause := max(millis(every), min(retryAfter, retryAfterMax.Milliseconds()))
	s.arm(TimerPause, OpInquire, s.Round, s.Asked, afterMillis(m.now, pause))
}

// askAgain: the pause between two questions is over.
func (m *machine) askAgain(i int) {
	s, q := &m.inst.Steps[i], m.plan(i).Inquire
	if s.Undo == UndoNone && !m.frozen(i) && m.now >= after(s.AskedAt, orDefault(q.For, DefaultInquireFor)) {
		m.giveUp(i, StepUnknown)
		return
	}
	m.ask(i)
}
