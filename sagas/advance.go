package sagas

// advance lets everything happen that the present state allows, in plan order, until nothing more
// does. It is the only place where a step is first sent, an undo is first sent and a phase ends.
func (m *machine) advance() {
	for m.pass() {
		if m.transitions > maxTransitions {
			m.raise("", ReasonLivelock, "one event caused too many transitions")
			return
		}
	}
}

// pass goes once over the plan and says whether anything moved.
func (m *machine) pass() bool {
	before := m.transitions
	if m.inst.dynamic() {
		m.passTree()
		return m.transitions != before
	}
	switch m.inst.Phase {
	case Running:
		m.decide()
		if m.inst.Phase != Compensating {
			m.forward()
		}
	case Finishing:
		m.forward()
	case Compensating:
		m.backward()
	}
	return m.transitions != before
}

// passTree is pass for an instance with frames.
func (m *machine) passTree() {
	if m.inst.Phase != Compensating {
		m.decideTree()
	}
	switch m.inst.Phase {
	case Running, Finishing:
		m.forwardTree()
	case Compensating:
		m.backwardTree()
	}
}

// decide is where RUNNING ends for better or worse: rows 8, 9, 11 and 12.
func (m *machine) decide() {
	inst := m.inst
	if pivot := m.decidedPivot(); pivot >= 0 {
		if inst.Steps[pivot].State == StepDone { // row 11
			m.commit(pivot)
		} else { // row 12
			m.compensate(m.causeOf(pivot))
		}
		return
	}
	if i := m.failed(); i >= 0 && !m.pivotInFlight() { // row 8
		m.compensate(m.causeOf(i))
		return
	}
	m.checkDeadline()
}

// checkDeadline fires the deadline when it has passed, though another event or timer came first.
func (m *machine) checkDeadline() {
	if m.inst.Deadline != 0 && m.now >= m.inst.Deadline {
		m.fireDeadline()
	}
}

// decidedPivot is the pivot that is DONE, else the first one whose refusal is a failure, else -1. More
// than one pivot can be sent only one after the other, each but the last refused.
func (m *machine) decidedPivot() int {
	if m.p.Pivot < 0 {
		return -1
	}
	refused := -1
	for i := range m.inst.Steps {
		s := &m.inst.Steps[i]
		switch {
		case s.Kind != Pivot:
		case s.State == StepDone:
			return i
		case s.State == StepRefused && refused < 0 && m.fails(i):
			refused = i
		}
	}
	return refused
}

// commit is row 11: from here on the saga only goes forward.
func (m *machine) commit(pivot int) {
	inst := m.inst
	m.transitions++
	inst.Phase = Finishing
	inst.Deadline = 0
	m.fact(KindCommitted, inst.Steps[pivot].Path)
	m.settle("", ReasonDeadline)
	m.settleCancels(KindCancelRefused, KV{"reason", "COMMITTED"})
}

// failed returns the first step in plan order whose failure the saga cannot pass over, or -1.
func (m *machine) failed() int {
	for i := range m.inst.Steps {
		if m.fails(i) {
			return i
		}
	}
	return -1
}

// fails says whether step i ended in a way that calls for compensation. A pivot does so only when it
// was definitely refused, a retriable step never, an optional one neither.
func (m *machine) fails(i int) bool {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepRefused:
		return s.Kind != Optional && s.Kind != Retriable && !m.plan(i).OnReject
	case StepFailed, StepUnknown:
		return s.Kind != Optional && !m.frozen(i)
	}
	return false
}

// frozen says whether an unknown outcome of step i has to be cleared up before the saga may go on:
// it is never turned into compensation by the passing of time.
func (m *machine) frozen(i int) bool {
	kind := m.inst.Steps[i].Kind
	return kind == Pivot || kind == Retriable || (kind != Optional && m.plan(i).OnUnknown == UnknownAttention)
}

// resolved says whether the steps after i may go on.
func (m *machine) resolved(i int) bool {
	s := &m.inst.Steps[i]
	switch s.State {
	case StepDone, StepSkipped:
		return true
	case StepRefused:
		return s.Kind == Optional || s.Kind != Retriable && m.plan(i).OnReject
	case StepFailed, StepUnknown:
		return s.Kind == Optional
	}
	return false
}

// pivotInFlight says whether the pivot was sent and its outcome is open. That includes the one that
// waits for a person.
func (m *machine) pivotInFlight() bool {
	if m.p.Pivot < 0 {
		return false
	}
	for i := range m.inst.Steps {
		s := &m.inst.Steps[i]
		if s.Kind != Pivot {
			continue
		}
		switch s.State {
		case StepPending, StepBackoff, StepInquiring, StepUnknown, StepFailed, StepOpen:
			return true
		}
	}
	return false
}

// causeOf names the failure of step i.
func (m *machine) causeOf(i int) Cause {
	s := &m.inst.Steps[i]
	code := s.Code
	if code == "" {
		code = s.State.String()
	}
	return Cause{Kind: CauseStep, Path: s.Path, Code: code, Message: s.Message}
}

// inFlight says whether the do of the step was sent and its outcome is still awaited.
func (s *StepState) inFlight() bool {
	return s.State == StepPending || s.State == StepBackoff || s.State == StepInquiring || s.State == StepOpen && s.Child != ""
}
