package prove

import (
	"time"

	"github.com/amendsio/amends/sagas"
)

// farDeadline stands for the deadline of a saga: the explorer lets it pass at any moment, so its own
// length must not make it pass by itself.
const farDeadline = 5 * 366 * 24 * time.Hour

// Bound returns a copy of a plan whose runs are bounded: no step, undo or question is sent more often
// than attempts says, pauses neither grow nor vary, and nothing fires only to remind people. The copy
// has the digest of the plan, so the machine takes the one for the other.
//
// What it changes makes fewer things happen, but for the deadline: that becomes too long to pass by
// itself, because the explorer lets it pass at any moment.
func Bound(p *sagas.Plan, attempts int) *sagas.Plan {
	limit := uint32(max(attempts, 1))
	c := *p
	if c.Namespace == "" {
		c.Namespace = "test"
	}
	if c.Deadline > 0 {
		c.Deadline = farDeadline
	}
	c.Steps = append([]sagas.PlanStep(nil), p.Steps...)
	for i := range c.Steps {
		s := &c.Steps[i]
		s.AlertAfter, s.Heartbeat = 0, 0
		s.Retry = flat(s.Retry)
		if s.Retry.Attempts == 0 || s.Retry.Attempts > limit {
			s.Retry.Attempts = limit
		}
		if s.Undo != nil {
			u := *s.Undo
			u.Retry, u.AlertAfter = flat(u.Retry), 0
			s.Undo = &u
		}
		if s.Inquire != nil {
			q := *s.Inquire
			if q.Every > 0 && q.For > q.Every {
				q.For = q.Every
			}
			s.Inquire = &q
		}
		if s.Repeat != nil {
			r := *s.Repeat
			r.Rounds = min(r.Rounds, limit)
			s.Repeat = &r
		}
		if s.Scope != nil {
			d := *s.Scope
			d.Rounds = min(d.Rounds, limit)
			s.Scope = &d
		}
		if s.Approve != nil {
			a := *s.Approve
			a.RemindEvery = 0
			s.Approve = &a
		}
	}
	return &c
}

// flat is a retry without growth and chance. The pause is kept: its length beside other timers is what
// decides their order.
func flat(r sagas.Retry) sagas.Retry {
	r.Jitter, r.Factor = 0, 1
	r.BackoffMax = max(r.BackoffMax, r.Backoff)
	return r
}
