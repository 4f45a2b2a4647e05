package sagatest_test

import (
	"fmt"
	"slices"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// oracle keeps the books of one instance from the outside: it sees the commands that went out and
// the replies that went in, never the machine's own state. It is deliberately naive, so that it can
// disagree with the machine.
type oracle struct {
	plan  *sagas.Plan
	steps map[string]*account
}

// account is what the books say about one step.
type account struct {
	sent      map[uint32]uint32 // round -> attempts of the do that were emitted
	undoSent  map[uint32]uint32 // round -> attempts of the undo
	executed  bool              // a reply said that the do took effect
	refused   bool              // a reply said definitely that it did not
	onlyOne   bool              // that reply came while a single attempt had been emitted
	tooLate   bool              // that reply came when an undo was on its way already
	undone    bool              // an undo was answered ok and nothing has contradicted it since
	undoNoop  bool              // that answer was a noop
	undoRound uint32            // the round of that undo
}

func newOracle(plan *sagas.Plan) *oracle {
	o := &oracle{plan: plan, steps: make(map[string]*account)}
	for i := range plan.Steps {
		o.steps[plan.Steps[i].Path] = &account{sent: make(map[uint32]uint32), undoSent: make(map[uint32]uint32)}
	}
	return o
}

func (a *account) attempts() uint32 {
	var n uint32
	for _, k := range a.sent {
		n += k
	}
	return n
}

// debt says that the step may have an effect that nobody has undone: a do went out, and neither a
// refusal of the only attempt nor an undo settled it.
func (a *account) debt() bool {
	if a.attempts() == 0 || a.undone {
		return false
	}
	return a.executed || !a.refused
}

// mayOwe is debt, also counting a refusal of one of several attempts: an undo of it is due when the
// saga compensates, because another attempt may have taken effect.
func (a *account) mayOwe() bool {
	return a.debt() || a.refused && !a.onlyOne && !a.undone
}

// reply books what a participant said. It is booked before the effects of the same event.
func (o *oracle) reply(r sagas.Reply) {
	a := o.steps[r.Path]
	if a == nil || r.Run != 1 {
		return
	}
	switch r.Op {
	case sagas.OpDo, sagas.OpInquire:
		if r.Op == sagas.OpDo && r.Attempt > a.sent[r.Round] {
			return // never emitted
		}
		executed := r.Outcome == sagas.OutcomeOK || r.Outcome == sagas.OutcomeExecuted || r.Effect == sagas.EffectDone
		refused := r.Outcome == sagas.OutcomeRejected || r.Outcome == sagas.OutcomeNotExecuted ||
			r.Outcome == sagas.OutcomeFailedFatal && r.Effect == sagas.EffectNone
		switch {
		case executed:
			a.executed = true
			if a.undone && a.undoNoop {
				a.undone = false // the undo found nothing, and yet there was something
			}
		case refused && !a.refused && !a.executed:
			a.refused = true
			a.onlyOne = a.attempts() == 1
			a.tooLate = len(a.undoSent) > 0
		}
	case sagas.OpUndo:
		if r.Attempt > a.undoSent[r.Round] || r.Outcome != sagas.OutcomeOK {
			return
		}
		if r.Noop && a.executed && r.Round == 1 {
			return // a contradiction: it counts as undone only after another round
		}
		a.undone, a.undoNoop, a.undoRound = true, r.Noop, r.Round
	}
}

func (o *oracle) command(c sagas.Command) {
	a := o.steps[c.Path]
	if a == nil {
		return
	}
	switch c.Op {
	case sagas.OpDo:
		a.sent[c.Round] = max(a.sent[c.Round], c.Attempt)
		a.undone = false
	case sagas.OpUndo:
		a.undoSent[c.Round] = max(a.undoSent[c.Round], c.Attempt)
	}
}

// book takes one record of a trace.
func (o *oracle) book(r sagatest.Record) {
	if rep, ok := r.Event.(sagas.Reply); ok {
		o.reply(rep)
	}
	for _, e := range r.Effects {
		if c, ok := e.(sagas.Command); ok {
			o.command(c)
		}
	}
}

// dependents are the plan indexes of every step that waits for i, directly or not.
func dependents(p *sagas.Plan, i int) []int {
	seen := map[int]bool{}
	var walk func(int)
	walk = func(i int) {
		for j := range p.Steps {
			if slices.Contains(p.Steps[j].Deps, i) && !seen[j] {
				seen[j] = true
				walk(j)
			}
		}
	}
	walk(i)
	var out []int
	for j := range p.Steps {
		if seen[j] {
			out = append(out, j)
		}
	}
	return out
}

// commands of one record.
func commands(r sagatest.Record) []sagas.Command {
	var out []sagas.Command
	for _, e := range r.Effects {
		if c, ok := e.(sagas.Command); ok {
			out = append(out, c)
		}
	}
	return out
}

// describe is a trace as text, for failure messages.
func describe(trace []sagatest.Record, plan *sagas.Plan) string {
	out := ""
	for i, r := range trace {
		out += fmt.Sprintf("%3d %s\n", i, sagatest.Describe(r))
	}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		out += fmt.Sprintf("    step %d %s kind=%d deps=%v attempts=%d attempt=%v within=%v keyWindow=%v inquire=%v undo=%v\n", i, s.Path, s.Kind, s.Deps, s.Retry.Attempts, s.Attempt, s.Within, s.KeyWindow, s.Inquire != nil, s.Undo != nil)
	}
	return out
}
