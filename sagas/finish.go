package sagas

// complete is row 14.
func (m *machine) complete() {
	m.needWhole()
	inst := m.inst
	if i := m.continuing(); i >= 0 {
		m.nextRun(i)
		return
	}
	if m.hasAttention("", ReasonExpr) || m.hasAttention("", ReasonTooLarge) {
		return // a person has to look at it first
	}
	output, err := m.render(-1, m.p.Output, Key{})
	switch {
	case err != nil:
		m.raise("", ReasonExpr, "output: "+err.Error())
		return
	case len(output) > MaxPayloadBytes || inst.weight()+len(output) > maxForwardBytes:
		m.raise("", ReasonTooLarge, "the output of the saga is too large")
		return
	}
	m.completeWith(output)
}

// completeWith ends the run with its output.
func (m *machine) completeWith(output []byte) {
	inst := m.inst
	inst.Output = output
	for i := range inst.Steps {
		s := &inst.Steps[i]
		s.disarm()
		if s.State == StepIdle || s.State == StepReady || s.State == StepOpen { // the saga ended early
			s.State, s.Stuck, s.Until = StepAbandoned, false, 0
		}
	}
	if !inst.kept() {
		m.forgetDebts()
	}
	m.end(Completed)
	if inst.FinishedAs == "" {
		m.fact(KindCompleted, "")
	} else {
		m.fact(KindCompleted, "", KV{"code", inst.FinishedAs})
	}
	m.answer()
}

// forgetDebts keeps the record small once nothing can be owed any more.
func (m *machine) forgetDebts() {
	for i := range m.inst.Steps {
		s := &m.inst.Steps[i]
		s.Payload, s.Question, s.Record = nil, nil, UndoRecord{}
	}
}

// answer tells the end to whoever waits for it.
func (m *machine) answer() {
	m.result()
	m.tellParent()
	if inst := m.inst; inst.Phase != Completed || !inst.kept() {
		m.releaseChildren()
	}
}

// compensated is row 15. What an operator wrote off before a late effect reopened the run is still
// residue: such a run ends as CLOSED again.
func (m *machine) compensated() {
	phase, kind := Compensated, KindCompensated
	if len(m.inst.Residue) > 0 {
		phase, kind = Closed, KindClosed
	}
	for i := range m.inst.Steps {
		m.inst.Steps[i].disarm()
	}
	m.end(phase)
	m.fact(kind, m.inst.Cause.Path)
	m.answer()
}

// end enters a terminal phase and begins the retention. Attention that was open becomes history: it
// is in the lifecycle.
func (m *machine) end(phase Phase) {
	m.needWhole()
	inst := m.inst
	m.transitions++
	inst.Phase = phase
	inst.EndedAt = m.now
	inst.Deadline = 0
	inst.CancelRequested, inst.DeadlineHit = false, false
	inst.Attention = nil
	inst.Suspended = false
	m.dropSignals()
	m.retain()
}

// retain begins the retention. A child whose parent may still ask it to go back is kept until the
// parent lets go of it.
func (m *machine) retain() {
	inst := m.inst
	state, marker := DefaultStateRetention, DefaultMarkerRetention
	if m.p != nil {
		state, marker = orDefault(m.p.Retention, state), orDefault(m.p.MarkerRetention, marker)
	}
	inst.Expires = after(m.now, state)
	if inst.Phase == Completed && inst.kept() {
		inst.Expires = 0
	}
	inst.MarkerTTL = millis(marker)
}

// becomeMarker is row 20: what remains is enough to recognise a start that already ran.
func (m *machine) becomeMarker() {
	inst := m.inst
	m.inst = &Instance{
		WorkflowID: inst.WorkflowID, Type: inst.Type, Version: inst.Version, Digest: inst.Digest, Run: inst.Run,
		Phase: Marker, Ended: inst.Phase, Rev: inst.Rev, Seq: inst.Seq,
		StartID: inst.StartID, InputHash: inst.InputHash,
		StartedAt: inst.StartedAt, LastNow: inst.LastNow, EndedAt: inst.EndedAt,
		Cancels: inst.Cancels,
		// Not before the start itself is too old to be accepted again, even if its producer's clock was
		// ahead of ours.
		Expires: max(afterMillis(max(inst.EndedAt, inst.IssuedAt), inst.MarkerTTL), inst.Expires),
	}
	m.fact(KindExpired, "", KV{"to", Marker.String()})
}
