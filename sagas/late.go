package sagas

// lateDone handles the news, after the end of the run, that a step took effect (row 19).
func (m *machine) lateDone(i int, r *Reply) string {
	inst := m.inst
	s := &inst.Steps[i]
	if s.SeenDone || s.Undo == UndoUndone {
		return ignoredDuplicate
	}
	refused := s.State == StepRefused
	s.SeenDone = true
	s.State = StepDone
	m.keep(i, r.Output)
	m.fact(KindLateEffect, s.Path)
	if refused {
		m.contradicted(i, "ok after "+StepRefused.String())
	}
	m.answerFor(i)
	return ""
}

// answerFor decides who deals with an effect that came to light after the end: before the commit
// point the machine, which reopens the run, and after it a person. REQUIRES: the phase is terminal.
func (m *machine) answerFor(i int) {
	inst := m.inst
	s := &inst.Steps[i]
	if !m.owes(i) && !s.unpayable() {
		return // an effect that owes nothing
	}
	committed := inst.Phase == Completed || (inst.Phase == Closed && (s.Kind == Pivot || m.committed()))
	if committed {
		if m.owes(i) || s.Kind == Pivot || inst.Phase == Closed {
			m.raise(s.Path, ReasonLateEffect, "the step took effect after it was given up")
		}
		return
	}
	inst.Phase = Compensating
	inst.EndedAt, inst.Expires, inst.MarkerTTL = 0, 0, 0
	if inst.Cause.Kind == 0 {
		inst.Cause = Cause{Kind: CauseLateEffect, Path: s.Path}
	}
	m.dropResidue(s.Path)
	m.fact(KindReopened, s.Path)
	switch {
	case !m.owes(i):
		s.Undo = UndoNone // nothing can take it back: NO_UNDO
	case s.UndoRound >= undoRoundsMax:
		m.stopUndo(i, ReasonUndoNoop, "the step took effect, but its undo found nothing to undo")
	default:
		s.Undo = UndoOwed
	}
	m.advance()
}

// committed says whether a pivot took effect, or may have: then nothing before it is undone.
func (m *machine) committed() bool {
	m.needWhole()
	for i := range m.inst.Steps {
		if s := &m.inst.Steps[i]; s.Kind == Pivot && s.unpayable() {
			return true
		}
	}
	return false
}

// lateUndone notes that an undo was carried out after an operator had taken the debt on.
func (m *machine) lateUndone(i int, r *Reply) string {
	inst := m.inst
	s := &inst.Steps[i]
	if r.Outcome != OutcomeOK || r.Noop {
		return ignoredStale
	}
	m.undone(i, UndoUndone)
	m.dropResidue(s.Path)
	return ""
}

// phantom is row n: an answer to a do that this record never sent. A participant must have read a
// transaction that was aborted. An effect is an obligation all the same; anything else is no news,
// because the same key will be sent, or never.
func (m *machine) phantom(i int, r *Reply) string {
	inst := m.inst
	s := &inst.Steps[i]
	if certainty(r) != EffectDone {
		return ignoredPhantom
	}
	if s.SeenDone || s.Undo == UndoUndone {
		return ignoredDuplicate
	}
	s.SeenDone, s.Phantom = true, true
	m.keep(i, r.Output)
	m.fact(KindPhantom, s.Path)
	switch {
	case inst.Phase.Terminal():
		m.answerFor(i)
	case m.turned(i):
		m.revisit(i)
		m.advance()
	case s.State == StepRefused:
		m.contradicted(i, "ok after "+StepRefused.String())
	case s.State == StepSkipped && m.owes(i):
		m.raise(s.Path, ReasonLateEffect, "a skipped step took effect")
	}
	return ""
}

// phantomUndo handles an answer to an undo that this record never sent. If the saga is about to undo
// the step anyway, nothing is lost; otherwise it builds on an effect that is gone.
func (m *machine) phantomUndo(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Outcome != OutcomeOK || r.Noop || s.Undo != UndoNone {
		return ignoredPhantom
	}
	if m.hasAttention(s.Path, ReasonPhantom) {
		return ignoredDuplicate
	}
	m.fact(KindPhantom, s.Path, KV{"op", OpUndo.String()})
	m.raise(s.Path, ReasonPhantom, "an undo that was never sent is said to have happened")
	return ""
}
