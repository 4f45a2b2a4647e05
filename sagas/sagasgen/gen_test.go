package sagasgen_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
)

func drawn(t *rapid.T, o sagasgen.Options) string {
	return sagasgen.Definition(func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }, o)
}

// Every drawn definition passes the checks, compiles, and is the same again after its canonical form.
func TestDrawnDefinitionsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := drawn(t, sagasgen.Options{})
		def, err := sagas.ParseDefinition("drawn", []byte(src))
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Steps) > sagasgen.MaxNodes {
			t.Fatalf("%d nodes", len(plan.Steps))
		}
		again, err := sagas.ParseDefinition("canonical", def.Canonical())
		if err != nil {
			t.Fatalf("canonical form is refused: %v\n%s", err, def.Canonical())
		}
		if again.Digest() != def.Digest() || again.Level() != def.Level() {
			t.Fatalf("not stable\n%s\n%s", def.Canonical(), again.Canonical())
		}
	})
}

// Without other nodes a definition is of level 1.
func TestDrawnCallsAreOfLevel1(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := drawn(t, sagasgen.Options{Kinds: []sagas.NodeKind{}})
		def, err := sagas.ParseDefinition("drawn", []byte(src))
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if def.Level() != 1 {
			t.Fatalf("level %d\n%s", def.Level(), src)
		}
	})
}

// Every kind of node is drawn.
func TestEveryKindIsDrawn(t *testing.T) {
	seen := map[sagas.NodeKind]bool{}
	for seed := uint64(1); seed <= 400; seed++ {
		x := seed
		src := sagasgen.Definition(func(_ string, n int) int {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			return int(x % uint64(n))
		}, sagasgen.Options{})
		def, err := sagas.ParseDefinition("drawn", []byte(src))
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		for i := range plan.Steps {
			seen[plan.Steps[i].Node] = true
		}
	}
	for k := sagas.NodeCall; k <= sagas.NodeContinue; k++ {
		if !seen[k] {
			t.Errorf("no %s was drawn", k)
		}
	}
}
