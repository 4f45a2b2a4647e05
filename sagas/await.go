package sagas

import (
	"strconv"
	"time"
)

// openAwait begins to wait for a signal or an event, and takes the first match of those that came before.
func (m *machine) openAwait(i int) {
	d := m.plan(i).Await
	what := []KV{{"signal", d.Signal}}
	if d.Route != "" {
		if !m.openEvent(i) {
			return
		}
		what = []KV{{"topic", d.Topic}} // the value may be personal
	}
	m.openWait(i, d.Within, 0)
	m.enter(i, m.untilDetail(i, what...)...)
	m.lookInBuffer(i)
}

// openWait makes a leaf wait for at most within; 0 = for ever.
func (m *machine) openWait(i int, within, remind time.Duration) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepOpen
	if within > 0 {
		s.Until = after(m.now, within)
	}
	m.armWait(i, remind)
}

// armWait arms the timer of an open wait: its end, or the next reminder if that comes first.
func (m *machine) armWait(i int, remind time.Duration) {
	s := &m.inst.Steps[i]
	s.disarmTimer()
	if remind > 0 {
		if at := after(m.now, remind); s.Until == 0 || at < s.Until {
			s.arm(TimerRemind, 0, 0, 0, at)
			return
		}
	}
	if s.Until != 0 {
		s.arm(TimerWait, 0, 0, 0, s.Until)
	}
}

// rearmWait follows a change of the end of an open wait.
func (m *machine) rearmWait(i int) {
	s := &m.inst.Steps[i]
	if s.Timer.Kind == TimerRemind {
		return // the reminder that comes first arms what follows
	}
	var remind time.Duration
	if d := m.plan(i).Approve; d != nil {
		remind = d.RemindEvery
	}
	m.armWait(i, remind)
}

// untilDetail adds the end of a wait to the detail of a fact.
func (m *machine) untilDetail(i int, detail ...KV) []KV {
	if until := m.inst.Steps[i].Until; until != 0 {
		detail = append(detail, KV{"until", strconv.FormatInt(int64(until), 10)})
	}
	return detail
}

// awaitMatches says whether an await wants a signal of its name.
func (m *machine) awaitMatches(i int, sig *BufferedSignal) bool {
	when := m.plan(i).Await.When
	if when == nil {
		return true
	}
	m.scopeAt(i)
	m.scope.event = sig.Payload
	ok, err := when.Bool(&m.scope)
	if err != nil { // the signal stays where it is, and a person looks at the condition
		m.raise(m.inst.Steps[i].Path, ReasonExpr, "await.when: "+err.Error())
		return false
	}
	return ok
}

// awaited resolves an await with the signal that it consumed.
func (m *machine) awaited(i int, sig *BufferedSignal) {
	m.leafDone(i)
	m.keep(i, sig.Payload)
}

// timedOut handles the end of a wait that has a rule for it.
func (m *machine) timedOut(i int, rule TimeoutRule) {
	s := &m.inst.Steps[i]
	s.disarm()
	m.fact(KindTimedOut, s.Path)
	switch rule {
	case TimeoutContinue:
		m.leafDone(i)
	case TimeoutLane:
		if m.openTimeoutLane(i) { // else it is held: its time is over, but a signal may still come
			m.inst.Steps[i].Lane, m.inst.Steps[i].Until = 1, 0
		}
	default:
		m.leafFail(i, codeTimeout, "nothing came in time")
	}
}

// codeTimeout is the code of a wait whose time is over.
const codeTimeout = "TIMEOUT"
