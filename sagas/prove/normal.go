package prove

import (
	"slices"

	"github.com/amendsio/amends/sagas"
)

// base is the time of the last change in every state: 2026-01-01T00:00:00Z.
const base sagas.Time = 1_767_225_600_000

// normal returns the instance as if its last change had been at base: every moment keeps its distance
// from the last change, so what the machine will do is the same. What no longer decides anything is
// set to one value, so that equal futures meet:
//
//   - counters of revisions, facts and timer generations, texts for people, moments that are only kept;
//   - the deadline of the saga and the end of a retention, which the explorer lets pass by itself;
//   - the cause and the codes, once the saga has turned round;
//   - the moment of the first sending once no rule counts from it any more;
//   - how often a step, its question or its undo was sent, once that is settled: then it only tells a
//     known attempt from one never sent, and every message on its way is a known one.
//
// Plain explorations keep the last three.
//
// An instance that the machine has just made is changed in place; given is the one that it got, which
// it gives back when nothing happened, and which is not changed.
func (x *explorer) normal(inst, given *sagas.Instance) *sagas.Instance {
	if inst == nil {
		return nil
	}
	c := *inst
	shift := base - inst.LastNow
	move := func(t *sagas.Time) {
		if *t != 0 {
			*t += shift
		}
	}
	fix := func(t *sagas.Time, at sagas.Time) {
		if *t != 0 {
			*t = at
		}
	}
	c.Rev, c.Seq = 1, 1
	c.SeenSignals, c.AdminIDs = nil, nil
	c.StartedAt, c.IssuedAt, c.LastNow = base, base, base
	fix(&c.EndedAt, base)
	fix(&c.Deadline, base+sagas.Time(farDeadline.Milliseconds()))
	fix(&c.Expires, base+7*24*3_600_000)
	if len(c.Attention) > 0 {
		c.Attention = slices.Clone(c.Attention)
		for i := range c.Attention {
			c.Attention[i].Since, c.Attention[i].Text = base, ""
		}
	}
	if len(c.Signals) > 0 {
		c.Signals = slices.Clone(c.Signals)
		for i := range c.Signals {
			c.Signals[i].At = base
			fix(&c.Signals[i].Expires, base+7*24*3_600_000)
		}
	}
	back := !x.opts.Plain && (c.Phase == sagas.Compensating || c.Phase.Terminal())
	if back && c.Cause.Kind != 0 && c.Cause.Kind != sagas.CauseLateEffect {
		c.Cause = sagas.Cause{Kind: sagas.CauseCancel}
	}
	if given != nil && len(c.Steps) > 0 && len(given.Steps) > 0 && &c.Steps[0] == &given.Steps[0] {
		c.Steps = slices.Clone(c.Steps)
	}
	for i := range c.Steps {
		s := &c.Steps[i]
		for _, t := range []*sagas.Time{&s.Until, &s.Lease, &s.FirstSent, &s.AskedAt, &s.UndoSent, &s.Timer.Due, &s.Alert} {
			move(t)
		}
		if len(s.Votes) > 0 {
			s.Votes = slices.Clone(s.Votes)
			for k := range s.Votes {
				s.Votes[k].At = base
			}
		}
		s.Message = ""
		switch {
		case s.Timer == sagas.Timer{}:
			s.Gen = 1
		case s.Timer.Gen == s.Gen:
			s.Gen, s.Timer.Gen = 1, 1
		default: // armed for another generation: it will be dropped
			s.Gen, s.Timer.Gen = 2, 1
		}
		if !x.opts.Plain {
			x.forgetHistory(s)
			if back && s.State != sagas.StepPending && s.State != sagas.StepInquiring {
				s.Code, s.Fatal = "", false
			}
		}
	}
	return &c
}

// forgetHistory sets what no rule asks for any more to one value.
func (x *explorer) forgetHistory(s *sagas.StepState) {
	d := x.stepOf(s.Path)
	open := s.State == sagas.StepPending || s.State == sagas.StepBackoff
	if !open || d.Within == 0 && d.KeyWindow == 0 {
		fixTime(&s.FirstSent)
	}
	if s.State != sagas.StepInquiring && s.Undo != sagas.UndoInquiring {
		fixTime(&s.AskedAt)
	}
	if s.Undo != sagas.UndoPending && s.Undo != sagas.UndoBackoff || d.KeyWindow == 0 {
		fixTime(&s.UndoSent)
	}
	limit := uint32(x.opts.Attempts)
	if s.State == sagas.StepDone && s.Attempts > 0 {
		s.Attempts = max(s.Attempts, limit)
	}
	if s.State == sagas.StepDone && s.Undo != sagas.UndoInquiring && s.Asked > 0 {
		s.Asked = max(s.Asked, limit)
	}
	if s.Undo == sagas.UndoUndone || s.Undo == sagas.UndoNoop {
		s.UndoAttempts = max(s.UndoAttempts, limit)
	}
}

// follow brings the counters of the books along with those that forgetHistory set.
func (x *explorer) follow(s *state) {
	if s.inst == nil || x.opts.Plain {
		return
	}
	for i := range s.inst.Steps {
		st := &s.inst.Steps[i]
		b := s.find(st.Path)
		if b == nil {
			continue
		}
		if b.round == st.Round {
			b.sent = max(b.sent, st.Attempts)
			b.asked = max(b.asked, st.Asked)
		}
		if b.undoRnd == st.UndoRound {
			b.undoSent = max(b.undoSent, st.UndoAttempts)
		}
		d := x.stepOf(st.Path)
		if st.State != sagas.StepPending && st.State != sagas.StepBackoff || d.Within == 0 && d.KeyWindow == 0 {
			b.first = 0
		}
		if st.State == sagas.StepDone || st.State == sagas.StepRefused {
			b.doHash = 0
		}
		if st.Undo == sagas.UndoUndone || st.Undo == sagas.UndoNoop {
			b.undoHash = 0
		}
	}
}

func fixTime(t *sagas.Time) {
	if *t != 0 {
		*t = base
	}
}
