package sagas

// adminResolve asserts a fact that an operator found out: whether the effect of the step is there. It
// goes through the same rules as the answer that would have said so:
//
//	the do is open (PENDING, BACKOFF, INQUIRING,   done = the reply ok with that output;
//	UNKNOWN, FAILED), whatever its undo does       none = the reply rejected with code RESOLVED
//	its undo is open                               none = the reply ok to the undo
//	a child is open                                done = it COMPLETED with that output; none = it was COMPENSATED
//	another key took effect as well (TWICE)        none = that effect was taken back
//	DONE or REFUSED, and attention says that       done = it stands; none = it does not, so a step of a run that
//	something is wrong with that                   has not committed counts as refused
func (m *machine) adminResolve(i int, ev *Admin) string {
	s := &m.inst.Steps[i]
	if ev.Effect != EffectDone && ev.Effect != EffectNone {
		return ignoredBadRequest
	}
	done := ev.Effect == EffectDone
	output, err := m.operatorOutput(ev.Output, len(s.Output))
	if err != nil {
		return ignoredBadRequest
	}
	if ev.Output == nil {
		output = nil
	}
	if m.plan(i).Node == NodeSaga {
		return m.resolveChild(i, ev, done, output)
	}
	if m.plan(i).Node != NodeCall {
		return ignoredNotApplicable
	}
	if !done && m.hasAttention(s.Path, ReasonTwice) { // the effect of the earlier key is gone
		m.operated(ev)
		m.settle(s.Path, ReasonTwice)
		m.dropResidue(s.Path)
		return ""
	}
	debt := s.Undo != UndoNone && !s.Undo.settled()
	switch s.State {
	case StepPending, StepBackoff, StepInquiring, StepUnknown, StepFailed:
		if debt && !done {
			return m.resolveDebt(i, ev)
		}
		if s.Undo.settled() && !done {
			return m.resolveSettled(i, ev)
		}
		if m.inst.Phase.Terminal() && (!done || s.SeenDone) {
			return ignoredNotApplicable
		}
		m.operated(ev)
		m.settle(s.Path, ReasonExpr, ReasonTooLarge)
		r := Reply{Address: Address{Run: m.inst.Run, Path: s.Path, Op: OpDo, Round: s.Round, Attempt: s.Attempts}, Outcome: OutcomeOK, Output: output}
		if !done {
			r.Outcome, r.Code, r.Message, r.Output = OutcomeRejected, codeResolved, clip(ev.Reason, maxMessage), nil
		}
		m.definite(i, &r, done)
		return ""
	}
	switch {
	case debt && !done:
		return m.resolveDebt(i, ev)
	case s.Undo.settled() && !done:
		return m.resolveSettled(i, ev)
	case !m.doubtful(i):
		return ignoredNotApplicable
	}
	return m.overrule(i, ev, done, output)
}

// codeResolved is the code of a step whose effect an operator denied.
const codeResolved = "RESOLVED"

// codeNotExecuted is the code of a step of which an inquiry learned that it did not take effect.
const codeNotExecuted = "NOT_EXECUTED"

// resolveDebt: the operator knows that nothing is left to undo.
func (m *machine) resolveDebt(i int, ev *Admin) string {
	s := &m.inst.Steps[i]
	m.operated(ev)
	s.Stuck = false
	if s.SeenDone || s.Child != "" {
		m.undone(i, UndoUndone)
	} else {
		m.undone(i, UndoNoop)
	}
	m.settleDebt(i)
	m.advance()
	return ""
}

// resolveSettled: what an operator once took on is accounted for now.
func (m *machine) resolveSettled(i int, ev *Admin) string {
	s := &m.inst.Steps[i]
	if s.Undo != UndoWaived {
		return ignoredDuplicate
	}
	m.operated(ev)
	m.undone(i, UndoUndone)
	m.dropResidue(s.Path)
	m.settleDebt(i)
	return ""
}

// doubtful says whether attention is open about the definite state of step i, so that a person's word
// counts for more than what was answered.
func (m *machine) doubtful(i int) bool {
	path := m.inst.Steps[i].Path
	for _, r := range []Reason{ReasonContradiction, ReasonPhantom, ReasonLateEffect, ReasonNoUndo, ReasonOutput} {
		if m.hasAttention(path, r) {
			return true
		}
	}
	return false
}

// overrule settles what is wrong with a step that is DONE, REFUSED or SKIPPED.
func (m *machine) overrule(i int, ev *Admin, done bool, output []byte) string {
	s := &m.inst.Steps[i]
	if !done && m.inst.Phase == Finishing && s.State == StepDone && s.Kind != Optional {
		return ignoredCommitted // the saga builds on it, and there is no way back
	}
	m.operated(ev)
	m.settle(s.Path, ReasonContradiction, ReasonPhantom, ReasonLateEffect, ReasonOutput)
	m.transitions++
	if done {
		s.SeenDone = true
		if s.State == StepRefused && m.goesForward(i) {
			s.State = StepDone
			s.Code, s.Message = "", ""
			m.fact(KindStepDone, s.Path)
		}
		m.keep(i, output)
		m.advance()
		return ""
	}
	if m.inst.Phase.Terminal() || !m.goesForward(i) {
		m.undone(i, UndoUndone)
		m.dropResidue(s.Path)
		m.settleDebt(i)
		m.advance()
		return ""
	}
	s.SeenDone = false
	if s.State == StepDone {
		s.Record = UndoRecord{}
		m.refuse(i, codeResolved, clip(ev.Reason, maxMessage))
	}
	m.dropResidue(s.Path)
	m.advance()
	return ""
}

// adminWaive gives up one debt. The path becomes residue: somebody has to reconcile it by hand.
func (m *machine) adminWaive(i int, ev *Admin) string {
	inst := m.inst
	s := &inst.Steps[i]
	child := m.hasAttention(s.Path, ReasonChildClosed)
	switch {
	case m.hasAttention(s.Path, ReasonTwice): // the effect of the earlier key stays residue
		m.operated(ev)
		m.settle(s.Path, ReasonTwice)
		return ""
	case s.Undo.settled():
		return ignoredDuplicate
	case s.inFlight() && !child:
		return ignoredInFlight
	case s.State == StepOpen:
		m.operated(ev)
		m.settleStep(i)
		m.addResidue(i)
		s.Child = ""
		m.leafFail(i, codeChildClosed, "what the closed child left behind is residue")
		m.advance()
		return ""
	case s.Undo != UndoNone:
	case m.hasAttention(s.Path, ReasonLateEffect), inst.Phase == Compensating && m.inDebt(i):
	default:
		return ignoredNoDebt
	}
	m.operated(ev)
	m.transitions++
	m.addResidue(i)
	s.Undo = UndoWaived
	s.Stuck = false
	s.disarm()
	s.Payload, s.Question = nil, nil
	m.settleDebt(i)
	m.advance()
	return ""
}
