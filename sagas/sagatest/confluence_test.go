package sagatest_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// ending is what is left of a run when nothing moves any more. Two runs are to agree on all of it.
type ending struct {
	Phase     sagas.Phase
	Output    string
	Attention []string          // reason and path
	Effects   map[string]int    // executed less reversed, of what an undo could take back or must stand
	Steps     map[string]string // COMPLETED: state and output of what was not turned round
}

// P3: confluence. Whatever the order in which commands and replies arrive, a run ends in the same phase,
// with the same output, the same attention and the same effects; when it completes, every step that was
// not turned round has the same state and output too. The conditions are those of the package comment
// of sagas; the effect of a step that owes nothing may or may not be there once it was turned round.
func TestP03_Confluence(t *testing.T) {
	var ends tally
	rapid.Check(t, func(t *rapid.T) {
		p := drawConfluentPlan(t)
		input := drawInput(t, p)
		seed := rapid.Uint32().Draw(t, "answers")
		one := confluentRun(t, p, input, seed, "first")
		ends.add(one.s.w.Instance())
		for _, label := range []string{"second", "third"} {
			other := confluentRun(t, p, input, seed, label)
			if diff := cmp.Diff(one.ending(), other.ending()); diff != "" {
				t.Fatalf("two orders, two ends:\n%s\nfirst\n%s\n%s\n%s", diff, describe(one.s.trace, p), label, describe(other.s.trace, p))
			}
		}
	})
	ends.require(t, sagas.Completed, sagas.Compensated)
}

// drawConfluentPlan draws a plan whose ends do not depend on the order of replies: neither time, nor the
// first of several, nor an effect that nothing takes back, decides.
func drawConfluentPlan(t *rapid.T) *sagas.Plan {
	p := rapid.Custom(drawOrderedPlan).Filter(func(p *sagas.Plan) bool {
		for i := range p.Steps {
			if p.Steps[i].Node == sagas.NodeFinish && !alone(p, i) {
				return false
			}
		}
		return true
	}).Draw(t, "plan")
	c := *p
	c.Deadline = 0
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		s := &c.Steps[i]
		s.Within, s.KeyWindow, s.Heartbeat = 0, 0, 0
		if s.Kind == sagas.Retriable && mayTurn(p, i) {
			s.Kind = sagas.Optional
		}
		if s.Node == sagas.NodeEach && s.Each.OnFailure == sagas.ItemTolerate && p.Pivot >= 0 && i > p.Pivot && !mayTurn(p, i) { // nobody takes its failure
			each := *s.Each
			each.OnFailure = sagas.ItemCollect
			s.Each = &each
		}
		if s.Node == sagas.NodeCall {
			s.Keep = []string{"v"} // the more can differ
		}
	}
	return &c
}

// drawOrderedPlan draws a plan without races. Nobody plays children here.
func drawOrderedPlan(t *rapid.T) *sagas.Plan {
	if rapid.Bool().Draw(t, "graph") {
		return drawGraphPlan(t)
	}
	text := sagasgen.Definition(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }, sagasgen.Options{
		Kinds: []sagas.NodeKind{
			sagas.NodeParallel, sagas.NodeChoose, sagas.NodeEach, sagas.NodeScope, sagas.NodeRepeat, sagas.NodeAwait, sagas.NodeSleep,
			sagas.NodeApprove, sagas.NodeEmit, sagas.NodeSet, sagas.NodeFail, sagas.NodeFinish, sagas.NodeContinue,
		},
	})
	return compile(t, strings.ReplaceAll(text, `"=saga.now"`, `"=input.?n.orValue(0)"`))
}

// alone says whether nothing can be at work beside step i.
func alone(p *sagas.Plan, i int) bool {
	for x := i; x >= 0; x = p.Steps[x].Parent {
		up := p.Steps[x].Parent
		if up >= 0 && (p.Steps[up].Node == sagas.NodeParallel || p.Steps[up].Node == sagas.NodeEach) {
			return false
		}
		for y := range p.Steps {
			if p.Steps[y].Parent == up && p.Steps[y].Lane == p.Steps[x].Lane && y != x && !waitsFor(p, x, y) && !waitsFor(p, y, x) {
				return false
			}
		}
	}
	return true
}

// mayTurn says whether something around step i may be turned round once i was sent.
func mayTurn(p *sagas.Plan, i int) bool {
	if p.Pivot < 0 {
		return true
	}
	for x := p.Steps[i].Parent; x >= 0; x = p.Steps[x].Parent {
		if d := &p.Steps[x]; d.Node == sagas.NodeScope || d.Node == sagas.NodeEach && d.Each.OnFailure > sagas.ItemFails {
			return true
		}
	}
	return false
}

// alike says whether everything that fails inside a scope has the code that the participants give.
func alike(p *sagas.Plan) bool {
	for i := range p.Steps {
		for j := i + 1; p.Steps[i].Node == sagas.NodeScope && j < p.Steps[i].End; j++ {
			switch d := &p.Steps[j]; {
			case d.Node == sagas.NodeAwait, d.Node == sagas.NodeApprove, d.Node == sagas.NodeFail, d.Node == sagas.NodeEach && d.Each.OnFailure == sagas.ItemTolerate:
				return false
			}
		}
	}
	return true
}

// orderedRun is one run of a plan whose messages arrive in an order that was drawn.
type orderedRun struct {
	s      *scenario
	turned map[string]bool // paths of steps that were ever in a frame that was turned round by itself
}

// confluentRun gives each command the answer that the seed has for its path, operation and attempt, and
// draws only how long commands and replies are on their way: less than any attempt lasts.
func confluentRun(t *rapid.T, p *sagas.Plan, input []byte, seed uint32, label string) *orderedRun {
	run := &orderedRun{s: &scenario{t: t, plan: p, w: sagatest.New(p)}, turned: make(map[string]bool)}
	code := "NO"
	if seed%2 == 0 && alike(p) {
		code = "SOME" // what scopes retry on
	}
	w := run.s.w
	w.Auto = func(sagas.Command) bool { return true }
	w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer { return fixedAnswer(c, seed, code) }
	late := func() sagatest.Fate {
		return sagatest.Fate{Delay: time.Duration(rapid.SampledFrom([]int{0, 1, 10, 100, 400, 900, 1600, 2400}).Draw(t, label)) * time.Millisecond}
	}
	w.Faults.Command = func(sagas.Command) sagatest.Fate { return late() }
	w.Faults.Reply = func(sagas.Reply) sagatest.Fate { return late() }
	w.Observe = func(r sagatest.Record) {
		run.s.trace = append(run.s.trace, r)
		if r.After == nil || !slices.ContainsFunc(r.After.Frames, func(f sagas.Frame) bool { return f.State == sagas.FrameUndoing || f.State == sagas.FrameUndone }) {
			return
		}
		for i := range r.After.Steps {
			if path := r.After.Steps[i].Path; turnedFrame(r.After, path) != 0 {
				run.turned[path] = true
			}
		}
	}
	w.Start("c", input)
	w.Run(24*time.Hour, func() bool { return sagatest.Terminal(w.Instance()) && w.InFlight() == 0 })
	return run
}

// fixedAnswer depends on nothing that an order of messages could change. An undo succeeds in the end.
func fixedAnswer(c sagas.Command, seed uint32, code string) sagatest.Answer {
	h := fnv.New32a()
	fmt.Fprint(h, seed, c.Path)
	dice := h.Sum32() % 24
	switch {
	case c.Op == sagas.OpInquire:
		return sagatest.Answer{} // the truth
	case c.Op == sagas.OpUndo && dice%3 == 0 && c.Attempt == 1:
		return sagatest.Retriable(code)
	case c.Op == sagas.OpUndo:
		return sagatest.OK()
	}
	switch dice {
	case 0, 1, 2:
		return sagatest.Reject(code)
	case 3:
		return sagatest.Fatal(code, true)
	case 4:
		return sagatest.Fatal(code, false)
	case 5, 6, 7, 8, 9:
		if c.Attempt <= dice-4 {
			return sagatest.Answer{Outcome: sagas.OutcomeFailedRetriable, Code: code, Executes: dice == 5}
		}
	}
	a := sagatest.OK()
	a.Output = fmt.Appendf(nil, `{"v":%d}`, dice)
	return a
}

func (r *orderedRun) ending() ending {
	inst := r.s.w.Instance()
	if inst == nil {
		return ending{}
	}
	e := ending{Phase: inst.Phase, Output: string(inst.Output), Effects: make(map[string]int)}
	for _, a := range inst.Attention {
		e.Attention = append(e.Attention, string(a.Reason)+" "+a.Path)
	}
	slices.Sort(e.Attention)
	for _, l := range r.s.w.Participants.Ledger() {
		s := &r.s.plan.Steps[nodeOf(r.s.plan, l.Path)]
		free := s.Undo == nil && s.Kind != sagas.Pivot && s.Kind != sagas.Retriable
		if n := l.Executed - l.Reversed; n != 0 && !(free && (r.turned[l.Path] || inst.Phase == sagas.Compensated)) {
			e.Effects[fmt.Sprintf("%d %s", l.Run, l.Path)] += n
		}
	}
	if inst.Phase != sagas.Completed {
		return e
	}
	e.Steps = make(map[string]string)
	for i := range inst.Steps {
		if s := &inst.Steps[i]; !r.turned[s.Path] {
			e.Steps[s.Path] = s.State.String() + " " + string(s.Output)
		}
	}
	return e
}
