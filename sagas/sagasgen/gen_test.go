package sagasgen_test

import (
	"slices"
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
		wellFormed(t, plan)
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

// wellFormed checks what every plan promises: preorder, lanes, dependencies among siblings that come
// before, and dependents as their inverse.
func wellFormed(t *rapid.T, p *sagas.Plan) {
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Parent >= i || s.End <= i || s.End > len(p.Steps) {
			t.Fatalf("%s: parent %d, end %d", s.Path, s.Parent, s.End)
		}
		if s.Parent >= 0 {
			outer := &p.Steps[s.Parent]
			if s.End > outer.End || s.Lane >= len(outer.Lanes) || !slices.Contains(outer.Lanes[s.Lane].Steps, i) {
				t.Fatalf("%s is not in a lane of %s", s.Path, outer.Path)
			}
		}
		for _, d := range s.Deps {
			dep := &p.Steps[d]
			if d >= i || dep.Parent != s.Parent || dep.Lane != s.Lane || !slices.Contains(dep.Dependents, i) {
				t.Fatalf("%s depends on %s", s.Path, dep.Path)
			}
		}
		for _, d := range s.Dependents {
			if !slices.Contains(p.Steps[d].Deps, i) {
				t.Fatalf("%s has the dependent %s", s.Path, p.Steps[d].Path)
			}
		}
		if !slices.IsSorted(s.Deps) || !slices.IsSorted(s.Dependents) {
			t.Fatalf("%s: %v %v", s.Path, s.Deps, s.Dependents)
		}
	}
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
