package sagas

import (
	"slices"
	"strconv"
	"time"
)

// checkTimes is about limits that contradict each other.
func (c *checker) checkTimes(i int, path string) {
	s := c.defs[i]
	if s.Within > 0 && s.Attempt > s.Within {
		c.fault(path+"/attempt", "SG17", "", "attempt %s is longer than within %s", formatDuration(s.Attempt), formatDuration(s.Within))
	}
	if c.d.Deadline > 0 && !c.committed(i) {
		limit, field := s.Within, "within"
		if limit == 0 {
			limit, field = s.Attempt, "attempt"
		}
		if limit > c.d.Deadline {
			c.fault(path+"/"+field, "SG17", "", "%s %s is longer than the deadline %s of the saga", field, formatDuration(limit), formatDuration(c.d.Deadline))
		}
	}
	if s.Heartbeat > 0 && s.Heartbeat >= s.Attempt {
		c.fault(path+"/heartbeat", "SG18", "Shorten it, or raise attempt.", "heartbeat %s is not shorter than attempt %s, so none is ever due", formatDuration(s.Heartbeat), formatDuration(s.Attempt))
	}
	longest, bounded := s.longest()
	if s.Retry.Attempts > 0 && s.Within > 0 && longest > s.Within && s.Attempt <= s.Within {
		c.fault(path+"/retry/attempts", "SG17", "Raise within, or try less often.", "%d attempts of %s plus backoff need %s, but within is %s",
			s.Retry.Attempts, formatDuration(s.Attempt), formatDuration(longest), formatDuration(s.Within))
	}
	if s.Within > 0 && (!bounded || longest > s.Within) {
		longest, bounded = s.Within, true
	}
	if !bounded && s.Kind != Retriable {
		c.fault(path+"/within", "SG17", "Set within or retry.attempts.", "the retries of a %s step must end", s.Kind)
	}
	window := c.plan.Steps[i].KeyWindow
	if window > 0 && s.Inquire == nil && (!bounded || longest > window) {
		participant := c.plan.Steps[i].Participant
		takes := "without end"
		if bounded {
			takes = "for " + formatDuration(longest)
		}
		hint := "Shorten within"
		if c.d.Participants[participant].Offers(OpInquire) {
			hint += " or set onUnknown: inquire"
		}
		c.fault(path, "SG20", hint+".", "retries can run %s, but %s forgets a key after %s: a late retry could happen twice", takes, participant, formatDuration(window))
	}
}

// checkWait is about a node that waits for a signal or for people; within 0 = for ever.
func (c *checker) checkWait(i int, path string, within time.Duration) {
	if within > 0 {
		c.checkLength(i, path+"/within", "within", within)
		return
	}
	switch {
	case c.committed(i):
		c.fault(path, "SG32", "Set within:.", "%s may wait for ever: it comes after the pivot, where the deadline has no say", c.defs[i].ID)
	case c.d.Deadline == 0:
		c.fault(path, "SG32", "Set within:, or a deadline: of the saga.", "%s may wait for ever: the saga has no deadline", c.defs[i].ID)
	}
}

// checkLength reports a wait that cannot end before the deadline of the saga.
func (c *checker) checkLength(i int, path, what string, d time.Duration) {
	if c.d.Deadline > 0 && d > c.d.Deadline && !c.committed(i) {
		c.fault(path, "SG19", "", "%s %s is longer than the deadline %s of the saga", what, formatDuration(d), formatDuration(c.d.Deadline))
	}
}

// checkWaits looks at the pauses of a repeat or scope one by one: which round is the last is not known.
func (c *checker) checkWaits(i int, path string, waits []time.Duration) {
	for k, w := range waits {
		c.checkLength(i, path+"/"+strconv.Itoa(k), "the pause", w)
	}
}

// checkRetention warns when an answer can come after its instance was forgotten.
func (c *checker) checkRetention() {
	for i, def := range c.defs {
		if def.Node != NodeCall {
			continue
		}
		takes, what := def.Within, "within"
		if longest, bounded := def.longest(); bounded && (takes == 0 || longest < takes) {
			takes, what = longest, "retry"
		}
		if takes > c.d.Retention.State {
			c.warn("retention/state", "SG31", "Keep the state longer.", "state %s is shorter than %s %s of %s: an answer that comes late finds no instance", formatDuration(c.d.Retention.State), what, formatDuration(takes), c.defs[i].ID)
			return
		}
	}
}

// committed says whether node i runs after a point of no return, where the deadline has no say.
func (c *checker) committed(i int) bool {
	return slices.ContainsFunc(c.pivots, func(p int) bool { return c.follows(i, p) })
}

// longest is how long all attempts of a round can take, going by retry alone.
func (s *StepDef) longest() (total time.Duration, bounded bool) {
	if s.Retry.Attempts == 0 {
		return 0, false
	}
	total = s.Attempt
	backoff := float64(s.Retry.Backoff)
	for n := uint32(1); n < s.Retry.Attempts; n++ {
		pause := time.Duration(min(backoff, float64(s.Retry.BackoffMax)))
		if pause == s.Retry.BackoffMax || s.Retry.Factor == 1 { // the rest are all alike
			rest := float64(s.Retry.Attempts-n) * float64(pause+s.Attempt)
			return time.Duration(min(float64(total)+rest, float64(MaxDuration))), true
		}
		total += pause + s.Attempt
		backoff *= s.Retry.Factor
	}
	return min(total, MaxDuration), true
}
