package sagas

import "strings"

// admin handles row 17. It needs no plan: an operator can always end what nothing else can move.
func (m *machine) admin(ev *Admin) string {
	inst := m.inst
	switch {
	case inst == nil:
		return ignoredUnknownInstance
	case ev.Action != AdminClose:
		return ignoredUnknownEvent
	case inst.Phase == Closed:
		return ignoredDuplicate
	case !inst.Phase.Active():
		return ignoredNotActive
	case ev.ExpectRev != 0 && ev.ExpectRev != inst.Rev-1: // own has counted this Step already
		return ignoredRevision
	}
	for i := range inst.Steps {
		m.writeOff(i)
	}
	m.settleCancels(KindCancelRefused, KV{"reason", "CLOSED"})
	m.end(Closed)
	m.fact(KindClosed, "", KV{"operator", clip(ev.Operator, maxCode)}, KV{"reason", clip(ev.Reason, maxMessage)},
		KV{"requestId", clip(ev.RequestID, maxRequestID)}, KV{"residue", strings.Join(inst.Residue, ",")})
	m.result()
	return ""
}

// writeOff ends step i where it stands; what may have an effect becomes residue.
func (m *machine) writeOff(i int) {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepIdle, StepReady:
		s.State = StepAbandoned
	case StepPending, StepBackoff, StepInquiring:
		s.State = StepUnknown
	case StepOpen:
		if s.State = StepAbandoned; s.Child != "" {
			s.State = StepUnknown
		}
	}
	s.disarm()
	if s.mayHaveEffect() {
		m.inst.Residue = append(m.inst.Residue[:len(m.inst.Residue):len(m.inst.Residue)], s.Path)
		s.Undo = UndoWaived
	}
}

// mayHaveEffect says whether an effect that nobody took back is possible. It does not ask whether an
// undo exists: for a person who reconciles, that makes no difference.
func (s *StepState) mayHaveEffect() bool {
	if s.Kind == ReadOnly || s.Undo.settled() || s.Round == 0 && !s.SeenDone && s.Child == "" {
		return false
	}
	switch s.State {
	case StepDone, StepUnknown, StepFailed:
		return true
	case StepRefused:
		return s.SeenDone || s.Undo != UndoNone
	}
	return s.SeenDone
}
