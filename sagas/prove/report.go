package prove

import (
	"fmt"
	"strings"
	"time"
)

// Report is the outcome of an exploration.
type Report struct {
	Saga        string
	Version     uint32
	States      int
	Transitions int
	Depth       int // most events of one run
	Elapsed     time.Duration

	// Cut names the bound that ended the exploration before everything was seen, "" = none did.
	Cut   string
	Limit int // its value

	Bounds []string // what one run may have, as sentences
	Values []Value
	Inputs [][]byte
	Faults Fault

	// Counterexample is a shortest run in which a property does not hold; nil = none was found.
	Counterexample *Counterexample
}

// Value is what an exploration took for a field that the definition looks at.
type Value struct {
	Path   string // step.score.value, input.total
	Values []string
}

// Counterexample is a run in which a property does not hold.
type Counterexample struct {
	Property Property
	Text     string
	Events   []string // what happens, one sentence each
	Script   string   // the run as a script of sagatest, without its answers
}

// Proved says whether every property holds in every run within the bounds.
func (r *Report) Proved() bool { return r.Counterexample == nil && r.Cut == "" }

func (r *Report) cut(what string, limit int) { r.Cut, r.Limit = what, limit }

func (x *explorer) newReport() *Report {
	r := &Report{Saga: x.plan.Type, Version: x.plan.Version, Values: x.values, Inputs: x.inputs, Faults: x.opts.Faults}
	o := &x.opts
	say := func(format string, args ...any) { r.Bounds = append(r.Bounds, fmt.Sprintf(format, args...)) }
	say("at most %s of each do, undo and question; then the participant answers for good", count(o.Attempts, "attempt"))
	say("at most %s and %s, each at any moment", count(o.Cancels, "cancel"), count(o.Duplicates, "doubled delivery"))
	say("at most %s, wherever attention asks for a person", count(o.Operators, "operator action"))
	say("messages arrive in any order, however late; participants may take a command after its deadline")
	say("whatever arrives after the end arrives within the retention")
	if x.plan.Deadline > 0 {
		say("the deadline of the saga passes at any moment, or never")
	}
	r.Bounds = append(r.Bounds, x.sizes...)
	return r
}

func count(n int, what string) string {
	switch {
	case n == 0:
		return "no " + what
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Verdict is the outcome in one line.
func (r *Report) Verdict() string {
	switch {
	case r.Counterexample != nil:
		return fmt.Sprintf("counterexample: %s", r.Counterexample.Text)
	case r.Cut != "":
		return fmt.Sprintf("no violation found within %d %s; not everything was seen", r.Limit, r.Cut)
	}
	return "proved within the bounds"
}
