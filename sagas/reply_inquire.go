package sagas

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
		if r.Attempt <= s.AskBase || s.State == StepPending || s.State == StepBackoff {
			return ignoredStale // asked before the latest do
		}
		if s.Kind == Retriable && s.State == StepInquiring && !s.Fatal && m.inst.Phase != Compensating {
			m.tryAnew(i) // row j
			m.advance()
			return ""
		}
		if s.Code == "" {
			s.Code = "NOT_EXECUTED"
		}
		if r.Code == "" {
			r.Code = s.Code
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

// tryAnew sends a retriable step again after "not executed": it has to happen, and it did not, so the
// key is as good as new. Not at once: whatever led to the question may still be so.
func (m *machine) tryAnew(i int) {
	s, d := &m.inst.Steps[i], &m.p.Steps[i]
	m.transitions++
	s.AskBase = s.Asked
	s.FirstSent = m.now
	s.State = StepBackoff
	s.arm(TimerPause, OpDo, s.Round, s.Attempts, after(m.now, orDefault(d.Retry.BackoffMax, DefaultBackoffMax)))
	m.settle(s.Path, ReasonUnknownOutcome)
}

// standing handles the answer to "does the effect still stand?" of an undo whose key window passed.
func (m *machine) standing(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Attempt != s.Asked {
		return ignoredStale
	}
	switch r.Outcome {
	case OutcomeExecuted: // it stands, so another undo cannot be one too many
		if !s.SeenDone {
			s.SeenDone = true
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
