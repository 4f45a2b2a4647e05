package sagas

import "strings"

// undoReply handles an answer to an undo.
func (m *machine) undoReply(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Attempt == 0 || r.Round == 0 || r.Round > s.UndoRound || (r.Round == s.UndoRound && r.Attempt > s.UndoAttempts) {
		return m.phantomUndo(i, r) // row n
	}
	if r.Round < s.UndoRound {
		return ignoredStale
	}
	switch s.Undo {
	case UndoUndone, UndoNoop:
		return ignoredDuplicate // row m
	case UndoWaived:
		return m.lateUndone(i, r)
	case UndoPending, UndoBackoff, UndoInquiring, UndoStopped:
	default: // OWED again: the round that this answers is over
		return ignoredStale
	}
	if r.Outcome == OutcomeOK { // row k, of whichever attempt
		switch {
		case !r.Noop:
			m.undone(i, UndoUndone)
		case !s.SeenDone:
			m.undone(i, UndoNoop)
		case s.Undo == UndoStopped && m.hasAttention(s.Path, ReasonUndoNoop):
			return ignoredDuplicate
		default:
			m.foundNothing(i)
		}
		m.advance()
		return ""
	}
	if r.Attempt != s.UndoAttempts || (s.Undo != UndoPending && s.Undo != UndoBackoff) {
		return ignoredStale
	}
	switch r.Outcome {
	case OutcomeProgress:
		if s.Undo != UndoPending {
			return ignoredStale
		}
		attempt := DefaultAttempt
		if u := m.plan(i).Undo; u != nil {
			attempt = orDefault(u.Attempt, DefaultAttempt)
		}
		s.arm(TimerAnswer, OpUndo, s.UndoRound, s.UndoAttempts, after(m.now, attempt))
		return ""
	case OutcomeFailedFatal, OutcomeRejected: // row l: a participant may not refuse an undo
		m.blame(s, r)
		m.stopUndo(i, ReasonUndoFailed, strings.TrimSpace("the participant cannot undo it: "+s.Code+" "+s.Message))
	case OutcomeFailedRetriable, OutcomeBadReply: // row l
		if s.Undo != UndoPending {
			return ignoredStale
		}
		m.blame(s, r)
		m.retryUndo(i, r.RetryAfter)
	default:
		return ignoredUnknownEvent
	}
	m.advance()
	return ""
}
