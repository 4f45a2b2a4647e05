package prove_test

import (
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/prove"
	"github.com/amendsio/amends/sagas/sagasgen"
)

// The reductions leave the verdict as it is: with them and without them the same drawn definitions,
// under the same broken machine or the same broken participants, are proved or not. Drawn definitions
// that are too large without reductions are left out; with AMENDS_PROVE larger ones are looked at.
func TestReductionsOnDrawnDefinitions(t *testing.T) {
	machines := brokenMachines()
	compared, found := 0, 0
	most := 1500
	if os.Getenv("AMENDS_PROVE") != "" {
		most = 20_000
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		src := sagasgen.Definition(draw, sagasgen.Options{Nodes: 2 + draw("nodes", 2)})
		def, err := sagas.ParseDefinition("drawn.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		o := prove.Options{Attempts: 1 + draw("attempts", 2), Duplicates: -1, Cancels: draw("cancels", 2)*2 - 1, Operators: draw("operators", 4)/3*2 - 1, Signals: -1, States: most, Workers: 1}
		switch draw("broken", 3) {
		case 1:
			o.Faults = 1 << draw("fault", len(prove.FaultNames()))
		case 2:
			o.Step = machines[draw("machine", len(machines))].step
		}
		o.Plain = true
		full, err := prove.Run(t.Context(), plan, o)
		if err != nil {
			t.Skip(err) // its input cannot be drawn
		}
		if full.Cut != "" {
			return
		}
		o.Plain, o.FullKeys = false, true
		o.States *= 2
		less, err := prove.Run(t.Context(), plan, o)
		if err != nil {
			t.Fatal(err)
		}
		compared++
		if full.Counterexample != nil {
			found++
		}
		if less.Cut != "" || (less.Counterexample == nil) != (full.Counterexample == nil) || less.Counterexample == nil && less.States > full.States {
			t.Errorf("reduced, %d states: %s\n%s\nfull, %d states: %s\n%s\n%+v\n%s", less.States, less.Verdict(), story(less), full.States, full.Verdict(), story(full), o, src)
		}
	})
	t.Logf("%d explorations compared, %d of them with a counterexample", compared, found)
}
