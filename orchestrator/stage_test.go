package orchestrator

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// TestEveryFactCanBeWritten: each kind that the machine has is in the schema of the lifecycle topic; a
// fact that cannot be written would set aside the record that it came from.
func TestEveryFactCanBeWritten(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../sagas/effect.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &processor{topics: protocol.Topics{Lifecycle: "l"}}
	kinds := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Kind") {
			return true
		}
		kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		kinds++
		if _, err := p.lifecycle(apart{}, &sagas.Lifecycle{WorkflowID: "t/1", Type: "t", Kind: sagas.Kind(kind), Phase: sagas.Running}, &origin{}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		return true
	})
	if kinds < 25 {
		t.Errorf("found %d kinds only", kinds)
	}
}

func TestDetailsAreSorted(t *testing.T) {
	got := details([]sagas.KV{{Key: "status", Value: "1"}, {Key: "requestId", Value: "2"}, {Key: "status", Value: "3"}})
	if want := []protocol.KV{{Key: "requestId", Value: "2"}, {Key: "status", Value: "1"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestLifecycleCloudEvents: with the setting, a lifecycle record is a CloudEvent in binary mode, and else as before.
func TestLifecycleCloudEvents(t *testing.T) {
	p := &processor{topics: protocol.Topics{Lifecycle: "l"}}
	fact := &sagas.Lifecycle{WorkflowID: "order/é 1", Run: 2, Seq: 7, At: 1_767_225_600_123, Type: "order", Kind: sagas.KindStepDone, Path: "lines[a b]/reserve", Phase: sagas.Running}
	headers := func() string {
		rec, err := p.lifecycle(apart{}, fact, &origin{})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, h := range rec.Headers {
			all = append(all, h.Key+"="+string(h.Value))
		}
		return strings.Join(all, " ")
	}
	plain := "saga-kind=step-done saga-seq=7 content-type=application/avro"
	if got := headers(); got != plain {
		t.Errorf("without the setting: %s", got)
	}
	p.cfg.CloudEvents = true
	want := plain + " ce_specversion=1.0 ce_id=2-7-1767225600123 ce_source=order/%C3%A9%201 ce_type=amends.v1.Lifecycle.step-done" +
		" ce_time=2026-01-01T00:00:00.123Z ce_subject=lines%5Ba%20b%5D/reserve ce_dataschema=urn:avro:amends.v1.Lifecycle:"
	got := headers()
	fingerprint, ok := strings.CutPrefix(got, want)
	if _, err := strconv.ParseUint(fingerprint, 16, 64); !ok || len(fingerprint) != 16 || err != nil {
		t.Errorf("got  %s\nwant %s<fingerprint>", got, want)
	}
	fact.Path = ""
	if got := headers(); strings.Contains(got, "ce_subject") {
		t.Errorf("a fact about the instance has a subject: %s", got)
	}
}
