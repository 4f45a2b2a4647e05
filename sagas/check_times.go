package sagas

import (
	"slices"
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
