package sagas

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the text, the answer is a definition or findings; a definition compiles, and its
// canonical form gives the same definition.
func FuzzParseDefinition(f *testing.F) {
	for _, pattern := range []string{"testdata/checks/*/*.yaml", "testdata/checks/*/*.json", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		defs, err := ParseDefinitions("f", src)
		if err != nil {
			var found Findings
			if !errors.As(err, &found) || len(found) == 0 {
				t.Fatalf("error %v", err)
			}
			_ = found.Error()
			return
		}
		for _, d := range defs {
			plan, err := Compile(d)
			if err != nil {
				t.Fatalf("parsed, but does not compile: %v", err)
			}
			canonical := d.Canonical()
			again, err := ParseDefinition("canonical", canonical)
			if err != nil {
				t.Fatalf("canonical form is refused: %v\n%s", err, canonical)
			}
			if !bytes.Equal(again.Canonical(), canonical) || again.Digest() != plan.Digest {
				t.Fatalf("not stable\n%s\n%s", canonical, again.Canonical())
			}
		}
	})
}

// What is accepted is stable and stays accepted.
func FuzzCanonicalJSON(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1.50,-0,1e400,"\ud83d\ude00"]}`, `12345678901234567890.5`, `[[[[]]]]`, `{"a":1,"a":2}`, `"\u0000"`} {
		f.Add([]byte(s))
	}
	for _, s := range rewriteCases {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		sameAsParsed(t, src)
		got, err := CanonicalJSON(src)
		if err != nil {
			return
		}
		again, err := CanonicalJSON(got)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%s\n%s %v", got, again, err)
		}
		if end := skipValue(append(got, ','), 0); end != len(got) {
			t.Fatalf("skipValue of %s stops at %d of %d", got, end, len(got))
		}
		o := &object{}
		o.set("k", bigNum(got)) // written as it is
		raw, found, err := rawField(appendJSON(nil, o), []byte(`"k"`))
		if err != nil || !found || !bytes.Equal(raw, got) {
			t.Fatalf("rawField of %s: %s %v %v", got, raw, found, err)
		}
	})
}

// Whatever the expression, it compiles to something bounded that gives the same result each time,
// or says what is wrong.
func FuzzExpr(f *testing.F) {
	for _, s := range []string{
		`input.a.b`, `input.?x.orValue([])`, `step.auth.?id`, `dec.add(input.p, "1.5") + key`, `saga.now + duration("1h")`,
		`{"b":1,"a":input.a}.map(k, k)`, `["x"].map(a,[a,a]).map(a,[a,a])`, `input.l.exists(x, x.matches("a+")) ? 1 : 2.5`, `has(step.auth.id) && step.auth.state == "done"`,
		`optional.of(1)`, `b"x"`, `type(1)`, `-9223372036854775808 - 1`, `1u`, `"\x00"`,
	} {
		f.Add(s, `{"a":{"b":1},"l":["aa","b"],"p":"1.5"}`)
	}
	f.Fuzz(func(t *testing.T, text, input string) {
		e, problems := compileExpr(text, wantJSON)
		if e == nil {
			if len(problems) == 0 {
				t.Fatal("no expression and no problem")
			}
			return
		}
		canonical, err := CanonicalJSON([]byte(input))
		if err != nil || canonical[0] != '{' {
			canonical = []byte(`{}`)
		}
		s := testScope{input: string(canonical), steps: map[string][2]string{"auth": {`{"id":"x"}`, "done"}}, now: 1, key: "k"}
		first := evalJSON(e, s)
		for range 3 {
			if again := evalJSON(e, s); again != first {
				t.Fatalf("%s: %s, then %s", text, first, again)
			}
		}
		if raw, has, err := e.appendTo(nil, &evaluation{scope: s}, 0); err == nil && has {
			if again, err := CanonicalJSON(raw); err != nil || !bytes.Equal(again, raw) {
				t.Fatalf("%s: result is not canonical: %s %v", text, raw, err)
			}
		}
	})
}
