package sagas

// A lease is the moment at which the effect of a step lapses by itself, as the hold on a card. The
// pivot builds on it, so it is not sent when a lease might end before the pivot is answered.

// codeLeaseExpired is the code of a pivot that was not sent because a lease would have ended first.
const codeLeaseExpired = "LEASE_EXPIRED"

// takeLease evaluates the lease of a step that is done. One that cannot be read counts as none, and a
// person is asked to look at it.
func (m *machine) takeLease(i int) {
	d := m.plan(i)
	if d.Lease == nil {
		return
	}
	s := &m.inst.Steps[i]
	at, _, err := moment(d.Lease, m.scopeAt(i))
	if err != nil {
		m.raise(s.Path, ReasonOutput, "lease: "+err.Error())
	}
	s.Lease = at // zero, too: it never lapses
}

// lapsed is the first step whose lease ends before an attempt of the pivot i that is sent now has to be
// answered, -1 = none.
func (m *machine) lapsed(i int) int {
	m.needWhole()
	due := after(m.now, orDefault(m.plan(i).Attempt, DefaultAttempt))
	for k := range m.inst.Steps {
		s := &m.inst.Steps[k]
		if s.Lease != 0 && s.Lease <= due && s.State == StepDone && s.Undo == UndoNone {
			return k
		}
	}
	return -1
}

// leaseHolds says whether the pivot i may be sent for the first time. If not, it is REFUSED: nothing
// went out, so it surely has no effect.
func (m *machine) leaseHolds(i int) bool {
	if m.inst.Steps[i].Kind != Pivot {
		return true
	}
	k := m.lapsed(i)
	if k < 0 {
		return true
	}
	m.refuse(i, codeLeaseExpired, "the lease of "+m.inst.Steps[k].Path+" ends before an attempt would")
	return false
}
