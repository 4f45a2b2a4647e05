package prove_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas/prove"
	"github.com/amendsio/amends/sagas/sagatest"
)

// exampleBounds are what is proved of the examples. Every run may crash after each event, and every
// message may be late; the rest is here. The first two are proved in each run of the tests, the others
// with AMENDS_PROVE (make prove).
var exampleBounds = []struct {
	name string
	opts prove.Options
}{
	{"card-payment", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: 1}},
	{"order", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: 1}},
	{"card-payment", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: 1, Signals: 1}},
	{"order", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: 1, Signals: 1}},
	{"fx-transfer", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: 1}},
	{"subscription-period", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: -1}},
	{"shop-payment", prove.Options{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: -1}},
	{"trip-booking", prove.Options{Attempts: 1, Cancels: 1, Duplicates: -1, Operators: -1, Signals: -1}},
}

// always is how many of exampleBounds are small enough for every run of the tests.
const always = 2

// The examples are proved, each within its bounds, and the number of states is told. Two minutes on
// two cores are the most that one may take; that is looked at only where nothing else runs.
func TestExamples(t *testing.T) {
	list := exampleBounds
	long := os.Getenv("AMENDS_PROVE") != ""
	if !long {
		t.Logf("%d of %d: the others with AMENDS_PROVE=1", always, len(list))
		list = list[:always]
	}
	t.Logf("%-20s %8s %7s %9s %7s %9s %11s %5s %8s", "example", "attempts", "cancels", "operators", "signals", "states", "transitions", "depth", "seconds")
	for _, c := range list {
		src, err := os.ReadFile(filepath.Join("..", "..", "examples", c.name, "saga.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		r := explore(t, compile(t, string(src)), c.opts)
		t.Logf("%-20s %8d %7d %9d %7d %9d %11d %5d %8.1f", c.name, c.opts.Attempts, max(c.opts.Cancels, 0), max(c.opts.Operators, 0), max(c.opts.Signals, 0),
			r.States, r.Transitions, r.Depth, r.Elapsed.Seconds())
		if !r.Proved() {
			t.Errorf("%s: %s\n%s", c.name, r.Verdict(), story(r))
		}
		if r.States < 100 || r.Transitions < r.States {
			t.Errorf("%s: %d states and %d transitions are too few to be all", c.name, r.States, r.Transitions)
		}
		if long && r.Elapsed > 2*time.Minute {
			t.Errorf("%s took %v", c.name, r.Elapsed)
		}
	}
}

// What a counterexample tells can be played by amends test, whatever nodes its definition has: with
// participants that forget an undo which came first, the script ends where the proof does.
func TestReplay(t *testing.T) {
	for name, steps := range map[string]string{
		"call":   stepA,
		"each":   "- {id: lines, each: {in: '=input.lines', as: line, key: '=line.sku', atOnce: 1, max: 5}, do: [{id: one, call: a.do, with: {sku: '=line.sku'}, undo: {call: a.undo}}]}",
		"scope":  "- {id: price, scope: {retry: {rounds: 2, on: [STALE]}}, do: [{id: one, call: a.do, undo: {call: a.undo}}]}",
		"repeat": "- {id: again, repeat: {rounds: 2, until: '=round.one.state == \"DONE\"'}, do: [{id: one, call: a.do, onReject: continue, undo: {call: a.undo}}]}",
		"choose": "- {id: ask, call: b.ask, kind: readonly, keep: [score]}\n- id: verdict\n  choose:\n  - {when: '=step.ask.score >= 90', do: [{id: deny, fail: RISK}]}\n  - {else: [{id: one, call: a.do, undo: {call: a.undo}}]}",
		"people": "- {id: desk, approve: {roles: [boss], within: 24h, onTimeout: fail}}\n- {id: one, call: a.do, undo: {call: a.undo}}",
		"signal": "- {id: paid, await: {signal: paid, within: 1h, onTimeout: fail}}\n- {id: one, call: a.do, undo: {call: a.undo}}",
		"sleep":  "- {id: night, sleep: {for: 8h}}\n- {id: one, call: a.do, undo: {call: a.undo}}",
		"child":  "- {id: kid, saga: {type: other, id: '=\"k\"', input: {}, reversible: true}}\n- {id: one, call: a.do, undo: {call: a.undo}}",
		"branch": "- id: both\n  parallel:\n    left: [{id: one, call: a.do, undo: {call: a.undo}}]\n    right: [{id: two, call: b.ask, kind: readonly}]",
		"race":   "- id: fast\n  race: {first: 1}\n  lanes:\n    left: [{id: one, call: a.do, undo: {call: a.undo}}]\n    right: [{id: two, call: b.do, undo: {call: b.undo}}]",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// The question would bring the lost effect to light, and it has no part in this.
			src := strings.ReplaceAll(saga(steps), ", inquire", "")
			r := explore(t, compile(t, src), prove.Options{Attempts: 1, Duplicates: -1, Operators: -1, Faults: prove.NoTombstone})
			if r.Counterexample == nil {
				t.Fatalf("%d states: %s", r.States, r.Verdict())
			}
			if err := os.WriteFile(filepath.Join(dir, "saga.yaml"), []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			played, err := sagatest.Rewrite(dir, []byte("define file=saga.yaml attempts=1\n----\n"+r.Counterexample.Script))
			if err != nil {
				t.Fatalf("%v\n%s", err, r.Counterexample.Script)
			}
			end := "-> compensated"
			if r.Counterexample.Property == prove.Complete {
				end = "-> completed"
			}
			if !strings.Contains(string(played), end) {
				t.Errorf("%s\n%s\nplayed, does not come to the end:\n%s", r.Verdict(), story(r), played)
			}
		})
	}
}
