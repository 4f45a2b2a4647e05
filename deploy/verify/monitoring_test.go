package verify

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// known are the metrics with their labels, from the list that the engine's own test keeps true.
func known(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../monitoring/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string][]string{"process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) (\S+) \{(.*)\}$`).FindAllStringSubmatch(string(text), -1) {
		list := strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })
		if m[2] == "histogram" {
			metrics[m[1]+"_bucket"] = append(list, "le")
		} else {
			metrics[m[1]] = list
		}
	}
	if len(metrics) < 20 {
		t.Fatalf("only %d metrics in the list", len(metrics))
	}
	return metrics
}

// check parses an expression as Prometheus does, and looks up its metrics and the labels by which it
// selects and groups.
func check(t *testing.T, expr string, metrics map[string][]string) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "1m")
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return
	}
	has := map[string]bool{"instance": true, "__name__": true}
	var groups [][]string
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			list, ok := metrics[n.Name]
			if !ok {
				t.Errorf("%s: there is no metric %q", expr, n.Name)
			}
			for _, l := range list {
				has[l] = true
			}
			for _, m := range n.LabelMatchers {
				if !has[m.Name] && m.Name != labels.MetricName {
					t.Errorf("%s: %s has no label %q", expr, n.Name, m.Name)
				}
			}
		case *parser.AggregateExpr:
			groups = append(groups, n.Grouping)
		}
		return nil
	})
	for _, g := range groups {
		for _, l := range g {
			if !has[l] {
				t.Errorf("%s: groups by %q, which nothing in it has", expr, l)
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	metrics := known(t)
	seen := map[int]bool{}
	n := 0
	for _, p := range board.Panels {
		if seen[p.ID] || p.Title == "" || p.GridPos.W == 0 {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			check(t, target.Expr, metrics)
			n++
		}
	}
	if board.UID == "" || n < 20 {
		t.Errorf("%q with %d queries", board.UID, n)
	}
}

func TestRules(t *testing.T) {
	text, err := os.ReadFile("../monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}))
	for _, err := range errs {
		t.Error(err)
	}
	metrics := known(t)
	n := 0
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			check(t, r.Expr, metrics)
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s does not say how bad it is, what it is or what to do", r.Alert)
			}
			n++
		}
	}
	if n < 8 {
		t.Errorf("%d rules", n)
	}
}
