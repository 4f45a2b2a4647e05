package sagas

// codeUnsupported is the code of a node that this release cannot run.
const codeUnsupported = "UNSUPPORTED"

// openLeaf begins a node that is neither a call nor a block. REQUIRES: step i is READY.
func (m *machine) openLeaf(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepRefused
	s.Code, s.Message = codeUnsupported, "this release cannot run a node of the kind "+m.plan(i).Node.String()
	m.fact(KindStepRejected, s.Path, KV{"code", s.Code}, KV{"message", s.Message})
}

// leafTimer handles the end of a wait, or a reminder, of such a node. REQUIRES: step i is OPEN.
func (m *machine) leafTimer(i int, t Timer) {
	m.abandonLeaf(i)
}

// abandonLeaf ends an open one that must not go on, because what is around it turned round or the
// saga is finished. One that cannot end at once stays OPEN and counts as in flight.
func (m *machine) abandonLeaf(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepAbandoned
	s.Until = 0
	s.disarm()
}

// takeSignal consumes the first buffered signal of one of these names for step i, and says whether
// there was one.
func (m *machine) takeSignal(i int, names ...string) bool { return false }
