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
		if _, err := p.lifecycle(&sagas.Lifecycle{WorkflowID: "t/1", Type: "t", Kind: sagas.Kind(kind), Phase: sagas.Running}, &origin{}); err != nil {
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
