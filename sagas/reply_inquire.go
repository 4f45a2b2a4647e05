package sagas

import "cmp"

// inquireReply handles an answer to an inquiry. Only executed, not-executed and running say
// something; any other answer is as good as silence, for it may speak of the question and not of
// the do.
func (m *machine) inquireReply(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if s.Round == 0 {
		return m.phantom(i, r) // row n
	}
	if r.Attempt == 0 || r.Round != s.Round || r.Attempt > s.Asked {
		return ignoredPhantom // it only asked: nothing is owed for it
	}
	if s.Undo == UndoInquiring {
		return m.standing(i, r)
	}
	switch r.Outcome {
	case OutcomeExecuted:
		return m.definite(i, r, true)
	case OutcomeNotExecuted:
		if s.UndoRound > 0 {
			return ignoredStale // once an undo went out, "no effect" may be its work
		}
		if s.Kind == Retriable && s.State == StepInquiring && !s.Fatal && !m.turned(i) {
			m.missed(i) // row j
			m.advance()
			return ""
		}
		if r.Code == "" {
			r.Code = cmp.Or(s.Code, "NOT_EXECUTED")
		}
		return m.definite(i, r, false)
	}
	if s.State != StepInquiring || r.Attempt != s.Asked || s.Timer.Kind != TimerAnswer {
		return stale(s)
	}
	m.askLater(i, r.RetryAfter) // row j
	m.advance()
	return ""
}

// missed ends a retriable step that was not executed while its key was still known. It has to happen,
// but another attempt would go beyond the key window, so a person decides on it.
func (m *machine) missed(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepRefused
	s.Code, s.Message = "NOT_EXECUTED", ""
	s.disarm()
	m.dropPayload(i)
	m.fact(KindStepRejected, s.Path, KV{"code", s.Code})
	m.settle(s.Path, ReasonSlow, ReasonBudgetSpent, ReasonUnknownOutcome)
	m.raise(s.Path, ReasonKeyWindow, "the step was not executed, and its key window has passed")
}

// standing handles the answer to "does the effect still stand?" of an undo whose key window passed.
func (m *machine) standing(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Attempt != s.Asked {
		return ignoredStale
	}
	switch r.Outcome {
	case OutcomeExecuted: // it stands, so another undo cannot be one too many
		switch {
		case s.State == StepRefused && !s.SeenDone:
			s.SeenDone = true
			m.contradicted(i, "executed after "+StepRefused.String())
		case s.State != StepDone && s.State != StepRefused:
			m.succeed(i, r.Output)
		}
		m.sendUndo(i)
	case OutcomeNotExecuted:
		if s.SeenDone {
			m.undone(i, UndoUndone)
		} else {
			m.undone(i, UndoNoop)
		}
	default:
		if s.Timer.Kind != TimerAnswer {
			return ignoredStale
		}
		m.askLater(i, r.RetryAfter)
	}
	m.advance()
	return ""
}
