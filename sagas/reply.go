package sagas

import (
	"fmt"
	"strconv"
)

// reply handles a participant's answer. First it is matched to the step and the operation that it
// answers; what then happens depends on the operation.
func (m *machine) reply(r *Reply) string {
	if r.Outcome == OutcomeBadReply { // row o
		m.deadLetter(ClassBadReply, "the reply to "+r.Op.String()+" of "+r.Path+" cannot be read: "+r.Message)
	}
	inst := m.inst
	if inst == nil || inst.Phase == Parked || inst.Phase == Void || inst.Phase == Marker {
		m.orphan(r, "no run remembers this step")
		return ignoredUnknownInstance
	}
	if m.p == nil {
		m.deadLetter(ClassUnknownDefinition, "the definition of "+inst.WorkflowID+" is not known here")
		return ignoredUnknownDefinition
	}
	if r.Run != inst.Run {
		m.orphan(r, "the reply is for run "+strconv.FormatUint(uint64(r.Run), 10))
		return ignoredWrongRun
	}
	i := inst.StepIndex(r.Path)
	if i < 0 {
		return m.replyToNone(r)
	}
	switch r.Op {
	case OpDo:
		return m.doReply(i, r)
	case OpUndo:
		return m.undoReply(i, r)
	case OpInquire:
		return m.inquireReply(i, r)
	}
	return ignoredUnknownEvent
}

// replyToNone handles an answer for a path that the instance does not have. It may be that of a round
// which was forgotten: then its step was definite, and only news of an effect that an undo would have
// to take back matters.
func (m *machine) replyToNone(r *Reply) string {
	m.needWhole()
	node, ok := m.forgotten(r.Path)
	switch {
	case !ok:
		m.orphan(r, "the definition has no such step")
		return ignoredUnknownPath
	case m.p.Steps[node].Undo == nil:
		return ignoredDuplicate
	}
	m.orphan(r, "its round is over")
	return ignoredStale
}

// orphan keeps a reply that tells of an effect which no instance answers for.
func (m *machine) orphan(r *Reply, why string) {
	if r.Op != OpUndo && certainty(r) == EffectDone {
		m.deadLetter(ClassOrphanReply, "step "+r.Path+" took effect, but "+why)
	}
}

// certainty is what the reply says about the effect: stated, or the default of its outcome.
func certainty(r *Reply) Certainty {
	switch r.Outcome {
	case OutcomeOK, OutcomeExecuted:
		return EffectDone // whatever else is stated
	case OutcomeNotExecuted:
		return EffectNone
	case OutcomeBadReply:
		return EffectUnknown
	}
	if r.Effect != EffectDefault {
		return r.Effect
	}
	if r.Outcome == OutcomeRejected {
		return EffectNone
	}
	return EffectUnknown
}

// doReply handles an answer to a do.
func (m *machine) doReply(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Round > 0 && r.Round < s.Round && r.Attempt > 0 {
		return m.earlierRound(i, r)
	}
	if r.Attempt == 0 || r.Round != s.Round || r.Attempt > s.Attempts {
		return m.phantom(i, r) // row n
	}
	effect := certainty(r)
	refusal := effect == EffectNone && (r.Outcome == OutcomeRejected || r.Outcome == OutcomeFailedFatal)
	if r.Outcome == OutcomeOK || refusal {
		return m.definite(i, r, r.Outcome == OutcomeOK)
	}
	if s.State != StepPending && s.State != StepBackoff {
		return stale(s)
	}
	if r.Attempt != s.Attempts { // row i: only definite answers of older attempts decide something
		return m.readLate(i, r)
	}
	switch r.Outcome {
	case OutcomeProgress:
		return m.progress(i, r)
	case OutcomeFailedFatal, OutcomeRejected: // row f; a rejection that leaves something behind is none
		m.blame(s, r)
		s.Fatal = true
		s.SeenDone = s.SeenDone || effect == EffectDone
		if !m.turned(i) && m.mayInquire(i) {
			s.disarmTimer()
			m.inquire(i)
		} else {
			m.giveUp(i, StepFailed)
		}
	case OutcomeFailedRetriable, OutcomeBadReply: // row e
		if s.State != StepPending {
			return ignoredStale
		}
		m.blame(s, r)
		s.SeenDone = s.SeenDone || effect == EffectDone
		m.retryDo(i, s.Code, r.RetryAfter)
	default:
		return ignoredUnknownEvent
	}
	m.advance()
	return ""
}

// definite handles an answer that settles what became of the do, given to whichever attempt: ok,
// executed, or a refusal without effect. One key has one outcome.
func (m *machine) definite(i int, r *Reply, done bool) string {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepDone: // row m
		if done {
			return ignoredDuplicate
		}
		return m.contradiction(i, r)
	case StepRefused: // row m
		if !done {
			return ignoredDuplicate
		}
		if s.SeenDone && m.hasAttention(s.Path, ReasonContradiction) {
			return ignoredDuplicate
		}
		if m.inst.Phase.Terminal() {
			return m.lateDone(i, r)
		}
		s.SeenDone = true
		m.keep(i, r.Output)
		m.contradicted(i, "ok after "+StepRefused.String())
		m.revisit(i)
		m.advance()
		return ""
	}
	if m.inst.Phase.Terminal() {
		if done {
			return m.lateDone(i, r)
		}
		return ignoredStale
	}
	if s.State == StepSkipped && !done {
		return ignoredStale // an operator went on without it
	}
	if done { // rows c, i and j
		m.succeed(i, r.Output)
		m.revisit(i)
	} else { // rows d, i and j
		m.refuse(i, r.Code, r.Message)
		m.release(i)
	}
	m.advance()
	return ""
}

// release ends a debt that turned out to be none: the only attempt had no effect. An undo that is
// under way has nothing to find, so nothing waits for it any more.
func (m *machine) release(i int) {
	s := &m.inst.Steps[i]
	switch {
	case m.owes(i) || s.Undo == UndoNone || s.Undo.settled():
	case s.UndoRound == 0:
		s.Undo = UndoNone
	default:
		m.undone(i, UndoNoop)
	}
}

// revisit looks again at an undo that already found nothing, now that the do is known to be done.
func (m *machine) revisit(i int) {
	if !m.turned(i) {
		return
	}
	if m.inst.Steps[i].Undo == UndoNoop {
		m.foundNothing(i)
	}
	m.rouse(i)
}

// progress is row g.
func (m *machine) progress(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	merged := m.handle(i, r.Handle)
	if s.State != StepPending || m.turned(i) { // the attempt's time is over
		if !merged {
			return ignoredStale
		}
		return ""
	}
	// With heartbeats the attempt keeps its end, without them a sign of life extends it.
	end := s.Until
	if end == 0 {
		end = m.attemptEnd(i)
	}
	s.arm(TimerAnswer, OpDo, s.Round, s.Attempts, m.silenceEnd(i, end))
	return ""
}

// handle merges the fields of a progress reply into the output, for the sake of the undo.
func (m *machine) handle(i int, handle []byte) bool {
	s := &m.inst.Steps[i]
	if len(handle) == 0 {
		return false
	}
	merged, err := MergeObjects(nil, handle) // canonical form
	if err == nil {
		merged, err = m.merge(s.Output, merged)
	}
	if err != nil {
		return m.raise(s.Path, ReasonOutput, "handle: "+err.Error())
	}
	if string(merged) == string(s.Output) {
		return false
	}
	s.Output = merged
	return true
}

// contradiction handles a refusal of a step that is done: row m.
func (m *machine) contradiction(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if m.hasAttention(s.Path, ReasonContradiction) {
		return ignoredDuplicate
	}
	m.contradicted(i, string(r.Outcome)+" after "+StepDone.String())
	return ""
}

// contradicted reports two definite answers for one key.
func (m *machine) contradicted(i int, what string) {
	s := &m.inst.Steps[i]
	m.fact(KindContractViolation, s.Path, KV{"code", what})
	m.raise(s.Path, ReasonContradiction, "two answers that disagree: "+what)
}

// blame keeps what a failing answer said.
func (m *machine) blame(s *StepState, r *Reply) {
	s.Code, s.Message = clip(m.clean(r.Code), maxCode), clip(m.clean(r.Message), maxMessage)
	if r.Outcome == OutcomeBadReply {
		s.Code = ClassBadReply
	}
}

// stale is the reason for an answer that comes after the step's forward state was settled.
func stale(s *StepState) string {
	if s.State == StepDone || s.State == StepRefused {
		return ignoredDuplicate
	}
	return ignoredStale
}

// disarmTimer drops the driving timer and keeps the alert.
func (s *StepState) disarmTimer() { s.Timer = Timer{} }

var errOutputTooLarge = fmt.Errorf("over %d bytes, or the record is full", MaxOutputBytes)

// merge adds the fields of b to a, both canonical, within the limits of one step and of the record.
func (m *machine) merge(a, b []byte) ([]byte, error) {
	out := b
	if len(a) > 0 {
		var err error
		if out, err = MergeObjects(a, b); err != nil {
			return nil, err
		}
	}
	if len(out) > MaxOutputBytes || m.inst.weight()+len(out)-len(a) > maxForwardBytes {
		return nil, errOutputTooLarge
	}
	return out, nil
}
