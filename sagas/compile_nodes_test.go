package sagas

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// outlineText is a plan as a tree: index, path, lane, dependencies and end of each node.
func outlineText(p *Plan) string {
	var b strings.Builder
	depth := make([]int, len(p.Steps))
	for i := range p.Steps {
		s := &p.Steps[i]
		lane := ""
		if s.Parent >= 0 {
			depth[i] = depth[s.Parent] + 1
			lane = " in " + p.Steps[s.Parent].Lanes[s.Lane].Name
		}
		fmt.Fprintf(&b, "%s%d %s %s%s", strings.Repeat("  ", depth[i]), i, s.Path, s.Node, lane)
		if len(s.Deps) > 0 {
			fmt.Fprintf(&b, " after %v", s.Deps)
		}
		if len(s.Dependents) > 0 {
			fmt.Fprintf(&b, " before %v", s.Dependents)
		}
		if s.End > i+1 {
			fmt.Fprintf(&b, " to %d", s.End-1)
		}
		if s.Undo != nil && len(s.Undo.After) > 0 {
			fmt.Fprintf(&b, " undone after %v", s.Undo.After)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// The plan has the nodes in order: each before its body, lanes of parallel and race by name, and what
// after: points forward to, first.
func TestPlanOfNodes(t *testing.T) {
	for _, file := range []string{"order", "trip-booking", "subscription-period"} {
		p, err := Compile(parseFile(t, "testdata/good/"+file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/good/"+file+".plan", outlineText(p))
		if p.Requires != 2 {
			t.Errorf("%s: level %d, want 2", file, p.Requires)
		}
		for i := range p.Steps {
			for _, l := range p.Steps[i].Lanes {
				for _, x := range l.Steps {
					if p.Steps[x].Parent != i || x <= i || x >= p.Steps[i].End {
						t.Errorf("%s: %s is not inside %s", file, p.Steps[x].Path, p.Steps[i].Path)
					}
				}
			}
		}
	}
	p := must(Compile(must(ParseDefinition("", []byte(`{"saga":"t","version":1,"participants":{"p":{}},"steps":[
	  {"id":"c","call":"p.x","after":["b","a"],"undo":{"call":"p.y"}},
	  {"id":"a","call":"p.x","after":[],"undo":{"call":"p.y"}},
	  {"id":"b","call":"p.x","undo":{"call":"p.y","after":["c"]}},
	  {"id":"d","call":"p.x","undo":{"call":"p.y"}}]}`)))))
	want := "0 a call before [1 2]\n1 b call after [0] before [2 3] undone after [2]\n2 c call after [0 1]\n3 d call after [1]\n"
	if got := outlineText(p); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// after: and policies that say what holds anyway leave the digest alone.
func TestDigestOfNodes(t *testing.T) {
	base := `{"saga":"t","version":1,"participants":{"p":{}},"steps":[{"id":"a","call":"p.x","kind":"readonly"},{"id":"b","call":"p.x","kind":"readonly"},
	  {"id":"w","await":{"signal":"s","within":"1m"}},{"id":"r","repeat":{"rounds":3,"until":"=true","wait":["0s","1m"]},"do":[{"id":"c","call":"p.x","kind":"readonly"}]}]}`
	d := must(ParseDefinition("", []byte(base)))
	for _, c := range []struct {
		old, new string
		same     bool
	}{
		{`"id":"a"`, `"id":"a","after":[]`, true},
		{`"id":"b"`, `"id":"b","after":["a"]`, true},
		{`"id":"b"`, `"id":"b","after":[]`, false},
		{`"version":1`, `"version":1,"onFailure":"drain","reuse":"never","tags":{},"requires":2`, true},
		{`"version":1`, `"version":1,"onFailure":"eager"`, false},
		{`"version":1`, `"version":1,"reuse":"always"`, false},
		{`"version":1`, `"version":1,"tags":{"a":"b"}`, false},
		{`"within":"1m"`, `"within":"60s","onTimeout":"fail"`, true},
		{`"within":"1m"`, `"within":"60s","onTimeout":"continue"`, false},
		{`["0s","1m"]`, `["0s","60s","1m"]`, true},
		{`["0s","1m"]`, `["0s"]`, false},
		{`"call":"p.x"`, `"call":"p.x","onReject":"fail","heartbeat":"none"`, true},
		{`"call":"p.x"`, `"call":"p.x","onReject":"continue"`, false},
		{`"call":"p.x"`, `"call":"p.x","heartbeat":"5s"`, false},
	} {
		other, err := ParseDefinition("", []byte(strings.Replace(base, c.old, c.new, 1)))
		if err != nil {
			t.Errorf("%s: %v", c.new, err)
			continue
		}
		if same := other.Digest() == d.Digest(); same != c.same {
			t.Errorf("%s: same digest %t, want %t\n%s", c.new, same, c.same, other.Canonical())
		}
	}
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		what  string
		more  string
		level uint32
	}{
		{"plain", `"kind":"readonly"`, 1},
		{"heartbeat", `"kind":"readonly","heartbeat":"1s"`, 2},
		{"lease", `"kind":"readonly","lease":"=saga.now"`, 2},
		{"onReject", `"kind":"readonly","onReject":"continue"`, 2},
		{"undo.after", `"undo":{"call":"p.y","after":["b"]}`, 2},
		{"a function", `"kind":"readonly","with":{"v":"=money.of(1, \"EUR\")"}`, 2},
		{"a signal", `"kind":"readonly","when":"=signals.has(\"x\")"`, 2},
		{"an old function", `"kind":"readonly","with":{"v":"=dec.add(1, 2)","w":"=[1].map(round, round)"}`, 1},
	} {
		src := `{"saga":"t","version":1,"participants":{"p":{}},"steps":[{"id":"a","call":"p.x",` + c.more + `},{"id":"b","call":"p.x","kind":"readonly"}]}`
		d, err := ParseDefinition("", []byte(src))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		made := *d
		made.src = nil
		if d.Level() != c.level || made.Level() != c.level || must(Compile(d)).Requires != c.level {
			t.Errorf("%s: level %d, made in Go %d, want %d", c.what, d.Level(), made.Level(), c.level)
		}
		raised := must(ParseDefinition("", []byte(strings.Replace(src, `"version":1`, `"version":1,"requires":2`, 1))))
		if raised.Level() != 2 || raised.Digest() == d.Digest() != (c.level == 2) {
			t.Errorf("%s: raised to %d, same digest %t", c.what, raised.Level(), raised.Digest() == d.Digest())
		}
	}
}

func TestRequiresMoreThanIsKnown(t *testing.T) {
	_, err := ParseDefinition("f", []byte("saga: t\nversion: 1\nrequires: 4\nparticipants: {p: }\nsteps: [{id: a, call: p.x, kind: readonly}]\n"))
	if err == nil || !strings.Contains(err.Error(), "f:3:11 SG01 requires: the definition requires level 4, this release has level 3. Use a newer release.") {
		t.Errorf("%v", err)
	}
}

// A definition with nodes can be made in Go. What it leaves out gets its default, and what is missing
// is a finding.
func TestNodesMadeInGo(t *testing.T) {
	call := func(id string) StepDef {
		return StepDef{ID: id, Call: "p.x", Kind: ReadOnly, Attempt: DefaultAttempt, Within: DefaultWithin, OnUnknown: UnknownCompensate,
			Retry: Retry{Backoff: DefaultBackoff, BackoffMax: DefaultBackoffMax, Factor: DefaultFactor, Jitter: DefaultJitter}}
	}
	d := &Definition{
		Saga: "made", Version: 1, Participants: map[string]Participant{"p": {Ops: []string{"do"}, Topic: "cmd.p"}},
		Retention: RetentionDef{DefaultStateRetention, DefaultMarkerRetention},
		Steps: []StepDef{
			{ID: "lines", Node: NodeEach, Each: &EachDef{In: "input.lines", Key: "item.id"}, Lanes: []LaneDef{{Name: LaneDo, Steps: []StepDef{call("a")}}}},
			{ID: "way", Node: NodeChoose, Lanes: []LaneDef{{Name: "1", When: "input.x", Steps: []StepDef{call("b")}}, {Name: LaneElse}}},
			{ID: "wait", Node: NodeAwait, Await: &AwaitDef{Signal: "go", Within: time.Minute}},
			{ID: "rush", Node: NodeRace, Lanes: []LaneDef{{Name: "x", Steps: []StepDef{call("c")}}, {Name: "w", Steps: []StepDef{call("d")}}}},
		},
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest != d.Digest() {
		t.Errorf("the plan has another digest than the definition\n%s\n%s", d.Canonical(), p.Definition.Canonical())
	}
	if e := p.Steps[0].Each; e.As != "item" || e.AtOnce != DefaultAtOnce || e.Max != DefaultMaxItems || e.OnFailure != ItemFails {
		t.Errorf("each %+v", e)
	}
	if p.Steps[p.StepIndex("rush")].Race.First != 1 || p.Steps[p.StepIndex("wait")].Await.OnTimeout != TimeoutFail || d.Level() != 2 {
		t.Error("defaults are missing")
	}
	for k := NodeCall; k < NodeContinue; k++ { // a continue without input gives the next run {}
		made := *d
		made.Steps = []StepDef{{ID: "empty", Node: k}}
		if _, err := Compile(&made); err == nil {
			t.Errorf("an empty %s compiles", k)
		}
	}
}
