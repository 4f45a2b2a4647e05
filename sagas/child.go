package sagas

import (
	"cmp"
	"strconv"
	"time"
)

// Children. A saga node starts an instance of its own and stays OPEN until that tells its end. Child
// and parent are two records, so every message between them may come late or twice: each is answered
// by what is known, and one that is out of date changes nothing.
//
//	parent, node OPEN     ChildDone COMPLETED            DONE, keeps the `keep` fields
//	                      ChildDone COMPENSATED, or its  REFUSED with the child's code: no effect remains
//	                      start was rejected
//	                      ChildDone CLOSED               same, attention CHILD_CLOSED: a person resolves, waives or skips it
//	parent turns round    -                              Cancel to the child; the node stays OPEN until it has ended
//	parent, node U_*      ChildDone COMPENSATED          UNDONE
//	                      ChildDone CLOSED               U_STOPPED, attention CHILD_CLOSED
//	parent ends           -                              ParentClosed to each reversible child that is DONE
//	child COMPLETED and   Reverse                        COMPENSATING (row 18); its obligations were kept
//	reversible            ParentClosed                   same, and the retention begins
//	child ended           Reverse, Start again           tells its end once more

// Codes of a saga node that failed.
const (
	codeChildClosed      = "CHILD_CLOSED"
	codeChildCompensated = "COMPENSATED"
	codeChildRejected    = "REJECTED"
)

// openChild starts the child.
func (m *machine) openChild(i int) {
	s, d := &m.inst.Steps[i], m.plan(i).Saga
	id, err := d.ID.String(m.scopeAt(i))
	if err != nil {
		m.hold(i, ReasonExpr, "saga.id: "+err.Error())
		return
	}
	input, err := m.render(i, d.Input, Key{})
	if err != nil {
		m.hold(i, ReasonExpr, "saga.input: "+err.Error())
		return
	}
	child := d.Type + "/" + id
	if id == "" || len(child) > maxChildID || len(input) > MaxInputBytes {
		m.hold(i, ReasonTooLarge, "saga: the id takes "+strconv.Itoa(len(id))+" bytes, the input "+strconv.Itoa(len(input)))
		return
	}
	m.transitions++
	s.State = StepOpen
	s.Child = child
	s.FirstSent = m.now
	m.armAlert(i)
	m.effects = append(m.effects, StartChild{Start: Start{
		WorkflowID: child, Type: d.Type, Version: d.Version, StartID: m.childStartID(i), Input: input, IssuedAt: m.now,
		Trace:  traceparent(m.p.Namespace, m.inst.WorkflowID, m.inst.Run, m.key(i, OpDo, 1), 1),
		Parent: &Parent{WorkflowID: m.inst.WorkflowID, Run: m.inst.Run, Path: s.Path, Reversible: d.Reversible},
	}})
	m.fact(KindChildStarted, s.Path, KV{"child", child})
}

const (
	maxChildID   = 1024            // bytes of the workflow ID of a child
	childAttempt = 5 * time.Minute // after that a child that is to go back is asked again
	childAlert   = time.Hour       // after that a person hears of it
)

// childStartID names one start of a child for ever, so that it starts once.
func (m *machine) childStartID(i int) string {
	return "child/" + m.inst.WorkflowID + "/" + strconv.FormatUint(uint64(m.inst.Run), 10) + "/" + m.inst.Steps[i].Path
}

// cancelChild asks an open child to compensate. The node stays OPEN: only the child knows how it ends.
func (m *machine) cancelChild(i int) {
	s := &m.inst.Steps[i]
	if m.inst.Suspended || m.hasAttention(s.Path, ReasonChildClosed) {
		return // resume sends it; or the child has ended and a person settles it
	}
	m.effects = append(m.effects, TellChild{WorkflowID: s.Child, Event: Cancel{
		WorkflowID: s.Child, RequestID: m.childStartID(i), Reason: "the parent " + m.inst.WorkflowID + " goes back", Actor: m.inst.WorkflowID,
	}})
	m.fact(KindCancelRequested, s.Path, KV{"child", s.Child})
}

// childDone handles the end of a child.
func (m *machine) childDone(ev *ChildDone) string {
	inst := m.inst
	if inst == nil {
		return ignoredUnknownInstance
	}
	if !inst.Phase.Active() || ev.Run != inst.Run {
		m.releaseLate(ev)
		if ev.Run != inst.Run {
			return ignoredWrongRun
		}
		return ignoredNotActive
	}
	if m.p == nil {
		m.deadLetter(ClassUnknownDefinition, "the definition of "+inst.WorkflowID+" is not known here")
		return ignoredUnknownDefinition
	}
	i := inst.StepIndex(ev.Path)
	if i < 0 {
		m.releaseLate(ev)
		return ignoredUnknownPath
	}
	s := &inst.Steps[i]
	if s.Child != ev.Child || m.plan(i).Node != NodeSaga {
		return ignoredStale
	}
	switch {
	case s.State == StepOpen:
		return m.childEnded(i, ev)
	case s.Undo == UndoPending || s.Undo == UndoBackoff || s.Undo == UndoStopped:
		return m.childReversed(i, ev)
	case s.State == StepDone || s.State == StepRefused:
		return ignoredDuplicate
	}
	return ignoredStale
}

// releaseLate lets go of a child that completed for a run which does not wait for it any more.
func (m *machine) releaseLate(ev *ChildDone) {
	if ev.Phase == Completed {
		m.effects = append(m.effects, TellChild{WorkflowID: ev.Child, Event: ParentClosed{WorkflowID: ev.Child, Parent: m.inst.WorkflowID, Run: ev.Run, Path: ev.Path}})
	}
}

// childEnded resolves an open saga node.
func (m *machine) childEnded(i int, ev *ChildDone) string {
	s := &m.inst.Steps[i]
	if ev.Phase == Closed && m.hasAttention(s.Path, ReasonChildClosed) {
		return ignoredDuplicate
	}
	code, message := clip(m.clean(ev.Code), maxCode), clip(m.clean(ev.Message), maxMessage)
	detail := []KV{{"child", s.Child}, {"phase", childPhase(ev.Phase)}}
	if code != "" {
		detail = append(detail, KV{"code", code})
	}
	m.transitions++
	m.fact(KindChildEnded, s.Path, detail...)
	s.disarm()
	m.settle(s.Path, ReasonSlow, ReasonChildClosed)
	switch ev.Phase {
	case Completed:
		m.childSucceeded(i, ev.Output)
	case Closed:
		m.raise(s.Path, ReasonChildClosed, "an operator closed the child "+s.Child+": "+cmp.Or(message, "what it left behind is not known here"))
	case Compensated:
		m.leafFail(i, cmp.Or(code, codeChildCompensated), message)
	default:
		m.leafFail(i, cmp.Or(code, codeChildRejected), message)
	}
	m.advance()
	return ""
}

func childPhase(p Phase) string {
	if p == 0 {
		return "rejected"
	}
	return p.String()
}

// childSucceeded resolves the node well. In COMPENSATING the child got ahead of its cancel: if it is
// reversible, it is undone now.
func (m *machine) childSucceeded(i int, output []byte) {
	m.leafDone(i)
	m.keep(i, output)
}

// childReversed ends the undo of a child.
func (m *machine) childReversed(i int, ev *ChildDone) string {
	s := &m.inst.Steps[i]
	switch ev.Phase {
	case Compensated:
		m.fact(KindChildEnded, s.Path, KV{"child", s.Child}, KV{"phase", ev.Phase.String()})
		m.undone(i, UndoUndone)
		m.settle(s.Path, ReasonChildClosed)
	case Completed:
		return ignoredStale // from before the reversal
	default:
		if s.Undo == UndoStopped {
			return ignoredDuplicate
		}
		m.fact(KindChildEnded, s.Path, KV{"child", s.Child}, KV{"phase", childPhase(ev.Phase)})
		m.stopUndo(i, ReasonChildClosed, "the child "+s.Child+" was closed before it was reversed")
	}
	m.advance()
	return ""
}

// owesChild says whether the node has a child that can still be reversed.
func (m *machine) owesChild(i int) bool {
	s := &m.inst.Steps[i]
	return s.State == StepDone && s.Child != "" && m.plan(i).Saga.Reversible
}

// reverseChild asks the child of a DONE node to compensate: the undo of a saga node.
func (m *machine) reverseChild(i int) {
	s := &m.inst.Steps[i]
	m.effects = append(m.effects, TellChild{WorkflowID: s.Child, Event: Reverse{WorkflowID: s.Child, Parent: m.inst.WorkflowID, Run: m.inst.Run, Path: s.Path}})
}

// resolveChild is an operator's word on how an open child ended, or on its undo.
func (m *machine) resolveChild(i int, ev *Admin, done bool, output []byte) string {
	s := &m.inst.Steps[i]
	switch {
	case s.State == StepOpen:
		m.operated(ev)
		m.settleStep(i)
		m.transitions++
		s.disarm()
		if done {
			m.childSucceeded(i, output)
		} else {
			m.leafFail(i, codeResolved, clip(ev.Reason, maxMessage))
		}
	case s.Undo != UndoNone && !s.Undo.settled() && !done:
		return m.resolveDebt(i, ev)
	case s.Undo == UndoWaived && !done:
		return m.resolveSettled(i, ev)
	default:
		return ignoredNotApplicable
	}
	m.advance()
	return ""
}

// releaseChildren tells every reversible child that is DONE that nobody will ask it to go back.
func (m *machine) releaseChildren() {
	inst := m.inst
	for i := range inst.Steps {
		s := &inst.Steps[i]
		if s.Child == "" || s.State != StepDone || (s.Undo != UndoNone && s.Undo != UndoWaived) {
			continue
		}
		if m.p == nil || m.plan(i).Saga.Reversible {
			m.effects = append(m.effects, TellChild{WorkflowID: s.Child, Event: ParentClosed{WorkflowID: s.Child, Parent: inst.WorkflowID, Run: inst.Run, Path: s.Path}})
		}
	}
}

// kept says whether the obligations of the instance outlive COMPLETED, because its parent may still ask
// it to go back.
func (i *Instance) kept() bool {
	return i.Parent != nil && i.Parent.Reversible && !i.Parent.Released
}

// tellParent answers the step that started this instance.
func (m *machine) tellParent() {
	inst := m.inst
	if inst.Parent == nil {
		return
	}
	phase := inst.Phase
	if phase == Marker {
		phase = inst.Ended
	}
	done := ChildDone{Run: inst.Parent.Run, Path: inst.Parent.Path, Child: inst.WorkflowID, Phase: phase}
	if phase == Completed {
		done.Output = inst.Output
	} else {
		done.Code, done.Message = inst.Cause.Code, inst.Cause.Message
	}
	m.effects = append(m.effects, TellParent{WorkflowID: inst.Parent.WorkflowID, Done: done})
}

// rejectChild tells a parent that its child cannot start.
func (m *machine) rejectChild(ev *Start, code, message string) {
	if p := ev.Parent; p != nil {
		m.effects = append(m.effects, TellParent{WorkflowID: p.WorkflowID, Done: ChildDone{
			Run: p.Run, Path: p.Path, Child: ev.WorkflowID, Code: clip(code, maxCode), Message: clip(message, maxMessage),
		}})
	}
}

// isChildOf says whether the instance was started by that step.
func (i *Instance) isChildOf(parent string, run uint32, path string) bool {
	p := i.Parent
	return p != nil && p.WorkflowID == parent && p.Run == run && p.Path == path
}

// reverse is row 18: the parent undoes a child that completed.
func (m *machine) reverse(ev *Reverse) string {
	inst := m.inst
	switch {
	case inst == nil || inst.Phase == Marker: // nothing is known that could be taken back
		m.cannotReverse(ev)
		return ignoredUnknownInstance
	case !inst.isChildOf(ev.Parent, ev.Run, ev.Path):
		return ignoredStale
	case inst.Phase == Compensated || inst.Phase == Closed:
		m.tellParent() // it may not have heard
		return ignoredDuplicate
	case inst.Phase == Compensating:
		return ignoredDuplicate
	case inst.Phase != Completed || !inst.kept():
		return ignoredStale
	case m.p == nil:
		m.deadLetter(ClassUnknownDefinition, "the definition of "+inst.WorkflowID+" is not known here")
		return ignoredUnknownDefinition
	}
	parent := *inst.Parent
	parent.Reversing = true
	inst.Parent = &parent
	inst.EndedAt, inst.Expires, inst.MarkerTTL = 0, 0, 0
	inst.FinishedAs, inst.Output = "", nil
	inst.Phase = Compensating
	inst.Cause = Cause{Kind: CauseParent}
	m.transitions++
	m.fact(KindReopened, "", KV{"parent", ev.Parent})
	m.advance()
	return ""
}

// cannotReverse tells the parent that a person has to look after the child. A marker still knows when
// there is nothing to take back.
func (m *machine) cannotReverse(ev *Reverse) {
	done := ChildDone{Run: ev.Run, Path: ev.Path, Child: ev.WorkflowID, Phase: Closed, Code: ignoredUnknownInstance}
	if m.inst != nil && m.inst.Ended == Compensated {
		done.Phase, done.Code = Compensated, ""
	}
	m.effects = append(m.effects, TellParent{WorkflowID: ev.Parent, Done: done})
}

// parentClosed lets go of a reversible child: nobody will ask it to go back, so its retention begins.
func (m *machine) parentClosed(ev *ParentClosed) string {
	inst := m.inst
	switch {
	case inst == nil:
		return ignoredUnknownInstance
	case !inst.isChildOf(ev.Parent, ev.Run, ev.Path):
		return ignoredStale
	case !inst.kept():
		return ignoredDuplicate
	}
	parent := *inst.Parent
	parent.Released = true
	inst.Parent = &parent
	if inst.Phase == Completed {
		m.forgetDebts()
		m.releaseChildren()
		m.retain()
	}
	return ""
}
