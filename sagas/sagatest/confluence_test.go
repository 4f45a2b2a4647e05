package sagatest_test

import (
	"hash/fnv"
	"slices"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// ending is what P3 compares: the end of a run, its output, and what stands at the participants.
type ending struct {
	phase  sagas.Phase
	output string
	stands map[string]int // effects by path, of steps that have an undo or are a pivot or retriable
}

// P3: whatever the order in which the replies of independent steps arrive, the run ends in the same phase,
// with the same output and the same effects. Steps that owe nothing (readonly, optional without undo) may
// have run or not when the saga turns round; races are left out.
func TestP03_Confluence(t *testing.T) {
	ends := map[sagas.Phase]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := drawConfluentPlan(t)
		input := drawInput(t, p)
		refused := rapid.Uint32().Draw(t, "who refuses")
		one, two := confluentRun(t, p, input, refused, "first"), confluentRun(t, p, input, refused, "second")
		ends[one.phase]++
		if one.phase != two.phase || one.output != two.output {
			t.Fatalf("%s %s in one order, %s %s in another", one.phase, one.output, two.phase, two.output)
		}
		for path, n := range one.stands {
			if two.stands[path] != n {
				t.Fatalf("%d effects of %s stand in one order, %d in another", n, path, two.stands[path])
			}
		}
		if len(one.stands) != len(two.stands) {
			t.Fatalf("%v stand in one order, %v in another", one.stands, two.stands)
		}
	})
	if ends[sagas.Completed] == 0 || ends[sagas.Compensated] == 0 {
		t.Errorf("the runs ended as %v: both ends are wanted", ends)
	}
}

func drawConfluentPlan(t *rapid.T) *sagas.Plan {
	var p *sagas.Plan
	if rapid.Bool().Draw(t, "graph") {
		p = drawGraphPlan(t)
	} else {
		text := sagasgen.Definition(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) },
			sagasgen.Options{Kinds: []sagas.NodeKind{sagas.NodeParallel, sagas.NodeChoose, sagas.NodeEach}})
		p = compile(t, text)
	}
	c := *p
	c.Deadline = 0 // time is not what this is about
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		s := &c.Steps[i]
		if s.Kind == sagas.Retriable && c.Pivot < 0 {
			s.Kind = sagas.Optional // without a pivot it would leave an effect that a person has to close
		}
		s.Attempt, s.Within, s.KeyWindow, s.AlertAfter, s.Heartbeat, s.Lease = 10*time.Second, 0, 0, 0, 0, nil
	}
	return &c
}

func confluentRun(t *rapid.T, p *sagas.Plan, input []byte, refused uint32, label string) ending {
	w := sagatest.New(p)
	w.Auto = func(sagas.Command) bool { return true }
	w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer {
		a := sagatest.OK()
		h := fnv.New32a()
		h.Write([]byte(c.Path))
		if kind := p.Steps[nodeOf(p, c.Path)].Kind; c.Op == sagas.OpDo && kind != sagas.Retriable && (h.Sum32()^refused)%5 == 0 {
			a = sagatest.Answer{Outcome: sagas.OutcomeRejected, Code: "NO"}
		}
		return a
	}
	w.Faults.Reply = func(sagas.Reply) sagatest.Fate {
		return sagatest.Fate{Delay: time.Duration(rapid.IntRange(0, 8).Draw(t, label)) * time.Second}
	}
	w.Start("c", input)
	w.Run(30*24*time.Hour, func() bool {
		return sagatest.Terminal(w.Instance()) || w.Instance() != nil && w.Instance().NeedsAttention()
	})
	inst := w.Instance()
	if inst == nil {
		return ending{}
	}
	e := ending{phase: inst.Phase, output: string(inst.Output), stands: map[string]int{}}
	for _, l := range w.Participants.Ledger() {
		s := &p.Steps[nodeOf(p, l.Path)]
		if n := int(l.Executed) - int(l.Reversed); n != 0 && (s.Undo != nil || s.Kind == sagas.Pivot || s.Kind == sagas.Retriable) {
			e.stands[l.Path] = n
		}
	}
	return e
}
