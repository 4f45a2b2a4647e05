package sagas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

func parseFile(t testing.TB, file string) *Definition {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDefinition(filepath.Base(file), src)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Good definitions have a fixed canonical form and digest. A changed golden file here means that
// every published definition changes its digest.
func TestCanonicalDefinitions(t *testing.T) {
	for _, file := range sources(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			d := parseFile(t, file)
			canonical := d.Canonical()
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, canonical, "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", fmt.Sprintf("%s %s\n%s\n", d.Ref(), d.Digest(), pretty.String()))
			again, err := ParseDefinition("canonical", canonical)
			if err != nil {
				t.Fatalf("the canonical form does not parse: %v", err)
			}
			if !bytes.Equal(again.Canonical(), canonical) || again.Digest() != d.Digest() {
				t.Errorf("not stable:\n%s\n%s", canonical, again.Canonical())
			}
			if _, err := Compile(d); err != nil {
				t.Error(err)
			}
			if w := d.Warnings(); len(w) > 0 {
				t.Errorf("warnings: %v", w)
			}
		})
	}
}

// The example that users start from is the fixture of the tests.
func TestExampleIsTheFixture(t *testing.T) {
	example, err := os.ReadFile("../examples/card-payment/saga.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fixture, err := os.ReadFile("testdata/good/card-payment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(example, fixture) {
		t.Error("examples/card-payment/saga.yaml and sagas/testdata/good/card-payment.yaml differ: copy the one to the other")
	}
}

// P26: the digest depends on what a definition says and not on how it is written.
func TestDigestIgnoresSpelling(t *testing.T) {
	var fixtures []*Definition
	var trees []any
	for _, file := range sources(t, "good") {
		fixtures = append(fixtures, parseFile(t, file))
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := newReport(file, src)
		trees = append(trees, readNodes(r, src)[0].value(), must(parseJSON(fixtures[len(fixtures)-1].Canonical())))
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(trees)-1).Draw(t, "definition")
		src := shuffled(t, trees[i])
		if rapid.Bool().Draw(t, "as YAML") {
			var y any
			if err := yaml.Unmarshal([]byte(src), &y); err != nil {
				t.Fatal(err)
			}
			b, err := yaml.Marshal(y)
			if err != nil {
				t.Fatal(err)
			}
			src = string(b)
		}
		d, err := ParseDefinition("shuffled", []byte(src))
		if err != nil {
			t.Fatalf("%s\n%v", src, err)
		}
		if want := fixtures[i/2]; d.Digest() != want.Digest() {
			t.Fatalf("%s\ngives %s\nwant  %s", src, d.Canonical(), want.Canonical())
		}
	})
}

// Writing a default out, or a duration in another unit, changes nothing; everything else does.
func TestDigestAndDefaults(t *testing.T) {
	base := `{"saga":"t","version":1,"participants":{"psp":{}},"steps":[{"id":"a","call":"psp.x","undo":{"call":"psp.y"}}]}`
	d := must(ParseDefinition("", []byte(base)))
	for _, same := range []string{
		`{"saga":"t","version":1,"deadline":"none","output":{},"retention":{"state":"1w","marker":"720h"},"participants":{"psp":{"ops":["undo","do"],"keyWindow":"none","topic":"cmd.psp"}},
		  "steps":[{"id":"a","call":"psp.x","kind":"compensatable","with":{},"keep":[],"attempt":"10000ms","within":"120s","retry":{"backoff":"0.5s","max":"60s","factor":2.0,"jitter":0.20,"nonRetryable":[]},
		  "onUnknown":"compensate","alertAfter":"none","undo":{"call":"psp.y","attempt":"10s","retry":{},"alertAfter":"15m"}}]}`,
	} {
		other, err := ParseDefinition("", []byte(same))
		if err != nil {
			t.Fatal(err)
		}
		if other.Digest() != d.Digest() {
			t.Errorf("%s\n%s", d.Canonical(), other.Canonical())
		}
	}
	for _, change := range []struct{ old, new string }{
		{`"version":1`, `"version":2`}, {`"psp.x"`, `"psp.z"`}, {`"id":"a"`, `"id":"b"`}, {`"id":"a"`, `"id":"a","attempt":"11s"`},
		{`"id":"a"`, `"id":"a","with":{"n":1}`}, {`"id":"a"`, `"id":"a","when":"=true"`}, {`{"call":"psp.y"}`, `{"call":"psp.y","with":{}}`},
		{`"psp":{}`, `"psp":{"keyWindow":"1d"}`}, {`"version":1`, `"version":1,"id":"=input.x"`}, {`"version":1`, `"version":1,"input":"a.B"`},
	} {
		other, err := ParseDefinition("", []byte(strings.Replace(base, change.old, change.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if other.Digest() == d.Digest() {
			t.Errorf("%s leaves the digest", change.new)
		}
	}
}

func TestCompileCardPayment(t *testing.T) {
	d := parseFile(t, "testdata/good/card-payment.yaml")
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	if p.Type != "card-payment" || p.Version != 1 || p.Digest != d.Digest() || p.Pivot != 2 || p.ID != nil || p.Deadline != 30*time.Minute {
		t.Errorf("plan %+v", p)
	}
	auth, reserve, capture, ship := p.Steps[0], p.Steps[1], p.Steps[2], p.Steps[3]
	if auth.Participant != "psp" || auth.Command != "authorise" || auth.Topic != "cmd.psp" || auth.KeyWindow != 24*time.Hour || auth.OnUnknown != UnknownInquire || auth.Undo.Command != "void" {
		t.Errorf("auth %+v", auth)
	}
	if reserve.OnUnknown != UnknownCompensate || reserve.Inquire != nil || reserve.Within != DefaultWithin || reserve.Undo.Attempt != 5*time.Second {
		t.Errorf("reserve %+v", reserve)
	}
	if capture.Kind != Pivot || capture.Inquire.Command != "capture" || capture.Inquire.For != 10*time.Minute || capture.Undo != nil {
		t.Errorf("capture %+v", capture)
	}
	if ship.Kind != Retriable || ship.Within != 0 || ship.OnUnknown != UnknownAttention || ship.AlertAfter != 2*time.Hour {
		t.Errorf("ship %+v", ship)
	}
	for i, s := range p.Steps {
		if i > 0 && (len(s.Deps) != 1 || s.Deps[0] != i-1) || i < 3 && (len(s.Dependents) != 1 || s.Dependents[0] != i+1) {
			t.Errorf("%s: deps %v, dependents %v", s.Path, s.Deps, s.Dependents)
		}
	}
	// A start that has nothing but an amount runs.
	if err := p.Input.Check([]byte(`{"amount":1500}`)); err != nil {
		t.Error(err)
	}
	s := testScope{input: `{"amount":1500}`, steps: map[string][2]string{"auth": {"", "unknown"}, "reserve": {"", "idle"}, "capture": {"", "idle"}, "ship": {"", "idle"}}}
	for _, m := range []struct {
		m    *Mapping
		want string
	}{
		{auth.With, `{"amount":1500,"card":"default","currency":"EUR"}`}, {auth.Undo.With, `{}`}, {reserve.With, `{"items":[]}`},
		{reserve.Undo.With, `{}`}, {capture.With, `{"amount":1500}`}, {ship.With, `{}`}, {p.Output, `{}`},
	} {
		if got, err := m.m.JSON(s); err != nil || string(got) != m.want {
			t.Errorf("%s %v, want %s", got, err, m.want)
		}
	}
}

// A definition that was put together in Go goes through the same checks.
func TestCompileWithoutSource(t *testing.T) {
	parsed := parseFile(t, "testdata/good/minimal.yaml")
	made := *parsed
	made.src = nil
	p, err := Compile(&made)
	if err != nil || p.Digest != parsed.Digest() {
		t.Fatalf("%v", err)
	}
	made.Steps = append([]StepDef(nil), made.Steps...)
	made.Steps[0].Undo = nil
	var found Findings
	if _, err := Compile(&made); !errors.As(err, &found) || found[0].Code != "SG10" {
		t.Errorf("error %v, want SG10", err)
	}
}

func TestParseDefinitions(t *testing.T) {
	src := "# two\nsaga: a\nversion: 1\nparticipants: {p: }\nsteps: [{id: x, call: p.x, kind: readonly}]\n---\nsaga: b\nversion: 1\nparticipants: {p: }\nsteps: [{id: x, call: p.x, kind: readonly}]\n---\n"
	defs, err := ParseDefinitions("two.yaml", []byte(src))
	if err != nil || len(defs) != 2 || defs[0].Ref() != "a@1" || defs[1].Ref() != "b@1" {
		t.Fatalf("%v %v", defs, err)
	}
	if _, err := ParseDefinition("two.yaml", []byte(src)); err == nil {
		t.Error("ParseDefinition takes two definitions")
	}
}

func TestMapping(t *testing.T) {
	src := `{"saga":"t","version":1,"participants":{"p":{}},"steps":[{"id":"x","call":"p.x","kind":"readonly","with":
	  {"z":"=input.a","lit":{"n":[1,2.50,"x"],"eq":"==x"},"list":["=input.?none","=input.a","=input.?a"],"none":"=input.?none","now":"=saga.now","key":"=key","calc":"=input.a + 1"}}]}`
	p, err := Compile(must(ParseDefinition("", []byte(src))))
	if err != nil {
		t.Fatal(err)
	}
	with := p.Steps[0].With
	got, err := with.JSON(testScope{input: `{"a":7}`, now: 1000, key: "k"})
	want := `{"calc":8,"key":"k","list":[7,7],"lit":{"eq":"=x","n":[1,2.5,"x"]},"now":"1970-01-01T00:00:01Z","z":7}`
	if err != nil || string(got) != want {
		t.Errorf("%s %v\nwant %s", got, err, want)
	}
	if !with.UsesNow() {
		t.Error("UsesNow is false")
	}
	var ee *EvalError
	if _, err := with.JSON(testScope{input: `{"b":7}`}); !errors.As(err, &ee) || ee.Expr != "input.a + 1" {
		t.Errorf("error %v, want an EvalError of input.a + 1", err)
	}
	if _, err := with.JSON(testScope{input: `{"a":"` + strings.Repeat("x", MaxValueBytes/2) + `"}`}); err == nil {
		t.Error("a result over the limit is accepted")
	}
}

// The same scope gives the same payload, however often and from however many goroutines' plans.
func TestMappingIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &object{}
		for _, k := range []string{"a", "b", "c"} {
			in.set(k, jsonValue(2).Draw(t, k))
		}
		s := testScope{input: string(must(CanonicalJSON(appendJSON(nil, in))))}
		src := `{"saga":"t","version":1,"participants":{"p":{}},"steps":[{"id":"x","call":"p.x","kind":"readonly","with":{"a":"=input.a","all":"=input","m":"={'x': input.b, 'w': input.c, 'v': 1}","k":"={'x': 1, 'w': 2, 'v': 3}.map(k, k)","i":"=input.map(k, k)"}}]}`
		p := must(Compile(must(ParseDefinition("", []byte(src)))))
		first, firstErr := p.Steps[0].With.JSON(s)
		for range 10 {
			got, err := p.Steps[0].With.JSON(s)
			if !bytes.Equal(got, first) || fmt.Sprint(err) != fmt.Sprint(firstErr) {
				t.Fatalf("%s %v, then %s %v", first, firstErr, got, err)
			}
		}
		if firstErr == nil {
			if again, err := CanonicalJSON(first); err != nil || !bytes.Equal(again, first) {
				t.Fatalf("not canonical: %s %v", first, err)
			}
		}
	})
}

// The digest of what has been published stays what it is.
func TestPublishedDigest(t *testing.T) {
	d := parseFile(t, "../examples/card-payment/saga.yaml")
	if got, want := d.Digest().String(), "c8af38e941a1d8d5aec84e17d9273e6c4f8fd3b1f6ad09783ccefc33713d0dc6"; got != want {
		t.Errorf("the digest of %s is %s, was %s", d.Ref(), got, want)
	}
	if d.Level() != 1 {
		t.Errorf("level %d, want 1", d.Level())
	}
}
