package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
)

const crooked = `# the head

participants: {psp: {ops: [do,   undo], topic: "cmd.psp"}, empty: }   # who
# over version

version: 1
saga: hello   # its name


input: {properties: {total: {type: integer}}, required: [
   total]}
steps:
- call: psp.pay # what
  # over id
  id: pay
  with:
      amount: =input.total
      note: "it's \u0009 here"
      text: |
        # no comment
        two
      list: ['*', a b, 'c']
      none: []
  undo: {call: psp.refund}
  keep:
  - a
  - b

- {id: log, call: psp.log, kind: readonly, when: '=input.total > 100
     && true'}
# the end
---
saga: other
version: 1
participants: {psp: }
steps: [{id: a, call: psp.a, kind: readonly}]
`

const straight = `# the head

saga: hello                 # its name
# over version

version: 1

input:
  required: [total]
  properties:
    total: {type: integer}
participants:               # who
  psp:
    topic: 'cmd.psp'
    ops: [do, undo]
  empty:
steps:
  # over id
  - id: pay                 # what
    call: psp.pay
    with:
      amount: '=input.total'
      note: "it's \t here"
      text: |
        # no comment
        two
      list:
        - '*'
        - a b
        - 'c'
      none: []
    keep: [a, b]
    undo:
      call: psp.refund

  - id: log
    when: '=input.total > 100 && true'
    call: psp.log
    kind: readonly
# the end
---
saga: other
version: 1
participants:
  psp:
steps:
  - id: a
    call: psp.a
    kind: readonly
`

func TestFormat(t *testing.T) {
	got, err := formatDefinitions("f", []byte(crooked))
	if err != nil {
		t.Fatal(err)
	}
	if d := unifiedDiff("want", "got", straight, string(got)); d != "" {
		t.Error(d)
	}
	again, err := formatDefinitions("f", got)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("not idempotent: %v\n%s", err, unifiedDiff("once", "twice", string(got), string(again)))
	}
}

// TestFormatKeeps formats every definition of the tree: the digest and the comments stay, and a
// second time nothing changes.
func TestFormatKeeps(t *testing.T) {
	var files []string
	for _, pattern := range []string{"sagas/testdata/good/*.yaml", "sagas/testdata/checks/*/*.yaml", "examples/*/saga.yaml"} {
		found, _ := filepath.Glob("../../" + pattern)
		files = append(files, found...)
	}
	formatted := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out, err := formatDefinitions(file, src)
		if err != nil {
			if strings.Contains(file, "/good") || strings.Contains(file, "/examples/") {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		formatted++
		if again, err := formatDefinitions(file, out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%s: not idempotent: %v", file, err)
		}
		if strings.Contains(file, "/examples/") && !bytes.Equal(src, out) {
			t.Errorf("an example is not formatted:\n%s", unifiedDiff(file, "formatted", string(src), string(out)))
		}
	}
	if formatted < 40 {
		t.Errorf("only %d files were formatted", formatted)
	}
}

// TestFormatAny formats YAML of any layout: what it says stays, and a second time nothing changes.
func TestFormatAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := yamlGen{t}
		src := "saga: x\n" + g.fields(0, 3)
		out, err := formatDefinitions("f", []byte(src))
		if err != nil {
			if strings.Contains(err.Error(), "report it") || strings.Contains(err.Error(), "would") {
				t.Fatalf("%v\n%s", err, src)
			}
			t.Skip(err)
		}
		again, err := formatDefinitions("f", out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%v\n%s\n---- once\n%s\n---- twice\n%s", err, src, out, again)
		}
	})
}

type yamlGen struct{ t *rapid.T }

func (g yamlGen) pick(what string, of ...string) string {
	return rapid.SampledFrom(of).Draw(g.t, what)
}

func (g yamlGen) fields(indent, depth int) string {
	var b strings.Builder
	used := map[string]bool{}
	for range rapid.IntRange(1, 4).Draw(g.t, "fields") {
		key := g.pick("key", "with", "steps", "id", "retry", "'quoted key'", "undo", "do", "call", "when", "x.y")
		if used[key] {
			continue
		}
		used[key] = true
		pad := strings.Repeat(" ", indent)
		if rapid.IntRange(0, 4).Draw(g.t, "over") == 0 {
			b.WriteString(g.pick("blank", "", "\n") + pad + "# over\n" + g.pick("blank", "", "\n"))
		}
		b.WriteString(pad + key + ":")
		comment := g.pick("comment", "", "", "  # behind", "\t# tab")
		switch what := rapid.IntRange(0, 7).Draw(g.t, "what"); {
		case what == 0 && depth > 0:
			b.WriteString(comment + "\n" + g.fields(indent+rapid.IntRange(1, 4).Draw(g.t, "step"), depth-1))
		case what == 1 && depth > 0:
			b.WriteString(comment + "\n")
			for range rapid.IntRange(1, 3).Draw(g.t, "items") {
				if rapid.Bool().Draw(g.t, "map") {
					inner := g.fields(indent+4, depth-1)
					if strings.HasPrefix(strings.TrimLeft(inner, " "), "#") || strings.HasPrefix(inner, "\n") {
						b.WriteString(pad + "  -\n" + inner)
					} else {
						b.WriteString(pad + "  - " + inner[indent+4:])
					}
				} else {
					b.WriteString(pad + "  - " + g.scalar() + comment + "\n")
				}
			}
		case what == 2:
			b.WriteString(" " + g.pick("block", "|", "|-", ">", ">-", "|+") + comment + "\n")
			for range rapid.IntRange(1, 3).Draw(g.t, "lines") {
				b.WriteString(pad + "    " + g.pick("line", "text # no comment", "  deeper", "'", "x:") + "\n")
			}
		case what == 3:
			b.WriteString(" [" + g.pick("flow", "a, b", "'it''s', \"q # q\"", "{a: 1, b: [x]}", "") + "]" + comment + "\n")
		case what == 4:
			b.WriteString(" {" + g.pick("flow", "a: 1", "call: psp.x,\n"+pad+"    id: y", "x: {y: {z: 1}}", "") + "}" + comment + "\n")
		case what == 5:
			b.WriteString(comment + "\n") // null
		default:
			b.WriteString(" " + g.scalar() + comment + "\n")
		}
	}
	return b.String()
}

func (g yamlGen) scalar() string {
	return g.pick("scalar", "plain", "two words", "=input.x > 1", "'=step.a.?b'", `"tab\there"`, `"new\nline"`, "'#no'", "a#b", "1", "1.50", "true", "null", "~", "'1'", "http://x", "ü", "'it''s'", `"\""`, "10s")
}

func TestFormatJSON(t *testing.T) {
	src := []byte(`{"steps":[{"call":"psp.pay","id":"pay","kind":"readonly","with":{"z":1.50,"a":"<&>"}}],"version":1,"saga":"hello","participants":{"psp":null}}`)
	out, err := formatDefinitions("f", src)
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "saga": "hello",
  "version": 1,
  "participants": {
    "psp": null
  },
  "steps": [
    {
      "id": "pay",
      "call": "psp.pay",
      "kind": "readonly",
      "with": {
        "z": 1.50,
        "a": "<&>"
      }
    }
  ]
}
`
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

func TestFormatRefuses(t *testing.T) {
	for _, src := range []string{"a: &x 1\nb: *x\n", "a: !!str 1\n", "a: 1\na: 2\n", "a: [\n", "%YAML 1.2\n---\na: 1\n", "a: 1\n...\n", "--- a\n", "\xff"} {
		if out, err := formatDefinitions("f", []byte(src)); err == nil {
			t.Errorf("%q became %q", src, out)
		}
	}
}

func TestFmt(t *testing.T) {
	file := write(t, "saga.yaml", crooked)
	if code, out, _ := execute(t, "fmt", file); code != exitOK || out != straight {
		t.Errorf("to standard output: %d %q", code, out)
	}
	if code, out, _ := execute(t, "fmt", "-d", file); code != exitFindings || !strings.Contains(out, "\n-saga: hello   # its name\n") || !strings.Contains(out, "@@ -1,") {
		t.Errorf("-d: %d %s", code, out)
	}
	if code, out, talk := execute(t, "fmt", "-w", file); code != exitOK || out != "" || !strings.Contains(talk, "saga.yaml") {
		t.Errorf("-w: %d %q %q", code, out, talk)
	}
	if raw, _ := os.ReadFile(file); string(raw) != straight {
		t.Errorf("-w wrote %q", raw)
	}
	if code, out, talk := execute(t, "fmt", "-d", "-w", file); code != exitOK || out != "" || talk != "" {
		t.Errorf("again: %d %q %q", code, out, talk)
	}
	if code, _, talk := execute(t, "fmt", write(t, "bad.yaml", "a: [")); code != exitFindings || !strings.Contains(talk, "not valid YAML") {
		t.Errorf("not YAML: %d %q", code, talk)
	}
	if code, _, _ := execute(t, "fmt", "nowhere.yaml"); code != exitUsage {
		t.Errorf("no file: %d", code)
	}
}

// TestFieldOrder wants the order of a canonical form's fields to be known: none of them stands
// behind the known ones.
func TestFieldOrder(t *testing.T) {
	order, err := newFieldOrder()
	if err != nil {
		t.Fatal(err)
	}
	src, _ := os.ReadFile(sample)
	d, err := sagas.ParseDefinition(sample, src)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(d.Canonical(), &doc); err != nil {
		t.Fatal(err)
	}
	for key := range doc {
		if order.of(order.root, key) == nil {
			t.Errorf("the schema does not know %s", key)
		}
	}
	var stepList []map[string]json.RawMessage
	if err := json.Unmarshal(doc["steps"], &stepList); err != nil || len(stepList) == 0 {
		t.Fatalf("%d steps, %v", len(stepList), err)
	}
	items := member(order.shape(order.of(order.root, "steps")), "items")
	for key := range stepList[0] {
		if order.of(items, key) == nil {
			t.Errorf("the schema does not know %s of a step", key)
		}
	}
}
