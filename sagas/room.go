package sagas

import "time"

// The room of an attempt is the time in which its do may be read and answered. A participant whose queue
// is longer than that reads every do too late, says EXPIRED to each, and each silence puts another do into
// the queue: with the same room again and again that never ends. So the room follows the queue.

// codeExpired is what a participant answers to a do that it read after its deadline.
const codeExpired = "EXPIRED"

// expiredRoomMax bounds the room of an attempt, unless the definition gives it more.
const expiredRoomMax = time.Hour

// attemptRoom is when an attempt that is sent now has to be answered. It is the declared one, until the
// participant's last word was that it read a do of this round too late: then the attempt gets as much as
// the round has lasted, which is no less than the queue was long, so that the room about doubles from one
// attempt to the next. It ends with within and with the key window, and is never below the declared one
// but for within.
func (m *machine) attemptRoom(i int) Time {
	s, d := &m.inst.Steps[i], m.plan(i)
	due := m.attemptEnd(i)
	if s.Code != codeExpired || s.Attempts <= 1 {
		return due
	}
	lasted := min(m.now-max(s.FirstSent, s.BudgetAt), Time(expiredRoomMax.Milliseconds()))
	room := m.now + lasted
	if d.KeyWindow > 0 {
		room = min(room, after(s.FirstSent, d.KeyWindow))
	}
	if end := m.withinEnd(i); end > m.now {
		room = min(room, end)
	}
	return max(due, room)
}

// readLate notes what an older attempt tells of the queue: its do was read too late. That decides nothing
// about the step; the next attempt gets more room.
func (m *machine) readLate(i int, r *Reply) string {
	s := &m.inst.Steps[i]
	if r.Outcome != OutcomeFailedRetriable || r.Code != codeExpired || s.Code == codeExpired || m.turned(i) {
		return ignoredStale
	}
	m.blame(s, r)
	return ""
}
