package sagatest_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// The generators draw valid plans: at most one pivot, nothing that can fail the saga after or beside
// it, an inquiry where an unknown pivot needs one. Three ways in: a definition text that is parsed and
// compiled (a sequence, with expressions, or blocks), and a plan built by hand (any graph, no expressions).

// drawPlan draws a plan of either kind.
func drawPlan(t *rapid.T) *sagas.Plan {
	switch rapid.IntRange(0, 9).Draw(t, "from text") {
	case 0, 1:
		return drawCompiledPlan(t)
	case 2, 3, 4:
		return drawGraphPlan(t)
	case 5, 6, 7:
		return drawBlockPlan(t)
	}
	return drawAnyPlan(t)
}

// drawAnyPlan draws a definition with nodes of every kind.
func drawAnyPlan(t *rapid.T) *sagas.Plan {
	return compile(t, sagasgen.Definition(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }, sagasgen.Options{}))
}

// compile makes the plan of a definition that was drawn, so a fault in it is one of the generator.
func compile(t *rapid.T, src string) *sagas.Plan {
	t.Helper()
	def, err := sagas.ParseDefinition("drawn.yaml", []byte(src))
	if err != nil {
		t.Fatalf("a drawn definition does not parse: %v\n%s", err, src)
	}
	p, err := sagas.Compile(def)
	if err != nil {
		t.Fatalf("a drawn definition does not compile: %v\n%s", err, src)
	}
	p.Namespace = "test"
	return p
}

// drawGraphPlan builds a graph of 1..8 calls: a random graph of steps that can be undone, then
// perhaps a pivot that waits for all of them, then a random graph of steps that only go forward.
func drawGraphPlan(t *rapid.T) *sagas.Plan {
	before := rapid.IntRange(0, 5).Draw(t, "steps before")
	hasPivot := rapid.IntRange(0, 2).Draw(t, "pivot") != 0
	after := 0
	if hasPivot {
		after = rapid.IntRange(0, 2).Draw(t, "steps after")
	}
	if before == 0 && !hasPivot {
		before = 1
	}
	p := &sagas.Plan{
		Namespace:       "test",
		Type:            "graph",
		Version:         1,
		Digest:          sagas.Digest{1},
		Pivot:           -1,
		Retention:       7 * 24 * time.Hour,
		MarkerRetention: 30 * 24 * time.Hour,
		Deadline:        rapid.SampledFrom([]time.Duration{0, 0, 0, 20 * time.Second, 10 * time.Minute}).Draw(t, "deadline"),
	}
	kinds := []sagas.StepKind{sagas.Compensatable, sagas.Compensatable, sagas.Compensatable, sagas.Optional, sagas.ReadOnly}
	if !hasPivot {
		kinds = append(kinds, sagas.Retriable) // a saga without a pivot may retry anywhere
	}
	for i := range before + after + 1 {
		switch {
		case i < before:
			kind := rapid.SampledFrom(kinds).Draw(t, "kind")
			s := drawStep(t, fmt.Sprintf("s%d", i), kind)
			for j := range i {
				if rapid.IntRange(0, 2).Draw(t, "edge") == 0 {
					s.Deps = append(s.Deps, j)
				}
			}
			p.Steps = append(p.Steps, s)
		case i == before:
			if !hasPivot {
				continue
			}
			s := drawStep(t, "pivot", sagas.Pivot)
			for j := range before {
				s.Deps = append(s.Deps, j)
			}
			p.Pivot = before
			p.Steps = append(p.Steps, s)
		default:
			kind := rapid.SampledFrom([]sagas.StepKind{sagas.Retriable, sagas.Retriable, sagas.Optional}).Draw(t, "kind after")
			s := drawStep(t, fmt.Sprintf("s%d", i), kind)
			s.Deps = append(s.Deps, before)
			for j := before + 1; j < i; j++ {
				if rapid.Bool().Draw(t, "edge after") {
					s.Deps = append(s.Deps, j)
				}
			}
			p.Steps = append(p.Steps, s)
		}
	}
	for i := range p.Steps {
		p.Steps[i].End = i + 1
		for _, d := range p.Steps[i].Deps {
			p.Steps[d].Dependents = append(p.Steps[d].Dependents, i)
		}
	}
	return p
}

func seconds(t *rapid.T, label string, choices ...int) time.Duration {
	return time.Duration(rapid.SampledFrom(choices).Draw(t, label)) * time.Second
}

func drawRetry(t *rapid.T, attempts uint32) sagas.Retry {
	return sagas.Retry{
		Attempts:   attempts,
		Backoff:    seconds(t, "backoff", 1, 2, 5),
		BackoffMax: seconds(t, "backoff max", 5, 30, 60),
		Factor:     rapid.SampledFrom([]float64{1, 2, 3}).Draw(t, "factor"),
		Jitter:     rapid.SampledFrom([]float64{0, 0.2, 1}).Draw(t, "jitter"),
	}
}

func drawStep(t *rapid.T, path string, kind sagas.StepKind) sagas.PlanStep {
	s := sagas.PlanStep{
		Parent:      -1,
		Path:        path,
		Kind:        kind,
		Participant: "svc",
		Command:     path,
		Topic:       "cmd.svc",
		Attempt:     seconds(t, "attempt", 5, 10, 30),
		Within:      seconds(t, "within", 0, 60, 120),
		Retry:       drawRetry(t, uint32(rapid.IntRange(1, 4).Draw(t, "attempts"))),
		OnUnknown:   sagas.UnknownCompensate,
		KeyWindow:   seconds(t, "key window", 0, 0, 300, 86400),
	}
	if kind == sagas.Compensatable && rapid.IntRange(0, 7).Draw(t, "a person decides") == 0 {
		s.OnUnknown = sagas.UnknownAttention
	}
	offersInquire := rapid.Bool().Draw(t, "offers inquire")
	switch kind {
	case sagas.Pivot:
		s.OnUnknown = sagas.UnknownAttention
	case sagas.Retriable:
		s.OnUnknown = sagas.UnknownAttention
		s.AlertAfter = seconds(t, "alert", 0, 600)
		if rapid.Bool().Draw(t, "without a limit") {
			s.Within, s.Retry.Attempts = 0, 0
		}
	}
	if offersInquire {
		s.OnUnknown = sagas.UnknownInquire
		s.Inquire = &sagas.Inquire{
			Command: path + "-status",
			Every:   seconds(t, "inquire every", 5, 30),
			For:     seconds(t, "inquire for", 60, 600),
			Attempt: seconds(t, "inquire attempt", 5, 10),
		}
	}
	if kind == sagas.Compensatable || kind == sagas.Optional && rapid.Bool().Draw(t, "undo") {
		s.Undo = &sagas.Undo{
			Participant: "svc",
			Command:     path + "-undo",
			Topic:       "cmd.svc",
			Attempt:     seconds(t, "undo attempt", 5, 10),
			Retry:       drawRetry(t, 0),
			AlertAfter:  seconds(t, "undo alert", 0, 60, 900),
		}
	}
	return s
}

// drawCompiledPlan draws a definition text, and parses and compiles it.
func drawCompiledPlan(t *rapid.T) *sagas.Plan {
	return compile(t, drawDefinition(t))
}

// drawDefinition is a sequence of 1..8 calls of all kinds, with expressions over the input and over
// the outputs of earlier steps.
func drawDefinition(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("saga: text\nversion: 1\n")
	if rapid.IntRange(0, 2).Draw(t, "text deadline") == 0 {
		b.WriteString("deadline: 1h\n")
	}
	b.WriteString("participants:\n  svc: {ops: [do, undo, inquire]}\nsteps:\n")
	before := rapid.IntRange(0, 4).Draw(t, "text before")
	hasPivot := rapid.Bool().Draw(t, "text pivot")
	after := 0
	if hasPivot {
		after = rapid.IntRange(0, 3).Draw(t, "text after")
	} else if before == 0 {
		before = 1
	}
	earlier := "" // a step whose output may be used
	with := func() string {
		if earlier == "" || rapid.Bool().Draw(t, "use input only") {
			return "{n: '=input.n', id: '=key'}"
		}
		return fmt.Sprintf("{n: '=input.n', ref: '=step.%s.?ref.orValue(\"\")'}", earlier)
	}
	for i := range before {
		id := fmt.Sprintf("s%d", i)
		switch rapid.IntRange(0, 4).Draw(t, "text kind") {
		case 0:
			fmt.Fprintf(&b, "- {id: %s, call: svc.%s, kind: readonly, with: %s}\n", id, id, with())
		case 1:
			fmt.Fprintf(&b, "- {id: %s, call: svc.%s, kind: optional, with: %s}\n", id, id, with())
		default:
			when := ""
			if rapid.IntRange(0, 2).Draw(t, "text when") == 0 {
				when = "when: '=input.n > 2', "
			}
			unknown := ""
			if rapid.Bool().Draw(t, "text inquire") {
				unknown = "onUnknown: inquire, "
			}
			fmt.Fprintf(&b, "- {id: %s, call: svc.%s, %s%swith: %s, keep: [ref], attempt: 10s, within: 2m, undo: {call: svc.undo, with: {ref: '=step.%s.?ref.orValue(\"\")'}}}\n",
				id, id, when, unknown, with(), id)
			if when == "" {
				earlier = id
			}
		}
	}
	if hasPivot {
		fmt.Fprintf(&b, "- {id: pivot, call: svc.pivot, kind: pivot, with: %s, attempt: 10s, within: 1m, onUnknown: inquire}\n", with())
		for i := range after {
			kind := rapid.SampledFrom([]string{"retriable", "optional"}).Draw(t, "text kind after")
			fmt.Fprintf(&b, "- {id: t%d, call: svc.t%d, kind: %s, with: %s}\n", i, i, kind, with())
		}
	}
	return b.String()
}

// drawInput is the input of a start.
func drawInput(t *rapid.T, p *sagas.Plan) []byte {
	lists := []string{`["a","b"]`, `["a","b","c"]`, `["a"]`, `[]`}
	if p.Type == "drawn" {
		lists = []string{`[{"k":"a"},{"k":"b"}]`, `[{"k":"a"},{"k":"b"},{"k":"c"}]`, `[]`}
	}
	return fmt.Appendf(nil, `{"list":%s,"n":%d}`, rapid.SampledFrom(lists).Draw(t, "list"), rapid.IntRange(0, 5).Draw(t, "n"))
}

// mood is how the participants of one scenario behave.
type mood struct{ do, undo, inquire []string }

var moods = []mood{
	{do: []string{"ok"}, undo: []string{"ok"}, inquire: []string{"truth"}},
	{do: []string{"ok", "ok", "ok", "ok", "reject"}, undo: []string{"ok"}, inquire: []string{"truth"}},
	{do: []string{"ok", "ok", "silent", "silent-done", "retriable"}, undo: []string{"ok", "silent", "retriable", "silent-done"}, inquire: []string{"truth", "running", "silent"}},
	{
		do:      []string{"ok", "ok", "ok", "reject", "retriable", "retriable-done", "fatal", "fatal-done", "fatal-none", "silent", "silent-done", "slow"},
		undo:    []string{"ok", "ok", "ok", "retriable", "silent", "silent-done"},
		inquire: []string{"truth", "truth", "running", "silent"},
	},
	{do: []string{"ok", "ok", "reject"}, undo: []string{"ok", "retriable", "fatal"}, inquire: []string{"truth"}},
}

func drawAnswer(t *rapid.T, m mood, c sagas.Command) sagatest.Answer {
	choices := m.do
	switch c.Op {
	case sagas.OpUndo:
		choices = m.undo
	case sagas.OpInquire:
		choices = m.inquire
	}
	ref := []byte(`{"ref":"r-` + c.Path + `","dropped":1}`)
	switch name := rapid.SampledFrom(choices).Draw(t, c.Op.String()+" "+c.Path); name {
	case "ok":
		a := sagatest.OK()
		if c.Op == sagas.OpDo {
			a.Output = ref
		}
		return a
	case "retriable-done":
		return sagatest.Answer{Outcome: sagas.OutcomeFailedRetriable, Code: "UNAVAILABLE", Executes: true}
	case "slow":
		return sagatest.Slow(seconds(t, "slow by", 2, 20, 200))
	case "truth":
		return sagatest.Answer{}
	default:
		a, err := sagatest.ParseAnswer(name)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return a
	}
}
