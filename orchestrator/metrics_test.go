package orchestrator

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMetricNames is the list of metrics that dashboards and alerts may depend on.
func TestMetricNames(t *testing.T) {
	o, err := New(Config{Namespace: "a", Brokers: []string{"b:1"}, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	// A metric with labels is not exposed before it has a value.
	m, counts := o.metrics, o.tally(0)
	inst := &sagas.Instance{Type: "s", Steps: []sagas.StepState{{Path: "p", FirstSent: 1}}}
	counts.deadLetter("MALFORMED")
	counts.ignored("stale")
	counts.command(&sagas.Command{Type: "s", Address: sagas.Address{Path: "p", Op: sagas.OpDo}})
	for _, op := range []sagas.Op{sagas.OpDo, sagas.OpUndo} {
		counts.reply(&sagas.Reply{Address: sagas.Address{Path: "p", Op: op}, Outcome: sagas.OutcomeOK}, inst)
	}
	for _, k := range []sagas.Kind{sagas.KindStarted, sagas.KindCompleted, sagas.KindAttention, sagas.KindStepDone, sagas.KindSignalled,
		sagas.KindChildStarted, sagas.KindEmitted, sagas.KindTaskOpened, sagas.KindOperator} {
		counts.lifecycle(&sagas.Lifecycle{Type: "s", Path: "p", Kind: k, At: 2}, inst)
	}
	h := m.hooks(o.tally)
	h.TaskState(0, topology.TaskCreated, topology.TaskRestoring, "")
	h.Restore(0, 1, 2)
	h.Restore(0, 2, 4)
	h.Rebalance([]int32{1}, nil)
	h.Cycle(topology.CycleStats{Records: 1, Timers: 1})
	h.Wiped(0, "")

	families, err := o.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "amends_") {
			continue
		}
		b.WriteString(f.GetName() + " " + strings.ToLower(f.GetType().String()))
		for _, l := range f.GetMetric()[0].GetLabel() {
			b.WriteString(" " + l.GetName())
		}
		b.WriteString("\n    " + f.GetHelp() + "\n")
	}
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != b.String() {
		t.Errorf("metrics differ from %s (%v); rewrite it with -update:\n%s", golden, err, b.String())
	}
}

// TestAbortedCycleCountsNothing: an aborted cycle runs again and must not count twice.
func TestAbortedCycleCountsNothing(t *testing.T) {
	m := newMetrics()
	counts := &tally{m: m}
	h := m.hooks(func(int32) *tally { return counts })
	counts.deadLetter("X")
	h.Aborted(0, "retry", nil)
	counts.deadLetter("X")
	h.Cycle(topology.CycleStats{})
	if n := valueOf(t, m.registry, "amends_dead_letters_total"); n != 1 {
		t.Errorf("counted %v, want 1", n)
	}
}

// TestForeignLabels: what a reply claims becomes a label only when the instance knows it.
func TestForeignLabels(t *testing.T) {
	m := newMetrics()
	counts := &tally{m: m}
	counts.reply(&sagas.Reply{Address: sagas.Address{Path: "evil", Op: sagas.OpDo}}, &sagas.Instance{Type: "s"})
	counts.reply(&sagas.Reply{Address: sagas.Address{Path: "evil", Op: sagas.OpDo}}, nil)
	counts.commit()
	if n := valueOf(t, m.registry, "amends_step_attempts_total"); n != 0 {
		t.Errorf("counted %v, want none", n)
	}
}

// TestStepLabels: keys of items and numbers of rounds are no labels.
func TestStepLabels(t *testing.T) {
	for path, want := range map[string]string{"auth": "auth", "lines[sku-9]/reserve": "reserve", "a[1]/b[x@y.z:1]/c": "c"} {
		if got := stepOf(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// TestExpressionCost: an expression that is stopped at its cost limit is counted, as the machine tells of it.
func TestExpressionCost(t *testing.T) {
	def, err := sagas.ParseDefinition("s.yaml", []byte("saga: s\nversion: 1\nid: =input.id\nparticipants: {p: {}}\n"+
		"steps:\n- {id: a, call: p.a, kind: pivot, with: {n: \"=input.l.map(x, input.l.map(y, x + y))\"}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	counts := &tally{m: m}
	for _, list := range []string{"1", "1" + strings.Repeat(",1", 400)} {
		_, effects := sagas.Step(plan, nil, sagas.Start{WorkflowID: "s/1", Type: "s", Version: 1, Input: []byte(`{"id":"1","l":[` + list + `]}`)}, 1)
		for _, e := range effects {
			if l, ok := e.(sagas.Lifecycle); ok {
				counts.lifecycle(&l, nil)
			}
		}
		counts.commit()
		want := 0.0
		if len(list) > 1 {
			want = 1
		}
		if n := valueOf(t, m.registry, "amends_expression_cost_exceeded_total"); n != want {
			t.Errorf("list of %d bytes: counted %v, want %v", len(list), n, want)
		}
	}
}

func valueOf(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
