package sagas

import "strconv"

// openSleep begins to wait for a time. The end is taken once, on entry. A time that has passed, or a
// signal to wake up that came before, resolves the node at once.
func (m *machine) openSleep(i int) {
	s, d := &m.inst.Steps[i], m.plan(i).Sleep
	until := after(m.now, d.For)
	if d.Until != nil {
		at, has, err := moment(d.Until, m.scopeAt(i))
		if err == nil && !has {
			err = errNotMoment
		}
		if err != nil {
			m.hold(i, ReasonExpr, "sleep.until: "+err.Error())
			return
		}
		until = at
	}
	s.Until = max(until, 1)
	m.armWait(i, 0)
	m.enter(i, m.untilDetail(i)...)
	if !m.lookInBuffer(i) && s.Until <= m.now {
		m.slept(i, false)
	}
}

// slept ends a sleep.
func (m *machine) slept(i int, woken bool) {
	text := strconv.FormatBool(woken)
	m.leafDone(i, KV{"woken", text})
	m.inst.Steps[i].Output = []byte(`{"woken":` + text + `}`)
}
