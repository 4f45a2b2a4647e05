package sagas

// timers fires every timer that is due, in the order of (due, plan order): first the instance's own,
// then per step the one that drives it and the alert. A timer that the firing of another arms for a
// moment that has passed already fires too.
func (m *machine) timers() string {
	if m.inst == nil {
		return ignoredUnknownInstance
	}
	if m.inst.Phase.Active() && m.p == nil {
		return ignoredUnknownDefinition
	}
	fired := 0
	for ; !m.dropped; fired++ {
		fire := m.earliest()
		if fire == nil {
			break
		}
		if fired >= maxTransitions {
			m.raise("", ReasonLivelock, "timers fire without end")
			break
		}
		fire()
		if m.inst.Phase.Active() {
			m.advance()
		}
	}
	if fired == 0 {
		return ignoredStale
	}
	return ""
}

// earliest finds the timer to fire next; nil = none is due.
func (m *machine) earliest() (fire func()) {
	inst := m.inst
	due := m.now + 1
	pick := func(at Time, f func()) {
		if at != 0 && at < due {
			due, fire = at, f
		}
	}
	pick(inst.Deadline, m.fireDeadline)
	pick(inst.Expires, m.fireExpires)
	if len(inst.Signals) > 0 {
		pick(inst.signalsDue(), m.expireSignals)
	}
	for i := range inst.Steps {
		s := &inst.Steps[i]
		if s.Timer.Due != 0 && s.Timer.Due < due && !inst.still(&s.Timer) {
			pick(s.Timer.Due, func() { m.fireStep(i) })
		}
		if s.Alert != 0 && s.Alert < due {
			pick(s.Alert, func() { m.fireAlert(i) })
		}
	}
	return fire
}

// still says whether a timer stands still: it would send something, and the instance is suspended.
func (i *Instance) still(t *Timer) bool { return i.Suspended && t.Kind == TimerPause }

// fireDeadline handles rows 9 and 10 for the saga's deadline.
func (m *machine) fireDeadline() {
	inst := m.inst
	inst.Deadline = 0
	if inst.Phase != Running {
		return
	}
	m.fact(KindDeadlineHit, "")
	if m.pivotInFlight() { // row 10
		inst.DeadlineHit = true
		m.raise("", ReasonDeadline, "the deadline passed while the pivot was in flight")
		return
	}
	m.compensate(Cause{Kind: CauseDeadline}) // row 9
}

// fireExpires ends a wait, a retention or a marker: rows 2, 4 and 20.
func (m *machine) fireExpires() {
	switch m.inst.Phase {
	case Parked: // row 2
		m.refuseParked(ClassUnknownDefinition, "no definition "+m.inst.Type+" came within "+parkedMax.String())
	case Void, Marker:
		m.inst.Expires = 0
		m.fact(KindExpired, "", KV{"to", "none"})
		m.dropped = true
	case Completed, Compensated, Closed: // row 20
		m.becomeMarker()
	default:
		m.inst.Expires = 0
	}
}

// fireStep fires the timer that drives a step. A timer that was armed for another state than the
// present one is dropped: it says nothing about this one.
func (m *machine) fireStep(i int) {
	s := &m.inst.Steps[i]
	t := s.Timer
	current := s.awaits(t)
	s.Timer = Timer{}
	if !current {
		return
	}
	m.transitions++
	switch {
	case t.Kind == TimerWait || t.Kind == TimerRemind:
		if m.plan(i).Node.Block() {
			m.blockTimer(i)
		} else {
			m.leafTimer(i, t)
		}
	case t.Op == OpDo && t.Kind == TimerAnswer:
		m.retryDo(i, "", 0) // row e
	case t.Op == OpDo:
		m.resendDo(i) // row h
	case t.Op == OpUndo && t.Kind == TimerAnswer:
		m.retryUndo(i, 0) // row l
	case t.Op == OpUndo:
		m.resendUndo(i) // row l
	case t.Kind == TimerAnswer:
		m.askLater(i, 0) // row j: silence
	default:
		m.askAgain(i) // row j
	}
}

// awaits says whether t is the timer of the state in which the step is.
func (s *StepState) awaits(t Timer) bool {
	if t.Gen != s.Gen {
		return false
	}
	switch {
	case t.Kind == TimerWait || t.Kind == TimerRemind:
		return s.State == StepOpen
	case t.Op == OpDo && t.Kind == TimerAnswer:
		return s.State == StepPending && t.Round == s.Round && t.Attempt == s.Attempts
	case t.Op == OpDo:
		return s.State == StepBackoff && t.Round == s.Round && t.Attempt == s.Attempts
	case t.Op == OpUndo && t.Kind == TimerAnswer:
		return s.Undo == UndoPending && t.Round == s.UndoRound && t.Attempt == s.UndoAttempts
	case t.Op == OpUndo:
		return s.Undo == UndoBackoff && t.Round == s.UndoRound && t.Attempt == s.UndoAttempts
	case t.Op == OpInquire:
		return (s.State == StepInquiring || s.Undo == UndoInquiring) && t.Round == s.Round && t.Attempt == s.Asked
	}
	return false
}

// fireAlert asks for attention because a step or its undo takes long. The retries go on.
func (m *machine) fireAlert(i int) {
	s := &m.inst.Steps[i]
	s.Alert = 0
	m.transitions++
	if s.Undo != UndoNone {
		m.raise(s.Path, ReasonUndoSlow, "the undo takes longer than alertAfter")
		return
	}
	m.raise(s.Path, ReasonSlow, "the step takes longer than alertAfter")
}

// arm sets the timer that drives a step. The generation makes an older timer of the same attempt
// stale (a heartbeat arms anew).
func (s *StepState) arm(kind TimerKind, op Op, round, attempt uint32, due Time) {
	s.Gen++
	s.Timer = Timer{Kind: kind, Op: op, Round: round, Attempt: attempt, Gen: s.Gen, Due: due}
}

// disarm drops both timers of a step.
func (s *StepState) disarm() {
	s.Timer = Timer{}
	s.Alert = 0
}
