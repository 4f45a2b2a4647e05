package sagas

import "strconv"

// adminStep handles the actions on one step, and those on the instance itself that a step's actions
// stand for when the path is empty.
func (m *machine) adminStep(ev *Admin) string {
	if ev.Path == "" {
		switch ev.Action {
		case AdminRetry:
			return m.retryInstance(ev)
		case AdminSkip:
			return m.skipOutput(ev)
		}
		return ignoredUnknownPath
	}
	i := m.inst.StepIndex(ev.Path)
	if i < 0 {
		return ignoredUnknownPath
	}
	switch ev.Action {
	case AdminRetry:
		return m.adminRetry(i, ev)
	case AdminRetryNewKey:
		return m.adminNewKey(i, ev)
	case AdminResolve:
		return m.adminResolve(i, ev)
	case AdminWaive:
		return m.adminWaive(i, ev)
	}
	return m.adminSkip(i, ev)
}

// retryInstance looks again at what is wrong with the instance itself.
func (m *machine) retryInstance(ev *Admin) string {
	reasons := []Reason{ReasonExpr, ReasonTooLarge, ReasonLivelock, ReasonSignals}
	any := false
	for _, r := range reasons {
		any = any || m.hasAttention("", r)
	}
	if !any {
		return ignoredNotApplicable
	}
	m.operated(ev)
	m.settle("", reasons...)
	m.advance()
	return ""
}

// skipOutput completes a saga whose output cannot be built with the output that the operator gives.
func (m *machine) skipOutput(ev *Admin) string {
	if !m.hasAttention("", ReasonExpr) && !m.hasAttention("", ReasonTooLarge) {
		return ignoredNotApplicable
	}
	output, err := m.operatorOutput(ev.Output, 0)
	if err != nil {
		return ignoredBadRequest
	}
	m.operated(ev)
	m.settle("", ReasonExpr, ReasonTooLarge)
	m.completeWith(output)
	return ""
}

// operatorOutput checks an output that an operator gives; nil is {}. has is what it replaces.
func (m *machine) operatorOutput(raw []byte, has int) ([]byte, error) {
	if len(raw) == 0 {
		return emptyObject, nil
	}
	out, err := MergeObjects(nil, raw) // canonical form
	if err == nil && (len(out) > MaxOutputBytes || m.inst.weight()+len(out)-has > maxForwardBytes) {
		err = errOutputTooLarge
	}
	return out, err
}

// adminRetry sends once more with the same key, and renews the budget.
func (m *machine) adminRetry(i int, ev *Admin) string {
	s, d := &m.inst.Steps[i], m.plan(i)
	if s.Undo != UndoNone {
		return m.retryDebt(i, ev)
	}
	if !m.forwardOpen(i) {
		return refusal(s)
	}
	switch {
	case s.Stuck: // held: look at it again
		m.operated(ev)
		s.Stuck = false
		m.settle(s.Path, ReasonExpr, ReasonTooLarge)
		if s.State == StepOpen && !d.Node.Block() {
			m.rearmWait(i)
		}
		m.advance()
		return ""
	case s.State == StepPending:
		return ignoredInFlight
	case s.State == StepOpen && m.hasAttention(s.Path, ReasonExpr): // its condition could not be judged
		m.operated(ev)
		m.settle(s.Path, ReasonExpr)
		m.lookInBuffer(i)
		m.advance()
		return ""
	case !s.mayRetry() || s.State == StepRefused:
		return ignoredNotApplicable
	case d.KeyWindow > 0 && m.now >= after(s.FirstSent, d.KeyWindow):
		if s.State != StepInquiring {
			return ignoredKeyWindow
		}
		m.operated(ev)
		m.askNow(i)
		return ""
	case s.Payload == nil:
		return ignoredInputsGone
	}
	m.operated(ev)
	m.settleStep(i)
	s.Spared, s.BudgetAt = s.Attempts, m.now
	s.Fatal = false
	s.disarm()
	m.armAlert(i)
	m.sendAgain(i)
	m.advance()
	return ""
}

// sendAgain emits the next attempt of the present round, or keeps it for the end of the suspension.
func (m *machine) sendAgain(i int) {
	s := &m.inst.Steps[i]
	if m.inst.Suspended {
		m.transitions++
		s.State = StepBackoff
		s.arm(TimerPause, OpDo, s.Round, s.Attempts, m.now)
		return
	}
	m.sendDo(i, m.key(i, OpDo, s.Round))
}

// armAlert begins the time anew after which a step that takes long asks for attention.
func (m *machine) armAlert(i int) {
	if d := m.plan(i).AlertAfter; d > 0 {
		m.inst.Steps[i].Alert = after(m.now, d)
	}
}

// armUndoAlert is armAlert for the undo.
func (m *machine) armUndoAlert(i int) {
	if u := m.plan(i).Undo; u != nil && u.AlertAfter > 0 {
		m.inst.Steps[i].Alert = after(m.now, u.AlertAfter)
	}
}

// mayRetry says whether the do of a call was sent and is not settled, or was refused.
func (s *StepState) mayRetry() bool {
	switch s.State {
	case StepBackoff, StepInquiring, StepUnknown, StepFailed, StepRefused:
		return s.Round > 0
	}
	return false
}

// forwardOpen says whether step i may still go forward: it is not resolved, and nothing around it has
// turned round.
func (m *machine) forwardOpen(i int) bool {
	return m.goesForward(i) && !m.resolved(i) && m.inst.Steps[i].State != StepAbandoned
}

// goesForward says whether the run, and every block around step i, still goes forward.
func (m *machine) goesForward(i int) bool {
	return (m.inst.Phase == Running || m.inst.Phase == Finishing) && !m.turned(i)
}

// refusal is the reason for an action on a step whose time is over.
func refusal(s *StepState) string {
	if s.State == StepPending || s.State == StepInquiring {
		return ignoredInFlight
	}
	return ignoredNotApplicable
}

// askNow puts the question at once and begins its series anew.
func (m *machine) askNow(i int) {
	s := &m.inst.Steps[i]
	if s.Timer.Kind != TimerPause {
		m.advance() // one is in flight
		return
	}
	m.settle(s.Path, ReasonUnknownOutcome, ReasonKeyWindow)
	s.disarmTimer()
	m.inquire(i)
	m.advance()
}

// retryDebt sends an undo once more with the same key.
func (m *machine) retryDebt(i int, ev *Admin) string {
	s, d := &m.inst.Steps[i], m.plan(i)
	switch s.Undo {
	case UndoOwed:
		if !s.Stuck {
			return ignoredWaits
		}
		m.operated(ev)
		s.Stuck = false
		m.settle(s.Path, ReasonExpr, ReasonTooLarge)
		m.advance()
		return ""
	case UndoPending:
		return ignoredInFlight
	case UndoInquiring:
		m.operated(ev)
		m.askNow(i)
		return ""
	case UndoBackoff, UndoStopped:
	default:
		return ignoredNotApplicable
	}
	if d.KeyWindow > 0 && m.now >= after(s.UndoSent, d.KeyWindow) {
		return ignoredKeyWindow
	}
	m.operated(ev)
	m.settleDebt(i)
	s.disarm()
	m.armUndoAlert(i)
	m.sendUndo(i)
	m.advance()
	return ""
}

// adminNewKey begins the next round of a do or an undo, with a fresh key. What the old key may have
// left behind is from then on in the hands of people.
func (m *machine) adminNewKey(i int, ev *Admin) string {
	s := &m.inst.Steps[i]
	if m.plan(i).Node != NodeCall {
		return ignoredNotApplicable
	}
	if s.Undo != UndoNone {
		switch s.Undo {
		case UndoBackoff, UndoStopped, UndoInquiring:
		case UndoPending:
			return ignoredInFlight
		case UndoOwed:
			return ignoredWaits
		default:
			return ignoredNotApplicable
		}
		m.operated(ev, KV{"round", strconv.FormatUint(uint64(s.UndoRound)+1, 10)})
		m.settleDebt(i)
		s.disarm()
		m.transitions++
		s.Undo = UndoOwed
		m.advance()
		return ""
	}
	if !m.forwardOpen(i) {
		return refusal(s)
	}
	switch {
	case s.State == StepPending:
		return ignoredInFlight
	case s.Stuck || !s.mayRetry():
		return ignoredNotApplicable
	}
	m.operated(ev, KV{"round", strconv.FormatUint(uint64(s.Round)+1, 10)})
	unsure := s.mayHaveEffect() || s.inFlight() || (s.State == StepRefused && s.Attempts > 1 && s.Code != codeNotExecuted)
	if unsure && s.Kind != ReadOnly {
		m.addResidue(i)
	}
	m.settleStep(i)
	s.disarm()
	m.transitions++
	s.State = StepReady
	s.SeenDone, s.Phantom, s.Fatal = false, false, false
	s.Code, s.Message = "", ""
	s.Attempts, s.Asked, s.Spared, s.BudgetAt = 0, 0, 0, 0
	s.Payload, s.Question, s.Record = nil, nil, UndoRecord{}
	m.advance()
	return ""
}

// earlierRound handles an answer to a round of the do before the present one: an operator sent the
// step again with a fresh key, and now the old one turns out to have taken effect as well.
func (m *machine) earlierRound(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if certainty(r) != EffectDone {
		return ignoredStale
	}
	if m.hasAttention(s.Path, ReasonTwice) {
		return ignoredDuplicate
	}
	m.fact(KindLateEffect, s.Path, KV{"round", strconv.FormatUint(uint64(r.Round), 10)})
	m.addResidue(i)
	m.raise(s.Path, ReasonTwice, "round "+strconv.FormatUint(uint64(r.Round), 10)+" took effect too, beside the one with the fresh key")
	return ""
}

// adminSkip goes on as if the step were done. One that was sent becomes DONE, so that its undo is
// owed all the same; one that was not, or has no effect for certain, becomes SKIPPED.
func (m *machine) adminSkip(i int, ev *Admin) string {
	s, d := &m.inst.Steps[i], m.plan(i)
	if !m.forwardOpen(i) || s.Undo != UndoNone {
		return refusal(s)
	}
	switch {
	case s.State == StepPending:
		return ignoredInFlight
	case s.Stuck: // held
	case s.State == StepOpen:
		if d.Node.Block() || (s.Child != "" && !m.hasAttention(s.Path, ReasonChildClosed)) {
			return ignoredNotApplicable
		}
	case !s.mayRetry():
		return ignoredNotApplicable
	}
	output, err := m.operatorOutput(ev.Output, len(s.Output))
	if err != nil {
		return ignoredBadRequest
	}
	m.operated(ev)
	m.settleStep(i)
	m.transitions++
	s.disarm()
	s.Until, s.Stuck, s.Fatal = 0, false, false
	s.Code, s.Message = "", ""
	if len(ev.Output) > 0 {
		s.Output = output
	}
	switch {
	case s.State == StepOpen:
		if s.Child != "" {
			m.addResidue(i) // what the closed child left behind
			s.Child = ""
		}
		m.leafDone(i)
	case s.Round > 0 && (s.State != StepRefused || m.owes(i)):
		s.State = StepDone
		m.dropPayload(i)
		m.fact(KindStepDone, s.Path, KV{"attempt", strconv.FormatUint(uint64(s.Attempts), 10)})
	default:
		s.State = StepSkipped
		m.dropPayload(i)
		m.fact(KindStepSkipped, s.Path)
	}
	m.advance()
	return ""
}

// settleStep takes back what asked for a person because of the do of step i.
func (m *machine) settleStep(i int) {
	m.settle(m.inst.Steps[i].Path, ReasonExpr, ReasonTooLarge, ReasonUnknownOutcome, ReasonBudgetSpent, ReasonSlow, ReasonRefused,
		ReasonKeyWindow, ReasonContradiction, ReasonLateEffect, ReasonChildClosed)
}

// settleDebt takes back what asked for a person because of the undo of step i.
func (m *machine) settleDebt(i int) {
	m.settle(m.inst.Steps[i].Path, ReasonUndoSlow, ReasonUndoFailed, ReasonUndoNoop, ReasonKeyWindow, ReasonNoUndo, ReasonLateEffect,
		ReasonExpr, ReasonTooLarge, ReasonContradiction, ReasonPhantom, ReasonChildClosed)
}
