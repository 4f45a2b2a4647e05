package sagas

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Operator actions. Each is one transition: the machine checks that the present state allows it,
// writes the fact operator, and then lets the same rules run that an answer or a timer would start.
// An action that the state does not allow gives an Ignored that says why, and changes nothing.
//
//	action         path  allowed when
//	close          -     the instance is active, also without its plan
//	suspend        -     active and not suspended; resume: active and suspended
//	compensate     -     RUNNING and no pivot in flight
//	extend         -     RUNNING with a deadline, or with one that passed while the pivot was in flight
//	               step  a wait that is open; a call in flight that has `within`
//	signal         -     wherever a signal from outside is taken
//	retry          -     EXPR, TOO_LARGE, LIVELOCK, SIGNALS of the instance: looks at it again
//	               step  held, BACKOFF, INQUIRING, UNKNOWN, FAILED, and forward; its undo is held, U_BACKOFF,
//	                     U_INQUIRING or U_STOPPED. Always with the same key, so not after the key window
//	retry-new-key  step  BACKOFF, INQUIRING, UNKNOWN, FAILED, an unresolved REFUSED, and forward; its undo is
//	                     U_BACKOFF, U_INQUIRING or U_STOPPED
//	resolve        step  a call that was sent and is not settled; one with a contradiction, a phantom or a late
//	                     effect; a debt; an open child
//	waive          step  a debt whose do is not in flight; a late effect; a child that was closed
//	skip           -     the output of the saga cannot be built: this one is taken
//	               step  held, OPEN without a body, BACKOFF, INQUIRING, UNKNOWN, FAILED, an unresolved REFUSED,
//	                     and forward
//
// Forward means RUNNING or FINISHING, and no block around the step is undoing its own. resolve and
// waive are taken after the end too, for what came to light there. What retry-new-key leaves behind
// of the old key becomes residue, because only a person can know.

// admin handles the actions of operators.
func (m *machine) admin(ev *Admin) string {
	inst := m.inst
	if inst == nil {
		if ev.Action == AdminSignal && ev.Signal != nil {
			return m.signalAs(ev)
		}
		return ignoredUnknownInstance
	}
	if id := adminID(ev.RequestID); id != "" && slices.Contains(inst.AdminIDs, id) {
		return ignoredDuplicate
	}
	if ev.ExpectRev != 0 && ev.ExpectRev != inst.Rev-1 { // own has counted this Step already
		return ignoredRevision
	}
	if inst.Phase.Active() && m.p == nil && ev.Action != AdminClose {
		return ignoredUnknownDefinition
	}
	switch ev.Action {
	case AdminResolve, AdminWaive:
		if !inst.Phase.Active() && (!inst.Phase.Terminal() || m.p == nil) {
			return ignoredNotActive
		}
	case AdminSignal:
	case AdminClose:
		if inst.Phase == Closed {
			return ignoredDuplicate
		}
		fallthrough
	default:
		if !inst.Phase.Active() {
			return ignoredNotActive
		}
	}
	switch ev.Action {
	case AdminClose:
		return m.adminClose(ev)
	case AdminSuspend, AdminResume:
		return m.adminSuspend(ev)
	case AdminCompensate:
		return m.adminCompensate(ev)
	case AdminExtend:
		return m.adminExtend(ev)
	case AdminSignal:
		return m.signalAs(ev)
	case AdminRetry, AdminRetryNewKey, AdminResolve, AdminWaive, AdminSkip:
		return m.adminStep(ev)
	}
	return ignoredUnknownEvent
}

// adminID is the request ID as an instance remembers it.
func adminID(id string) string {
	if len(id) <= maxRequestID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// operated writes the fact of an action that is taken, and remembers its request. What the action
// does comes after it.
func (m *machine) operated(ev *Admin, more ...KV) {
	m.rememberAdmin(ev)
	detail := append(more, KV{"action", string(ev.Action)}, KV{"operator", clip(ev.Operator, maxCode)}, KV{"reason", clip(ev.Reason, maxMessage)})
	if ev.RequestID != "" {
		detail = append(detail, KV{"requestId", clip(ev.RequestID, maxRequestID)})
	}
	m.fact(KindOperator, ev.Path, detail...)
}

// rememberAdmin keeps the request ID; the oldest makes room.
func (m *machine) rememberAdmin(ev *Admin) {
	id := adminID(ev.RequestID)
	if id == "" {
		return
	}
	ids := slices.Clone(m.inst.AdminIDs)
	if len(ids) >= maxAdminIDs {
		ids = slices.Delete(ids, 0, len(ids)-maxAdminIDs+1)
	}
	m.inst.AdminIDs = append(ids, id)
}

// adminClose is row 17. Its fact is closed, which says who and why. It needs no plan: an operator can always end what nothing else can move.
func (m *machine) adminClose(ev *Admin) string {
	inst := m.inst
	m.rememberAdmin(ev)
	for i := range inst.Steps {
		m.writeOff(i)
	}
	m.settleCancels(KindCancelRefused, KV{"reason", "CLOSED"})
	m.end(Closed)
	m.fact(KindClosed, "", KV{"operator", clip(ev.Operator, maxCode)}, KV{"reason", clip(ev.Reason, maxMessage)},
		KV{"requestId", clip(ev.RequestID, maxRequestID)}, KV{"residue", strings.Join(inst.Residue, ",")})
	m.answer()
	return ""
}

// adminSuspend stops or resumes an instance. While it is suspended it takes news but begins, sends and
// ends nothing; the timers that would send stand still.
func (m *machine) adminSuspend(ev *Admin) string {
	suspend := ev.Action == AdminSuspend
	if m.inst.Suspended == suspend {
		return ignoredDuplicate
	}
	m.operated(ev)
	m.inst.Suspended = suspend
	for i := range m.inst.Steps {
		if s := &m.inst.Steps[i]; !suspend && s.State == StepOpen && s.Child != "" && !m.goesForward(i) {
			m.cancelChild(i)
		}
	}
	m.advance()
	return ""
}

// adminCompensate turns a run round before its commit point.
func (m *machine) adminCompensate(ev *Admin) string {
	switch {
	case m.inst.Phase == Finishing:
		return ignoredCommitted
	case m.inst.Phase == Compensating:
		return ignoredDuplicate
	case m.pivotInFlight():
		return ignoredPivotInFlight
	}
	m.operated(ev)
	m.compensate(Cause{Kind: CauseOperator, Message: clip(ev.Reason, maxMessage)})
	m.advance()
	return ""
}

// adminExtend gives the saga, a wait or a call more time.
func (m *machine) adminExtend(ev *Admin) string {
	inst := m.inst
	if ev.By <= 0 {
		return ignoredBadRequest
	}
	if ev.Path != "" {
		return m.extendStep(ev)
	}
	if inst.Phase != Running || (inst.Deadline == 0 && !inst.DeadlineHit) {
		return ignoredNotApplicable
	}
	from := inst.Deadline
	if inst.DeadlineHit {
		from = m.now
	}
	inst.Deadline, inst.DeadlineHit = afterMillis(from, ev.By), false
	m.operated(ev, KV{"until", strconv.FormatInt(int64(inst.Deadline), 10)})
	m.settle("", ReasonDeadline)
	return ""
}

// extendStep gives one step more time: the end of its wait, or of all its attempts.
func (m *machine) extendStep(ev *Admin) string {
	i := m.inst.StepIndex(ev.Path)
	if i < 0 {
		return ignoredUnknownPath
	}
	s := &m.inst.Steps[i]
	switch {
	case s.State == StepOpen && s.Until != 0:
		s.Until = afterMillis(s.Until, ev.By)
		m.operated(ev, KV{"until", strconv.FormatInt(int64(s.Until), 10)})
		m.rearmWait(i)
	case s.inFlight() && m.plan(i).Within > 0 && m.inst.Phase != Compensating:
		s.BudgetAt = afterMillis(max(s.FirstSent, s.BudgetAt), ev.By)
		m.operated(ev, KV{"until", strconv.FormatInt(int64(m.withinEnd(i)), 10)})
	default:
		return ignoredNotApplicable
	}
	m.settle(s.Path, ReasonSlow)
	return ""
}

// writeOff ends step i where it stands; what may have an effect becomes residue.
func (m *machine) writeOff(i int) {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepIdle, StepReady:
		s.State = StepAbandoned
	case StepOpen:
		m.letGo(i)
	case StepPending, StepBackoff, StepInquiring:
		s.State = StepUnknown
	}
	s.disarm()
	if s.mayHaveEffect() {
		m.addResidue(i)
		s.Undo = UndoWaived
	}
}

// addResidue lists a path that may have an effect, once, in the order of the steps.
func (m *machine) addResidue(i int) {
	inst := m.inst
	path := inst.Steps[i].Path
	if slices.Contains(inst.Residue, path) {
		return
	}
	at := 0
	for k := 0; k < i && at < len(inst.Residue); k++ {
		if inst.Steps[k].Path == inst.Residue[at] {
			at++
		}
	}
	inst.Residue = slices.Insert(slices.Clone(inst.Residue), at, path)
}

// dropResidue takes a path off the list: its effect is accounted for.
func (m *machine) dropResidue(path string) {
	inst := m.inst
	at := slices.Index(inst.Residue, path)
	if at < 0 {
		return
	}
	inst.Residue = slices.Delete(slices.Clone(inst.Residue), at, at+1)
	if len(inst.Residue) == 0 {
		inst.Residue = nil
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
