package monitoring

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/telemetry"
)

var update = flag.Bool("update", false, "rewrite the files")

// metrics are those of the engine, of what every process does beside it, and of bridges.
func metrics() []orchestrator.Metric {
	d := telemetry.Deliveries
	all := append(orchestrator.Metrics(), orchestrator.Metric{Name: d.Name, Type: "counter", Help: d.Help, Labels: d.Labels})
	for _, m := range bridge.Metrics() {
		all = append(all, orchestrator.Metric(m))
	}
	return all
}

// TestFiles: the files are what the code makes.
func TestFiles(t *testing.T) {
	var list bytes.Buffer
	for _, m := range metrics() {
		fmt.Fprintf(&list, "%s %s {%s}\n  %s\n", m.Name, m.Type, strings.Join(m.Labels, ", "), m.Help)
	}
	dashboard, err := Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"metrics.txt": list.Bytes(), "dashboard.json": dashboard, "rules.yaml": rules} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(name); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what the code makes (make golden): %v", name, err)
		}
	}
}

var word = regexp.MustCompile(`\bamends_[a-z_]+`)

// TestNames: no query asks for a metric that the engine does not have, and every metric that says that
// something is wrong is on the dashboard.
func TestNames(t *testing.T) {
	known := map[string]bool{}
	for _, m := range metrics() {
		known[m.Name] = true
		if m.Type == "histogram" {
			known[m.Name+"_bucket"], known[m.Name+"_sum"], known[m.Name+"_count"] = true, true, true
		}
	}
	all := queries()
	for _, a := range alerts {
		all = append(all, a.Expr)
	}
	used := map[string]bool{}
	for _, q := range all {
		for _, name := range word.FindAllString(q, -1) {
			if used[name] = true; !known[name] {
				t.Errorf("%s is not a metric of the engine: %s", name, q)
			}
		}
	}
	for _, name := range []string{"amends_instances_attention_total", "amends_dead_letters_total", "amends_task_state", "amends_bridge_breaker_open"} {
		if !used[name] {
			t.Errorf("%s is on no dashboard and in no rule", name)
		}
	}
}
