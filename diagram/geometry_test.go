package diagram

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
)

type rect struct {
	x1, y1, x2, y2 int
	what           string
}

func (r rect) overlaps(o rect) bool { return r.x1 < o.x2 && o.x1 < r.x2 && r.y1 < o.y2 && o.y1 < r.y2 }

func (r rect) holds(o rect) bool { return r.x1 <= o.x1 && o.x2 <= r.x2 && r.y1 <= o.y1 && o.y2 <= r.y2 }

func rectOf(b box) rect {
	return rect{b.x, b.y, b.x + b.w, b.y + b.h, fmt.Sprintf("%s (undo %t)", b.node.title, b.undo)}
}

// inspect says what is wrong with the geometry of a picture.
func inspect(s *scene) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	page := rect{0, 0, s.w, s.h, "page"}
	var steps, blocks, texts []rect
	for _, b := range s.steps {
		steps = append(steps, rectOf(b))
	}
	for _, b := range s.blocks {
		blocks = append(blocks, rectOf(b))
	}
	for _, l := range s.labels {
		w := l.font.width(l.text)
		x := l.x
		if l.middle {
			x -= w / 2
		}
		texts = append(texts, rect{x, l.y - l.font.size + 1, x + w, l.y + 2, l.text})
	}
	for i, a := range steps {
		for _, b := range steps[i+1:] {
			if a.overlaps(b) {
				fault("steps %s and %s overlap", a.what, b.what)
			}
		}
		for _, b := range blocks {
			if a.overlaps(b) && !b.holds(a) {
				fault("step %s sticks out of %s", a.what, b.what)
			}
		}
		for _, b := range texts {
			if a.overlaps(b) {
				fault("step %s covers the text %q", a.what, b.what)
			}
		}
	}
	for i, a := range blocks {
		for _, b := range blocks[i+1:] {
			if a.overlaps(b) && !a.holds(b) && !b.holds(a) {
				fault("blocks %s and %s cross", a.what, b.what)
			}
		}
	}
	for i, a := range texts {
		for _, b := range texts[i+1:] {
			if a.overlaps(b) {
				fault("texts %q and %q overlap", a.what, b.what)
			}
		}
	}
	for _, list := range [][]rect{steps, blocks, texts} {
		for _, r := range list {
			if !page.holds(r) {
				fault("%s is not on the page: %+v of %d x %d", r.what, r, s.w, s.h)
			}
		}
	}
	for _, m := range s.marks {
		line := rect{m.x - 1, m.y1, m.x + 1, m.y2, "the point of no return"}
		for _, list := range [][]rect{steps, texts} {
			for _, r := range list {
				if line.overlaps(r) && r.what != line.what {
					fault("the point of no return runs through %q", r.what)
				}
			}
		}
	}
	for _, l := range s.lines {
		for i := 1; i < len(l.pts); i++ {
			a, b := l.pts[i-1], l.pts[i]
			if a.x != b.x && a.y != b.y {
				fault("a slanted line from %v to %v", a, b)
			}
			r := rect{min(a.x, b.x), min(a.y, b.y), max(a.x, b.x), max(a.y, b.y), ""}
			if !page.holds(r) {
				fault("a line leaves the page: %v", l.pts)
			}
			for _, st := range steps {
				inner := rect{st.x1 + 1, st.y1 + 1, st.x2 - 1, st.y2 - 1, st.what}
				if inner.overlaps(rect{r.x1, r.y1, r.x2 + 1, r.y2 + 1, ""}) {
					fault("a line runs through step %s: %v", st.what, l.pts)
				}
			}
		}
	}
	return faults
}

func TestGeometry(t *testing.T) {
	all := map[string]*sagas.Definition{"everything": allNodes(), "crossed": crossed(), "passed": passed(), "empty": {Saga: "e", Version: 1}}
	files, _ := filepath.Glob("../sagas/testdata/good/*.yaml")
	cured, _ := filepath.Glob("../sagas/testdata/checks/*/good.yaml")
	files = append(files, cured...)
	examples, _ := filepath.Glob("../examples/*/saga.yaml")
	for _, file := range append(files, examples...) {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		defs, err := sagas.ParseDefinitions(file, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range defs {
			all[file+" "+d.Ref()] = d
		}
	}
	if len(all) < 8 {
		t.Fatalf("only %d definitions", len(all))
	}
	for name, def := range all {
		for _, f := range inspect(New(def).layout(true)) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// TestGeometryOfAny draws definitions of any shape.
func TestGeometryOfAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &shapes{t: t}
		def := &sagas.Definition{Saga: "any", Version: 1, Steps: g.list(3)}
		d := New(def)
		if faults := inspect(d.layout(true)); len(faults) > 0 {
			t.Fatalf("%s\n%s", strings.Join(faults, "\n"), d.Text(TextOptions{}))
		}
		if d.Mermaid() == "" || d.DOT() == "" || len(d.SVG(Options{})) == 0 {
			t.Fatal("an empty picture")
		}
	})
}

// shapes makes definitions. They need not make sense.
type shapes struct {
	t *rapid.T
	n int
}

func (g *shapes) list(depth int) []sagas.StepDef {
	count := rapid.IntRange(0, 4).Draw(g.t, "count")
	var out []sagas.StepDef
	free := rapid.Bool().Draw(g.t, "free")
	for range count {
		s := g.node(depth)
		if free {
			s.After = []string{}
			for _, before := range out {
				if rapid.IntRange(0, 2).Draw(g.t, "waits") == 0 {
					s.After = append(s.After, before.ID)
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func (g *shapes) text(what string) string {
	return rapid.SampledFrom([]string{"a", "svc.command", "input.total > 100 && step.score.value < 90 || input.customer.country == \"NL\"", "x == 'ü→漢字漢字漢字'", "psp.authorise"}).Draw(g.t, what)
}

func (g *shapes) node(depth int) sagas.StepDef {
	g.n++
	s := sagas.StepDef{ID: fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"n", "quiteALongNameForAStepThatGoesOnAndOn"}).Draw(g.t, "name"), g.n)}
	if rapid.IntRange(0, 3).Draw(g.t, "conditional") == 0 {
		s.When = g.text("when")
	}
	kinds := []sagas.NodeKind{sagas.NodeCall, sagas.NodeCall, sagas.NodeAwait, sagas.NodeSleep, sagas.NodeFail, sagas.NodeSaga}
	if depth > 0 {
		kinds = append(kinds, sagas.NodeParallel, sagas.NodeChoose, sagas.NodeEach, sagas.NodeRace, sagas.NodeScope, sagas.NodeRepeat)
	}
	s.Node = rapid.SampledFrom(kinds).Draw(g.t, "kind")
	named := func(names ...string) {
		for _, name := range names {
			s.Lanes = append(s.Lanes, sagas.LaneDef{Name: name, When: g.text("lane"), Steps: g.list(depth - 1)})
		}
	}
	switch s.Node {
	case sagas.NodeCall:
		s.Call = g.text("call")
		s.Kind = sagas.StepKind(rapid.IntRange(1, 5).Draw(g.t, "call kind"))
		if s.Kind == sagas.Compensatable && rapid.Bool().Draw(g.t, "undo") {
			s.Undo = &sagas.UndoDef{Call: g.text("undo call")}
		}
	case sagas.NodeAwait:
		s.Await = &sagas.AwaitDef{Signal: g.text("signal")}
		if depth > 0 && rapid.Bool().Draw(g.t, "late") {
			named(sagas.LaneTimeout)
		}
	case sagas.NodeSleep:
		s.Sleep = &sagas.SleepDef{Until: g.text("until")}
	case sagas.NodeFail:
		s.Fail = &sagas.FailDef{Code: "CODE"}
	case sagas.NodeSaga:
		s.Saga = &sagas.SagaDef{Type: "child", Reversible: rapid.Bool().Draw(g.t, "reversible")}
	case sagas.NodeParallel:
		named("left", "right", "another one")
	case sagas.NodeRace:
		s.Race = &sagas.RaceDef{First: 1}
		named("left", "right")
	case sagas.NodeChoose:
		named("1", sagas.LaneElse)
	case sagas.NodeEach:
		s.Each = &sagas.EachDef{In: g.text("in"), As: "item", AtOnce: 1}
		named(sagas.LaneDo)
	case sagas.NodeScope:
		s.Scope = &sagas.ScopeDef{Rounds: 2, RetryOn: []string{"A"}, CatchOn: []string{"B"}}
		named(sagas.LaneDo, sagas.LaneCatch)
	case sagas.NodeRepeat:
		s.Repeat = &sagas.RepeatDef{Rounds: 2, Until: g.text("until")}
		named(sagas.LaneDo)
	}
	return s
}

func TestClip(t *testing.T) {
	for _, f := range []font{fontTitle, fontDetail, fontLabel, fontPill} {
		rapid.Check(t, func(t *rapid.T) {
			s, w := rapid.String().Draw(t, "text"), rapid.IntRange(16, 300).Draw(t, "width")
			got := f.clip(s, w)
			if f.width(got) > w {
				t.Fatalf("%q is %d wide, more than %d", got, f.width(got), w)
			}
			if f.width(oneLine(s)) <= w && got != oneLine(s) {
				t.Fatalf("%q was cut to %q though it fits", s, got)
			}
		})
	}
}

// TestContrast holds texts and signs to the ratios of WCAG 2.2 AA.
func TestContrast(t *testing.T) {
	rule := regexp.MustCompile(`--amd-([a-z-]+):(#[0-9a-f]{3,8})`)
	lines := strings.Split(CSS, "\n")
	for i, theme := range []string{"light", "dark by preference", "dark"} {
		colour := map[string][3]float64{}
		for _, m := range rule.FindAllStringSubmatch(lines[i], -1) {
			if c, ok := opaque(m[2]); ok {
				colour[m[1]] = c
			}
		}
		for _, ground := range []string{"bg", "card"} {
			for _, ink := range []string{"ink", "soft", "call", "pivot", "retry", "quiet", "wait", "data", "good", "bad", "warn"} {
				ratio(t, theme, colour, ink, ground, 4.5)
			}
			ratio(t, theme, colour, "line", ground, 3)
		}
		ratio(t, theme, colour, "soft", "undo-card", 4.5)
		ratio(t, theme, colour, "undo", "undo-card", 4.5)
		ratio(t, theme, colour, "undo", "bg", 4.5)
		ratio(t, theme, colour, "card", "pivot", 3)
	}
	if lines[1][strings.Index(lines[1], "--"):len(lines[1])-2] != lines[2][strings.Index(lines[2], "--"):len(lines[2])-1] {
		t.Error("dark by preference and dark by choice differ")
	}
}

func ratio(t *testing.T, theme string, colours map[string][3]float64, ink, ground string, want float64) {
	t.Helper()
	a, okA := colours[ink]
	b, okB := colours[ground]
	if !okA || !okB {
		t.Fatalf("%s: no colour %s or %s", theme, ink, ground)
	}
	la, lb := luminance(a), luminance(b)
	if r := (max(la, lb) + 0.05) / (min(la, lb) + 0.05); r < want {
		t.Errorf("%s: %s on %s has contrast %.2f, want %.1f", theme, ink, ground, r, want)
	}
}

func opaque(hex string) (c [3]float64, ok bool) {
	hex = hex[1:]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	if len(hex) != 6 {
		return c, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	for i := range c {
		c[i] = float64(n>>(16-8*i)&255) / 255
	}
	return c, err == nil
}

func luminance(c [3]float64) float64 {
	for i, v := range c {
		if v <= 0.03928 {
			c[i] = v / 12.92
		} else {
			c[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
}
