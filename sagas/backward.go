package sagas

import "strconv"

// compensate turns the saga round (rows 8, 9 and 12) and starts the drain (row p): no new do, no
// retries; what is in flight may answer for a while.
func (m *machine) compensate(cause Cause) {
	m.needWhole()
	inst := m.inst
	m.transitions++
	inst.Phase = Compensating
	inst.Cause = cause
	inst.Deadline = 0
	inst.FinishedAs = ""
	m.fact(KindCompensating, cause.Path, KV{"message", cause.Message})
	m.settle("", ReasonDeadline)
	m.settleCancels(KindCancelAcked, KV{"status", Compensating.String()})
	until := after(m.now, drainMax)
	for i := range inst.Steps {
		m.halt(i, until)
	}
}

// backward finds what is owed, sends each undo as soon as no step that depends on it is in debt, and
// ends the saga when nothing is left. It walks the plan from its end: the plan order is topological,
// so every dependent of a step has been looked at before the step.
func (m *machine) backward() {
	var small [64]bool
	var below []bool // below[i]: step i or one that depends on it is in debt
	if n := len(m.inst.Steps); n <= len(small) {
		below = small[:n]
	} else {
		below = make([]bool, n)
	}
	open := false
	for i := len(m.inst.Steps) - 1; i >= 0; i-- {
		s := &m.inst.Steps[i]
		waits := false
		for _, d := range m.plan(i).Dependents {
			waits = waits || below[d]
		}
		if s.Undo == UndoNone && !s.inFlight() && m.owes(i) { // row q
			s.Undo = UndoOwed
			m.transitions++
		}
		if s.Undo == UndoOwed && !s.Stuck && !waits && !m.inst.Suspended && m.mayUndo(i, SendFirst) { // row r
			m.sendFirstUndo(i)
		}
		debt := m.inDebt(i)
		if debt && s.Undo == UndoNone && !s.inFlight() {
			m.raise(s.Path, ReasonNoUndo, "the step took effect, or may have, and has no undo")
		}
		below[i] = waits || debt
		open = open || debt
	}
	if !open && !m.inst.Suspended {
		m.compensated() // row 15
	}
}

// owes says whether an undo of step i is due once the saga compensates and the step is not in flight.
func (m *machine) owes(i int) bool {
	s := &m.inst.Steps[i]
	if m.plan(i).Node == NodeSaga {
		return m.owesChild(i)
	}
	if m.plan(i).Undo == nil && !s.Record.Set() {
		return false
	}
	switch s.State {
	case StepDone, StepUnknown, StepFailed:
		return true
	case StepRefused:
		return s.Attempts > 1 || s.SeenDone
	}
	return s.SeenDone
}

// inDebt says whether step i keeps the saga from being compensated. An effect of a pivot or a
// retriable step that no undo can take back does too: a person has to close it.
func (m *machine) inDebt(i int) bool {
	s := &m.inst.Steps[i]
	if m.inFlight(i) {
		return true
	}
	if s.Undo != UndoNone {
		return !s.Undo.settled()
	}
	return m.owes(i) || s.unpayable()
}

// unpayable says whether the step has, or may have, an effect that its kind does not allow to leave
// behind. It matters only where there is no undo.
func (s *StepState) unpayable() bool {
	if s.Kind != Pivot && s.Kind != Retriable {
		return false
	}
	return s.SeenDone || s.State == StepDone || s.State == StepUnknown || s.State == StepFailed
}

// openDebts counts the steps that still keep the saga from being compensated.
func (m *machine) openDebts() int {
	m.needWhole()
	n := 0
	for i := range m.inst.Steps {
		if m.inDebt(i) {
			n++
		}
	}
	return n
}

// settled says whether nothing is owed any more.
func (u UndoStatus) settled() bool { return u == UndoUndone || u == UndoNoop || u == UndoWaived }

// sendFirstUndo begins a round of undo: the first, or the one after "nothing to undo" of a step that
// was done after all.
func (m *machine) sendFirstUndo(i int) {
	s, u := &m.inst.Steps[i], m.plan(i).Undo
	key := m.key(i, OpUndo, s.UndoRound+1)
	if s.Child == "" && !s.Record.Set() && !m.lateRecord(i) {
		return
	}
	if u != nil && u.With != nil {
		payload, err := m.render(i, u.With, key)
		switch {
		case err != nil: // what was taken when the do was sent still does
			m.raise(s.Path, ReasonExpr, "undo.with: "+err.Error())
		case len(payload) > MaxPayloadBytes || m.inst.weight()+len(payload) > maxUndoBytes:
			m.raise(s.Path, ReasonTooLarge, "undo.with takes "+strconv.Itoa(len(payload))+" bytes")
		default:
			s.Record.Payload = payload
		}
	}
	s.UndoRound++
	s.UndoAttempts = 0
	s.UndoSent = m.now
	switch {
	case s.Child != "":
		s.Alert = after(m.now, childAlert)
	case u != nil && u.AlertAfter > 0:
		s.Alert = after(m.now, u.AlertAfter)
	}
	m.sendUndo(i)
}

// lateRecord takes the undo record of a step that this record never sent, but whose do took effect
// all the same (row n). It says whether there is one now.
func (m *machine) lateRecord(i int) bool {
	s, d := &m.inst.Steps[i], m.plan(i)
	forward := m.key(i, OpDo, 1)
	payload, err := m.render(i, d.With, forward)
	if err == nil {
		s.Record, err = m.undoRecord(i, forward, payload)
	}
	if err != nil {
		m.hold(i, ReasonExpr, "undo of a step that was never sent: "+err.Error())
		return false
	}
	return true
}

// sendUndo emits the next attempt of the round. An undo has no deadline: it never comes too late.
func (m *machine) sendUndo(i int) {
	s, d := &m.inst.Steps[i], m.plan(i)
	m.transitions++
	if m.inst.Suspended {
		s.Undo = UndoBackoff
		s.arm(TimerPause, OpUndo, s.UndoRound, s.UndoAttempts, m.now)
		return
	}
	if s.UndoAttempts > 0 && !m.mayUndo(i, SendAgain) {
		s.Undo = UndoBackoff
		s.Timer = Timer{}
		return
	}
	s.Undo = UndoPending
	s.UndoAttempts++
	attempt := DefaultAttempt
	switch {
	case s.Child != "":
		attempt = childAttempt
	case d.Undo != nil:
		attempt = orDefault(d.Undo.Attempt, DefaultAttempt)
	}
	s.arm(TimerAnswer, OpUndo, s.UndoRound, s.UndoAttempts, after(m.now, attempt))
	if s.Child != "" {
		m.reverseChild(i)
	} else {
		m.command(i, Address{Run: m.inst.Run, Path: s.Path, Op: OpUndo, Round: s.UndoRound, Attempt: s.UndoAttempts},
			m.key(i, OpUndo, s.UndoRound), s.Record.ForwardKey, s.Record.Participant, s.Record.Command, s.Record.Topic, 0, s.Record.Payload)
	}
	m.fact(KindUndoSent, s.Path, KV{"attempt", strconv.FormatUint(uint64(s.UndoAttempts), 10)},
		KV{"round", strconv.FormatUint(uint64(s.UndoRound), 10)})
}

// retryUndo is row l: there is no limit of attempts.
func (m *machine) retryUndo(i int, retryAfter int64) {
	s := &m.inst.Steps[i]
	m.transitions++
	var retry Retry
	if u := m.plan(i).Undo; u != nil {
		retry = u.Retry
	}
	pause := backoff(&retry, s.UndoAttempts, jitterSeed(m.inst.WorkflowID, s.Path, OpUndo, s.UndoRound, s.UndoAttempts))
	pause = max(pause, min(retryAfter, retryAfterMax.Milliseconds()))
	s.Undo = UndoBackoff
	s.arm(TimerPause, OpUndo, s.UndoRound, s.UndoAttempts, afterMillis(m.now, pause))
}

// resendUndo is row l: the pause is over. After the key window a blind undo could pay twice.
func (m *machine) resendUndo(i int) {
	s, d := &m.inst.Steps[i], m.plan(i)
	if d.KeyWindow > 0 && m.now >= after(s.UndoSent, d.KeyWindow) {
		if d.Inquire != nil && s.Round > 0 {
			m.inquire(i)
			return
		}
		m.stopUndo(i, ReasonKeyWindow, "the key window has passed: another undo could pay twice")
		return
	}
	m.sendUndo(i)
}

// stopUndo ends the automatic retries. The debt keeps its place.
func (m *machine) stopUndo(i int, reason Reason, text string) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.Undo = UndoStopped
	s.disarm()
	m.raise(s.Path, reason, text)
}

// undone ends the debt of step i: UNDONE or UNDO_NOOP (row k).
func (m *machine) undone(i int, status UndoStatus) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.Undo = status
	s.disarm()
	s.Payload, s.Question = nil, nil
	if status == UndoUndone {
		s.Record = UndoRecord{} // an UNDO_NOOP may have to be undone after all
	}
	m.fact(KindStepUndone, s.Path, KV{"noop", strconv.FormatBool(status == UndoNoop)})
	m.settle(s.Path, ReasonUndoSlow, ReasonUndoFailed, ReasonUndoNoop, ReasonKeyWindow, ReasonLateEffect, ReasonExpr, ReasonTooLarge)
}

// foundNothing handles "nothing to undo" of a do that is known to have taken effect (row k): one more
// round with a fresh key, then a person.
func (m *machine) foundNothing(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	if s.UndoRound >= undoRoundsMax {
		m.stopUndo(i, ReasonUndoNoop, "the step took effect, but its undo found nothing to undo")
		return
	}
	s.Undo = UndoOwed
	s.disarm()
	m.fact(KindLateEffect, s.Path, KV{"undoRound", strconv.FormatUint(uint64(s.UndoRound), 10)})
}
