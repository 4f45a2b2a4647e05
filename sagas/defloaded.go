package sagas

// defLoaded lets a PARKED instance begin (row 2 -> row 1), if the plan is the one it waits for.
func (m *machine) defLoaded() string {
	inst, p := m.inst, m.p
	switch {
	case inst == nil:
		return ignoredUnknownInstance
	case inst.Phase != Parked:
		return ignoredStale
	case p == nil || p.Type != inst.Type || (inst.Version != 0 && inst.Version != p.Version):
		return ignoredUnknownDefinition
	}
	inst.Version = p.Version
	if class, err := admissible(p, inst.Input, inst.IssuedAt, m.now); err != nil { // row 3
		m.refuseParked(class, err.Error())
		return ""
	}
	m.run()
	return ""
}

// refuseParked ends the wait of a start that cannot run. The start itself goes to the dead letters:
// the record that this event came from is another one, or none.
func (m *machine) refuseParked(class, message string) {
	inst := m.inst
	m.fact(KindRejected, "", KV{"code", class}, KV{"message", clip(message, maxMessage)})
	start := &Start{
		WorkflowID: inst.WorkflowID, Type: inst.Type, Version: inst.Version, StartID: inst.StartID,
		Input: inst.Input, IssuedAt: inst.IssuedAt, ReplyTo: inst.ReplyTo, Trace: inst.Trace, Parent: inst.Parent,
	}
	if len(inst.Tags) > 0 {
		start.Tags = make(map[string]string, len(inst.Tags))
		for _, t := range inst.Tags {
			start.Tags[t.Key] = t.Value
		}
	}
	m.effects = append(m.effects, DeadLetter{Class: class, Message: message, Parked: start})
	m.rejectChild(start, class, message)
	m.unmatched(inst.Signals, droppedExpired)
	m.dropped = true
}
