package sagas

// decideTree is decide for an instance with frames. A failure is offered to the frames around the step,
// from the inside out; the first that takes it turns round, and the saga goes on. What nothing takes
// turns the saga itself round (rows 8 and 12), unless a pivot is in flight or took effect.
func (m *machine) decideTree() {
	pivot := m.decidedPivot()
	if pivot >= 0 && m.inst.Steps[pivot].State == StepDone && m.inst.Phase == Running {
		m.commit(pivot) // row 11
	}
	failed := -1
	for i := range m.inst.Steps {
		if m.fails(i) && !m.turned(i) && !m.offer(i) && failed < 0 {
			failed = i
		}
	}
	m.held = failed >= 0 && m.inst.Phase == Running
	switch {
	case m.inst.Phase != Running:
		for i := range m.inst.Steps {
			if !m.turned(i) {
				m.checkCommitted(i)
			}
		}
	case !m.held:
		m.settlePivot()
		m.checkDeadline()
	case !m.pivotInFlight():
		if pivot >= 0 && !m.turned(pivot) && m.fails(pivot) {
			failed = pivot // row 12
		}
		m.compensate(m.causeOf(failed))
	}
}

// settlePivot turns round for a cancel or deadline that waited for a pivot whose refusal is no failure.
func (m *machine) settlePivot() {
	inst := m.inst
	if !inst.CancelRequested && !inst.DeadlineHit || m.pivotInFlight() {
		return
	}
	cause := Cause{Kind: CauseDeadline}
	if inst.CancelRequested {
		cause.Kind = CauseCancel
	}
	m.compensate(cause)
}

// offer gives the failure of step i to the frames around it and says whether one took it.
func (m *machine) offer(i int) bool {
	t := m.shape()
	cause := m.causeOf(i)
	for k := t.steps[i].frame; k != 0; k = t.frames[k].in {
		if !m.takes(k, cause.Code) {
			continue
		}
		f, owner := m.frameOf(k), &m.inst.Steps[t.frames[k].owner]
		if m.p.Steps[f.Node].Node == NodeRace {
			owner.Code, owner.Message = cause.Code, cause.Message
		}
		m.fact(KindCaught, owner.Path, KV{"code", cause.Code}, KV{"from", cause.Path}, KV{"key", f.Key})
		m.turn(k, cause)
		return true
	}
	return false
}

// takes says whether frame k takes a failure upon itself.
func (m *machine) takes(k int32, code string) bool {
	f := m.frameOf(k)
	switch d := &m.p.Steps[f.Node]; d.Node {
	case NodeEach:
		if d.Each.OnFailure != ItemCollect && d.Each.OnFailure != ItemTolerate {
			return false
		}
	case NodeRace:
	case NodeScope:
		if !f.isRound(m.p) || !(f.Number < max(d.Scope.Rounds, 1) && catches(d.Scope.RetryOn, code)) && !catches(d.Scope.CatchOn, code) {
			return false
		}
	default:
		return false
	}
	if m.p.Pivot < 0 {
		return true
	}
	fr := &m.shape().frames[k]
	m.needInside(fr.start, fr.end)
	for i := fr.start; i < fr.end; i++ { // there is no way back from a pivot
		if s := &m.inst.Steps[i]; s.Kind == Pivot && (s.inFlight() || s.unpayable()) {
			return false
		}
	}
	return true
}

// turn turns frame k round: it sends no new do, drains or is eager, and pays its debts.
func (m *machine) turn(k int32, cause Cause) {
	t := m.shape()
	f, fr := m.frameOf(k), t.frames[k]
	m.needInside(fr.start, fr.end)
	m.transitions++
	f.State = FrameUndoing
	f.Cause = cause
	inside := make([]bool, len(t.frames))
	inside[k] = true
	for j := int(k) + 1; j < len(t.frames); j++ { // what is inside a frame comes later
		inside[j] = inside[t.frames[j].in]
		if g := m.frameOf(int32(j)); inside[j] && g.State == FrameWaiting {
			g.State = FrameUndone // its turn never comes
		}
	}
	until := after(m.now, drainMax)
	for i := fr.start; i < fr.end; i++ {
		m.halt(int(i), until)
	}
}

// halt is row p for step i: what was not sent never is, and what is in flight may answer for a while,
// or with the policy eager not at all.
func (m *machine) halt(i int, until Time) {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepIdle, StepReady:
		s.State, s.Stuck = StepAbandoned, false
		m.settle(s.Path, ReasonExpr, ReasonTooLarge)
	case StepBackoff:
		m.giveUp(i, StepUnknown)
	case StepPending, StepInquiring:
		if s.Timer.Kind != TimerAnswer || m.p.OnFailure == Eager {
			m.giveUp(i, StepUnknown)
			return
		}
		s.Timer.Due = min(s.Timer.Due, until)
		s.Alert = 0
	case StepUnknown, StepFailed:
		m.settle(s.Path, ReasonUnknownOutcome)
	case StepOpen:
		if m.plan(i).Node.Block() {
			s.State, s.Until, s.Stuck = StepAbandoned, 0, false
			s.disarm()
			m.settle(s.Path, ReasonExpr, ReasonTooLarge)
			return
		}
		m.abandonLeaf(i)
	}
}

// turned says whether step i goes backward: because the saga does, or a frame around it.
func (m *machine) turned(i int) bool {
	return m.inst.Phase == Compensating || m.inst.Steps[i].Frame != 0 && m.inst.inTurned(i)
}

// inTurned says whether step k is in a frame that was turned round by itself.
func (i *Instance) inTurned(k int) bool {
	for f := i.frame(i.Steps[k].Frame); f != nil; f = i.frame(f.In) {
		if f.turned() {
			return true
		}
	}
	return false
}

// turned says whether the frame was turned round by itself.
func (f *Frame) turned() bool { return f.State == FrameUndoing || f.State == FrameUndone }

// rouse lets the frames that were turned round and hold step i look at their debts again.
func (m *machine) rouse(i int) {
	for f := m.inst.frame(m.inst.Steps[i].Frame); f != nil; f = m.inst.frame(f.In) {
		if f.State == FrameUndone {
			f.State = FrameUndoing
			m.transitions++
		}
	}
}

// inFlight says whether the do of step i was sent and its outcome is awaited, or it waits for something
// else than its own body.
func (m *machine) inFlight(i int) bool {
	s := &m.inst.Steps[i]
	return s.inFlight() || s.State == StepOpen && !m.plan(i).Node.Block()
}
