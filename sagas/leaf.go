package sagas

import "strconv"

// A leaf is a node that is neither a call nor a block. emit, set, fail, finish and continue pass
// through in one transition; await, sleep, approve and saga stay OPEN until something happens.

// openLeaf begins a leaf. REQUIRES: step i is READY. When an expression of the node fails, the step
// is held: nothing has happened yet.
func (m *machine) openLeaf(i int) {
	switch m.plan(i).Node {
	case NodeSet:
		m.setValues(i)
	case NodeEmit:
		m.emitEvent(i)
	case NodeFail:
		d := m.plan(i).Fail
		m.leafFail(i, d.Code, d.Message)
	case NodeFinish:
		m.finishEarly(i, m.plan(i).Finish.Code)
	case NodeContinue:
		m.continueRun(i)
	case NodeAwait:
		m.openAwait(i)
	case NodeSleep:
		m.openSleep(i)
	case NodeApprove:
		m.openApprove(i)
	case NodeSaga:
		m.openChild(i)
	default: // compiled definitions have no other
		m.hold(i, ReasonExpr, "this release cannot run a node of the kind "+m.plan(i).Node.String())
	}
}

// leafTimer handles the end of a wait, or a reminder. REQUIRES: step i is OPEN.
func (m *machine) leafTimer(i int, t Timer) {
	switch m.plan(i).Node {
	case NodeSleep:
		m.slept(i, false)
	case NodeAwait:
		m.timedOut(i, m.plan(i).Await.OnTimeout)
	case NodeApprove:
		if t.Kind == TimerRemind {
			m.remindPeople(i)
			return
		}
		m.timedOut(i, m.plan(i).Approve.OnTimeout)
	}
}

// abandonLeaf ends an open leaf that must not go on, because what is around it turned round or the
// saga is finished. A child cannot end at once: it is cancelled, stays OPEN and counts as in flight.
func (m *machine) abandonLeaf(i int) {
	s := &m.inst.Steps[i]
	if s.Child != "" {
		m.cancelChild(i)
		return
	}
	m.transitions++
	s.State = StepAbandoned
	s.Until = 0
	s.disarm()
	m.settle(s.Path, ReasonExpr)
}

// letGo ends an open step of a run that an operator closes.
func (m *machine) letGo(i int) {
	s := &m.inst.Steps[i]
	s.State = StepAbandoned
	s.Until = 0
	if s.Child != "" {
		s.State = StepUnknown
	}
}

// leafDone resolves a leaf well.
func (m *machine) leafDone(i int, detail ...KV) {
	m.finishNode(i, nil, detail...)
	m.settle(m.inst.Steps[i].Path, ReasonSlow)
}

// leafFail resolves a leaf in a failure. It has no effect of its own.
func (m *machine) leafFail(i int, code, message string) {
	s := &m.inst.Steps[i]
	m.failNode(i, code, message)
	m.settle(s.Path, ReasonSlow)
	if s.Kind == Retriable && m.goesForward(i) {
		m.raise(s.Path, ReasonRefused, "a node that has to succeed failed")
	}
}

// setValues is the node set.
func (m *machine) setValues(i int) {
	s := &m.inst.Steps[i]
	values, err := m.render(i, m.plan(i).Set, Key{})
	if err != nil {
		m.hold(i, ReasonExpr, "set: "+err.Error())
		return
	}
	if len(values) > MaxOutputBytes || m.inst.weight()+len(values) > maxForwardBytes {
		m.hold(i, ReasonTooLarge, "set: "+errOutputTooLarge.Error())
		return
	}
	s.Output = values
	m.leafDone(i)
}

// emitEvent is the node emit. The event's id is that of the place in the run, so that a consumer can
// tell a repetition from another event.
func (m *machine) emitEvent(i int) {
	s, d := &m.inst.Steps[i], m.plan(i).Emit
	id := m.key(i, OpDo, 1)
	key := m.inst.WorkflowID
	if d.Key != nil {
		var err error
		if key, err = d.Key.String(m.scopeAt(i)); err != nil {
			m.hold(i, ReasonExpr, "emit.key: "+err.Error())
			return
		}
	}
	payload, err := m.render(i, d.With, id)
	if err != nil {
		m.hold(i, ReasonExpr, "emit.with: "+err.Error())
		return
	}
	if len(payload) > MaxPayloadBytes || len(key) > maxStartBytes {
		m.hold(i, ReasonTooLarge, "emit: the event is too large")
		return
	}
	m.effects = append(m.effects, Emit{
		Topic: d.Topic, Key: key, Type: d.Type, ID: id.String(), Source: m.inst.WorkflowID, At: m.now, Payload: payload,
	})
	m.transitions++
	s.State = StepDone
	m.fact(KindEmitted, s.Path, KV{"id", id.String()}, KV{"topic", d.Topic}, KV{"type", d.Type})
}

// finishEarly is the node finish: nothing new begins, what is in flight may still be answered, and then
// the run is COMPLETED.
func (m *machine) finishEarly(i int, code string) {
	m.leafDone(i, KV{"code", code})
	if m.inst.FinishedAs == "" {
		m.inst.FinishedAs = code
	}
	m.stopWaits()
}

// finishedAsContinued is FinishedAs while a run that goes on as the next one comes to its end.
const finishedAsContinued = "CONTINUED"

// continueRun is the node continue: as finish, and then the next run begins with a new input.
func (m *machine) continueRun(i int) {
	s := &m.inst.Steps[i]
	input, err := m.render(i, m.plan(i).Continue, Key{})
	if err != nil {
		m.hold(i, ReasonExpr, "continue.input: "+err.Error())
		return
	}
	if len(input) > MaxInputBytes || m.inst.weight()+len(input) > maxForwardBytes {
		m.hold(i, ReasonTooLarge, "continue.input takes "+strconv.Itoa(len(input))+" bytes")
		return
	}
	if m.p.Input != nil {
		if err := m.p.Input.Check(input); err != nil {
			m.hold(i, ReasonExpr, "continue.input: "+err.Error())
			return
		}
	}
	s.Payload = input
	m.leafDone(i)
	if m.inst.FinishedAs == "" {
		m.inst.FinishedAs = finishedAsContinued
	}
	m.stopWaits()
}

// continuing is the step of the continue node that ended the run, -1 = none did.
func (m *machine) continuing() int {
	if m.inst.FinishedAs != finishedAsContinued {
		return -1
	}
	for i := range m.inst.Steps {
		if m.plan(i).Node == NodeContinue && m.inst.Steps[i].State == StepDone && m.inst.Steps[i].Payload != nil {
			return i
		}
	}
	return -1
}

// nextRun ends this run as COMPLETED and begins the next one in its record, under the same plan. The
// start that began the first run is remembered, for its duplicates; so are the signals.
func (m *machine) nextRun(i int) {
	old := m.inst
	old.Phase = Completed
	m.fact(KindCompleted, "")
	m.fact(KindContinued, old.Steps[i].Path, KV{"run", strconv.FormatUint(uint64(old.Run)+1, 10)})
	m.releaseChildren()
	m.settleCancels(KindCancelRefused, KV{"reason", "CONTINUED"})
	m.transitions++
	m.inst = &Instance{
		WorkflowID: old.WorkflowID, Type: old.Type, Version: old.Version, Digest: old.Digest, Run: old.Run + 1,
		Rev: old.Rev, Seq: old.Seq, StartID: old.StartID, InputHash: old.InputHash, Input: old.Steps[i].Payload,
		ReplyTo: old.ReplyTo, Trace: old.Trace, Tags: old.Tags, IssuedAt: old.IssuedAt, LastNow: m.now,
		Cancels: old.Cancels, Suspended: old.Suspended, Parent: old.Parent,
		Signals: old.Signals, Latest: old.Latest, SeenSignals: old.SeenSignals, AdminIDs: old.AdminIDs,
	}
	m.tree, m.moved, m.held = nil, true, false
	m.setUp()
}
