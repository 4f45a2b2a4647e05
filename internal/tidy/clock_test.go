package tidy

import (
	"go/ast"
	"testing"
)

// clockless packages take time from their callers, so that a test or a replay
// decides what time it is.
var clockless = map[string]string{
	"sagas":      "the machine's time is the now that Step is given",
	"protocol":   "a time on the wire is a field that the caller fills",
	"correlate":  "the time is the now that Step is given",
	"statestore": "the store's time is the Position that Apply is given",
}

var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}

func TestClock(t *testing.T) {
	for _, f := range goFiles(t) {
		cure, ok := clockless[f.dir]
		if !ok || f.test {
			continue
		}
		ast.Inspect(f.parse(t), func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && pkg.Obj == nil && clock[sel.Sel.Name] {
				t.Errorf("%s uses time.%s: %s", f.at(sel), sel.Sel.Name, cure)
			}
			return true
		})
	}
}
