package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/prove"
	"github.com/amendsio/amends/sagas/sagatest"
)

// Exit codes of prove beside the common ones.
const (
	exitCounterexample = 1
	exitCut            = 3
)

func newProveCommand(t *terminal) *cobra.Command {
	var f proveFlags
	cmd := &cobra.Command{
		Use:   "prove FILE",
		Short: "Explore every run of a definition, and show one that goes wrong",
		Long: `prove lets every run of a saga happen, within bounds: each answer of each participant, messages
that are late, lost or out of order, timers between any two of them, a cancel or the
deadline at any moment, a crash after every event. It runs the machine that runs in production.

Without bounds of your own they are widened step by step until --time is over: what was seen to the end
is proved, and what was not is said. What holds in all runs is proved within the bounds, which are
printed. Otherwise the shortest
run in which something does not hold is shown; --script writes it down for amends test.

Exit codes: 0 proved, 1 a counterexample was found, 2 usage, 3 nothing was found but a bound ended
the exploration before everything was seen, 5 the definition has findings.`,
		Example: `  amends prove card-payment.yaml
  amends prove card-payment.yaml --participant no-tombstone --script lost.saga-test`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, t, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.saga, "saga", "", "the saga to prove when the file has several, as name or name@version")
	fl.IntVar(&f.opts.States, "states", prove.DefaultStates, "most states to look at")
	fl.IntVar(&f.opts.Depth, "depth", 0, "most events of one run, 0 = no limit")
	fl.IntVar(&f.opts.Attempts, "attempts", 2, "most attempts of a command, an undo and a question")
	fl.IntVar(&f.cancels, "cancels", 1, "cancels, each at any moment")
	fl.IntVar(&f.duplicates, "duplicates", 0, "deliveries that come twice; each multiplies the states by about eight")
	fl.IntVar(&f.operators, "operators", 1, "operator actions where attention asks for one")
	fl.IntVar(&f.signals, "signals", 1, "signals that come when nobody waits for them")
	fl.StringSliceVar(&f.inputs, "input", nil, "file with an input of the start, JSON; repeatable. Default: drawn from the definition")
	fl.StringSliceVar(&f.faults, "participant", nil, "how participants break their contract: "+strings.Join(prove.FaultNames(), ", "))
	fl.BoolVar(&f.opts.FailingExpressions, "failing-expressions", false, "a failing expression is left to people; otherwise it is a counterexample")
	fl.DurationVar(&f.budget, "time", 100*time.Second, "how long to look; without bounds of your own, they are widened step by step until it is over")
	fl.StringVar(&f.script, "script", "", "write a counterexample to this file, as a script for amends test")
	fl.StringP("output", "o", "text", "text or json")
	return cmd
}

type proveFlags struct {
	saga                                    string
	opts                                    prove.Options
	cancels, duplicates, operators, signals int
	inputs, faults                          []string
	script                                  string
	budget                                  time.Duration
}

func (f *proveFlags) run(cmd *cobra.Command, t *terminal, file string) error {
	format, _ := cmd.Flags().GetString("output")
	if format != "text" && format != "json" {
		return usage("-o %s is not a known format", format)
	}
	defs, err := readDefinitions([]string{file})
	if err != nil {
		return err
	}
	def, err := f.pick(defs)
	if err != nil {
		return err
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		return err
	}
	if err := f.options(t); err != nil {
		return err
	}
	// An exploration makes many small things and keeps few of them: collect them less often.
	defer debug.SetGCPercent(debug.SetGCPercent(200))
	report, wider, err := f.explore(cmd, plan)
	if t.tty {
		fmt.Fprint(t.err, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	if f.script != "" && report.Counterexample != nil {
		if err := f.write(report, file); err != nil {
			return err
		}
	}
	if format == "json" {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		p := newProof(report)
		p.Wider = wider
		if err := e.Encode(p); err != nil {
			return err
		}
	} else {
		printProof(t.out, report)
		if wider != "" {
			fmt.Fprintf(t.out, "\n  %s\n", wider)
		}
	}
	switch {
	case report.Counterexample != nil:
		return &codedError{code: exitCounterexample}
	case report.Cut != "":
		return &codedError{code: exitCut}
	}
	return nil
}

// rungs are the bounds that are tried one after the other when the caller gave none. Each contains the
// one before it, so what the last one proves needs no other.
var rungs = []prove.Options{
	{Attempts: 1, Cancels: -1, Duplicates: -1, Operators: -1, Signals: -1},
	{Attempts: 1, Cancels: 1, Duplicates: -1, Operators: -1, Signals: -1},
	{Attempts: 1, Cancels: 1, Duplicates: -1, Operators: -1, Signals: 1},
	{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: -1, Signals: 1},
	{Attempts: 2, Cancels: 1, Duplicates: -1, Operators: 1, Signals: 1},
	{Attempts: 2, Cancels: 1, Duplicates: 1, Operators: 1, Signals: 1},
}

// explore proves within the bounds that were given, or widens them until the time is over. wider says
// what became of the bounds beyond those of the report, "" = there are none.
func (f *proveFlags) explore(cmd *cobra.Command, plan *sagas.Plan) (report *prove.Report, wider string, err error) {
	ctx := cmd.Context()
	if f.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.budget)
		defer cancel()
	}
	for _, name := range []string{"attempts", "cancels", "duplicates", "operators", "signals", "states", "depth"} {
		if cmd.Flags().Changed(name) {
			report, err = prove.Run(ctx, plan, f.opts)
			if errors.Is(err, context.DeadlineExceeded) {
				err = withCode(exitCut, "the time of %s was over before everything was seen (--time, or narrower bounds)", f.budget)
			}
			return report, "", err
		}
	}
	for i, r := range rungs {
		o := f.opts
		o.Attempts, o.Cancels, o.Duplicates, o.Operators, o.Signals = r.Attempts, r.Cancels, r.Duplicates, r.Operators, r.Signals
		states := 0
		tell := o.Progress
		o.Progress = func(p prove.Progress) {
			states = p.States
			if tell != nil {
				tell(p)
			}
		}
		next, err := prove.Run(ctx, plan, o)
		over := errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil
		if over || err == nil && next.Cut != "" {
			if err == nil {
				states = next.States
			}
			cut := fmt.Sprintf("Not proved: the next wider bounds (%s). The exploration ended after %d states without a violation.", sayRung(r), states)
			if report == nil && next == nil {
				return nil, "", withCode(exitCut, "%s of %s is over: %s", "the time", f.budget, cut)
			}
			if report == nil {
				return next, "", nil
			}
			return report, cut, nil
		}
		if err != nil {
			return nil, "", err
		}
		f.opts.Attempts = o.Attempts // the script of a counterexample has to know
		report = next
		if report.Counterexample != nil || i == len(rungs)-1 {
			break
		}
	}
	return report, "", nil
}

func sayRung(o prove.Options) string {
	return fmt.Sprintf("attempts %d, cancels %d, doubled deliveries %d, operator actions %d, stray signals %d",
		o.Attempts, max(o.Cancels, 0), max(o.Duplicates, 0), max(o.Operators, 0), max(o.Signals, 0))
}

// pick chooses the definition of a file.
func (f *proveFlags) pick(defs []*sagas.Definition) (*sagas.Definition, error) {
	var names []string
	var found []*sagas.Definition
	for _, d := range defs {
		names = append(names, d.Ref())
		if f.saga == "" || f.saga == d.Saga || f.saga == d.Ref() {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, usage("there is no saga %s in the file (%s)", f.saga, strings.Join(names, ", "))
	}
	return nil, usage("choose one with --saga: %s", strings.Join(names, ", "))
}

func (f *proveFlags) options(t *terminal) error {
	o := &f.opts
	if o.States <= 0 || o.Attempts <= 0 || o.Depth < 0 {
		return usage("--states and --attempts must be at least 1, --depth at least 0")
	}
	for _, n := range []struct {
		given int
		to    *int
	}{{f.cancels, &o.Cancels}, {f.duplicates, &o.Duplicates}, {f.operators, &o.Operators}, {f.signals, &o.Signals}} {
		if *n.to = n.given; n.given == 0 {
			*n.to = -1
		}
	}
	for _, name := range f.faults {
		fault, err := prove.ParseFault(name)
		if err != nil {
			return usage("--participant: %v", err)
		}
		o.Faults |= fault
	}
	for _, path := range f.inputs {
		raw, err := os.ReadFile(path)
		if err != nil {
			return usage("--input: %v", err)
		}
		input, err := sagas.CanonicalJSON(raw)
		if err != nil || len(input) == 0 || input[0] != '{' {
			return usage("--input: %s is not a JSON object", path)
		}
		o.Inputs = append(o.Inputs, input)
	}
	if t.tty {
		o.Progress = func(p prove.Progress) {
			fmt.Fprintf(t.err, "\r\x1b[K%d states, %d transitions, depth %d, %s", p.States, p.Transitions, p.Depth, p.Elapsed.Round(time.Second))
		}
	}
	return nil
}

// write puts the counterexample into a script, with what the machine answers.
func (f *proveFlags) write(r *prove.Report, definition string) error {
	dir := filepath.Dir(f.script)
	file := definition
	if rel, err := filepath.Rel(dir, definition); err == nil {
		file = rel
	}
	saga := fmt.Sprintf("%s@%d", r.Saga, r.Version)
	src := fmt.Sprintf("# Found by amends prove: %s\n\ndefine file=%s saga=%s attempts=%d\n----\n%s", r.Counterexample.Text, file, saga, f.opts.Attempts, r.Counterexample.Script)
	out, err := sagatest.Rewrite(dir, []byte(src))
	if err != nil {
		return fmt.Errorf("write the script: %w", err)
	}
	if err := os.WriteFile(f.script, out, 0o600); err != nil {
		return errors.Join(errors.New("the script was not written"), err)
	}
	return nil
}

func printProof(w io.Writer, r *prove.Report) {
	fmt.Fprintf(w, "%s@%d %s\n", r.Saga, r.Version, r.Verdict())
	fmt.Fprintf(w, "  %d states, %d transitions, at most %d events, %s\n", r.States, r.Transitions, r.Depth, r.Elapsed.Round(time.Millisecond))
	if r.Faults != 0 {
		fmt.Fprintf(w, "  participants break their contract: %s\n", r.Faults)
	}
	if c := r.Counterexample; c != nil {
		fmt.Fprintf(w, "\n  not so: %s (%s)\n\n", c.Property.Says(), c.Property)
		for i, e := range c.Events {
			fmt.Fprintf(w, "  %2d. %s\n", i+1, e)
		}
		return
	}
	fmt.Fprintln(w)
	for _, p := range prove.Properties() {
		fmt.Fprintf(w, "  ok  %-10s %s\n", p, p.Says())
	}
	fmt.Fprintln(w, "\n  Bounds")
	for _, b := range r.Bounds {
		fmt.Fprintf(w, "  - %s\n", b)
	}
	fmt.Fprintln(w, "\n  Values")
	for _, in := range r.Inputs {
		fmt.Fprintf(w, "  - input %s\n", in)
	}
	for _, v := range r.Values {
		fmt.Fprintf(w, "  - %s: %s\n", v.Path, strings.Join(v.Values, ", "))
	}
}

// proof is a report as JSON.
type proof struct {
	Saga           string            `json:"saga"`
	Version        uint32            `json:"version"`
	Verdict        string            `json:"verdict"` // proved, counterexample, cut
	States         int               `json:"states"`
	Transitions    int               `json:"transitions"`
	Depth          int               `json:"depth"`
	ElapsedMs      int64             `json:"elapsedMs"`
	Cut            string            `json:"cut,omitempty"`
	Limit          int               `json:"limit,omitempty"`
	Bounds         []string          `json:"bounds"`
	Inputs         []json.RawMessage `json:"inputs"`
	Values         []proofValue      `json:"values,omitempty"`
	Participants   string            `json:"participants,omitempty"`
	Counterexample *proofRun         `json:"counterexample,omitempty"`
	Wider          string            `json:"wider,omitempty"` // what became of the next wider bounds
}

type proofValue struct {
	Path   string   `json:"path"`
	Values []string `json:"values"`
}

type proofRun struct {
	Property string   `json:"property"`
	Text     string   `json:"text"`
	Events   []string `json:"events"`
	Script   string   `json:"script"`
}

func newProof(r *prove.Report) proof {
	p := proof{
		Saga: r.Saga, Version: r.Version, Verdict: "proved", States: r.States, Transitions: r.Transitions, Depth: r.Depth, ElapsedMs: r.Elapsed.Milliseconds(),
		Cut: r.Cut, Limit: r.Limit, Bounds: r.Bounds, Participants: r.Faults.String(),
	}
	for _, in := range r.Inputs {
		p.Inputs = append(p.Inputs, in)
	}
	for _, v := range r.Values {
		p.Values = append(p.Values, proofValue(v))
	}
	switch c := r.Counterexample; {
	case c != nil:
		p.Verdict = "counterexample"
		p.Counterexample = &proofRun{string(c.Property), c.Text, c.Events, c.Script}
	case r.Cut != "":
		p.Verdict = "cut"
	}
	return p
}
