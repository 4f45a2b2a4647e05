package prove_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas/prove"
	"github.com/amendsio/amends/sagas/sagatest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Definitions that every check lets through and that go wrong all the same: the shortest run in which
// they do is in the golden file beside each.
//
// What a definition can do wrong is narrow, for the machine keeps debts, order and ends whatever the
// definition says; the checks refuse the orders, waits and loops that it could not keep. So all of
// these are about values: in some run an expression has none, or one that cannot be used where it
// stands, and the saga is held although every participant keeps its contract. Mistakes that no
// definition can contain are planted in plans, in machines and in participants (TestBrokenPlans,
// TestBrokenMachines, TestBrokenParticipants).
func TestBadDefinitions(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d definitions, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			plan := compile(t, string(src))
			o := prove.Options{Attempts: 1, Duplicates: -1, Operators: -1}
			r := explore(t, plan, o)
			if r.Counterexample == nil {
				t.Fatalf("%d states: %s", r.States, r.Verdict())
			}
			c := r.Counterexample
			got := fmt.Sprintf("%s\n%s\n", r.Verdict(), strings.Join(c.Events, "\n"))
			script := fmt.Sprintf("define file=%s attempts=1\n----\n%s", filepath.Base(file), c.Script)
			played, err := sagatest.Rewrite("testdata/bad", []byte(script))
			if err != nil {
				t.Fatalf("the run cannot be played: %v\n%s", err, script)
			}
			if !strings.Contains(string(played), "attention") {
				t.Errorf("played, the run does not end in %q:\n%s", c.Text, played)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v\n%s\nis not\n%s", err, got, want)
			}
			if o.FailingExpressions = true; !explore(t, plan, o).Proved() {
				t.Error("beside its expressions the definition is right, and yet it is not proved")
			}
		})
	}
}
