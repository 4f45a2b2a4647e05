package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// edit changes a text; every replacement must find its place.
func edit(t *testing.T, s string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%q is not in the text", pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

func compareTexts(t *testing.T, a, b string) *difference {
	t.Helper()
	var defs []*sagas.Definition
	for _, src := range []string{a, b} {
		d, err := sagas.ParseDefinition("f", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, d)
	}
	d, err := compareDefinitions(defs[0], defs[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const shop = `saga: shop
version: 1
deadline: 30m
participants:
  psp: {ops: [do, undo, inquire], keyWindow: 1d}
  stock:
  mail: {ops: [do]}
steps:
  - id: auth
    call: psp.authorise
    with: {amount: '=input.amount'}
    keep: [authId]
    undo: {call: psp.void}
  - id: reserve
    call: stock.reserve
    undo: {call: stock.release}
  - {id: look, call: stock.look, kind: readonly}
  - {id: capture, call: psp.capture, kind: pivot}
  - {id: receipt, call: mail.send, kind: optional}
`

func TestDifferences(t *testing.T) {
	v2 := edit(t, shop, "version: 1", "version: 2")
	for name, c := range map[string]struct {
		to     string
		want   []string // texts, "!" in front of dangerous ones
		unwant string
	}{
		"nothing but the version": {v2, nil, ""},
		"a limit":                 {edit(t, v2, "    keep: [authId]", "    keep: [authId]\n    attempt: 15s"), []string{"auth: attempt is 15s, was 10s", "auth: undo.attempt is 15s", "auth: inquire.attempt is 15s"}, ""},
		"a new step":              {edit(t, v2, "  - {id: look,", "  - {id: score, call: stock.score, kind: readonly}\n  - {id: look,"), []string{"step score is new: readonly stock.score, after reserve"}, "moved"},
		"a step less":             {edit(t, v2, "  - {id: look, call: stock.look, kind: readonly}\n", ""), []string{"step look is gone: readonly stock.look"}, "moved"},
		"order": {edit(t, v2, "  - {id: look, call: stock.look, kind: readonly}\n", "", "steps:\n", "steps:\n  - {id: look, call: stock.look, kind: readonly}\n"),
			[]string{"step look moved: the first step, was after reserve"}, "auth"},
		"the pivot": {edit(t, v2, "  - {id: look, call: stock.look, kind: readonly}\n  - {id: capture, call: psp.capture, kind: pivot}\n",
			"  - {id: capture, call: psp.capture, kind: pivot}\n  - {id: look, call: stock.look, kind: readonly}\n"), []string{" moved: ", "!step look comes after the pivot capture now"}, ""},
		"another pivot":    {edit(t, v2, "psp.capture, kind: pivot", "psp.capture, kind: readonly", "mail.send, kind: optional", "mail.send, kind: pivot"), []string{"!capture: kind is readonly, was pivot", "!receipt: kind is pivot, was optional", "receipt: onUnknown is attention"}, ""},
		"no undo":          {edit(t, v2, "undo: {call: stock.release}", "undo: none\n    why: it lapses"), []string{"!reserve: undo is none, was", "reserve: why is new: 'it lapses'"}, ""},
		"another undo":     {edit(t, v2, "call: stock.release", "call: stock.free"), []string{"reserve: undo.call is stock.free, was stock.release"}, ""},
		"key window":       {edit(t, v2, "keyWindow: 1d", "keyWindow: 2d"), []string{"!participants/psp: keyWindow is 2d, was 1d"}, ""},
		"shorter window":   {edit(t, v2, "keyWindow: 1d", "keyWindow: 12h"), []string{"participants/psp: keyWindow is 12h, was 1d"}, "!"},
		"no end of window": {edit(t, v2, ", keyWindow: 1d", ""), []string{"!participants/psp: keyWindow is none, was 1d"}, ""},
		"expression":       {edit(t, v2, "'=input.amount'", "'=input.total'"), []string{"auth: with.amount is '=input.total', was '=input.amount'"}, ""},
		"id":               {edit(t, v2, "deadline: 30m", "deadline: 30m\nid: '=input.no'"), []string{"!the saga: id is new: '=input.no'"}, ""},
		"input":            {edit(t, v2, "deadline: 30m", "deadline: 30m\ninput: {required: [amount]}"), []string{"the saga: input is new"}, ""},
		"same version":     {edit(t, shop, "30m", "40m"), []string{"!shop@1 has another content under the same version", "the saga: deadline is 40m, was 30m"}, ""},
		"marker":           {edit(t, v2, "deadline: 30m", "deadline: 30m\nretention: {marker: 8d}"), []string{"!the saga: retention.marker is 8d, was 30d"}, ""},
	} {
		d := compareTexts(t, shop, c.to)
		var got []string
		for _, ch := range d.Changes {
			mark := ""
			if ch.Danger != "" {
				mark = "!"
			}
			got = append(got, mark+ch.Text)
		}
		all := strings.Join(got, "\n")
		if len(c.want) != len(got) && c.want != nil || c.want == nil && len(got) > 0 {
			t.Errorf("%s: got\n%s", name, all)
		}
		for _, w := range c.want {
			if !strings.Contains(all, w) {
				t.Errorf("%s: %q is not in\n%s", name, w, all)
			}
		}
		if c.unwant != "" && strings.Contains(all, c.unwant) {
			t.Errorf("%s: %q is in\n%s", name, c.unwant, all)
		}
	}
	if d := compareTexts(t, shop, shop+"# a comment\n"); !d.Same || len(d.Changes) > 0 {
		t.Errorf("the same: %+v", d)
	}
}

func TestDiffCommand(t *testing.T) {
	a, b := write(t, "a.yaml", shop), write(t, "b.yaml", edit(t, shop, "version: 1", "version: 2", "undo: {call: stock.release}", "undo: none\n    why: it lapses"))
	code, out, talk := execute(t, "diff", a, b)
	if code != exitFindings || talk != "" || !strings.Contains(out, "shop@1 → shop@2\n") || !strings.Contains(out, "! reserve: undo is none") || !strings.Contains(out, "Running instances stay on shop@1") {
		t.Errorf("%d %q\n%s", code, talk, out)
	}
	if code, out, _ := execute(t, "diff", a, a); code != exitOK || !strings.Contains(out, "no difference") {
		t.Errorf("the same: %d %q", code, out)
	}
	code, out, _ = execute(t, "diff", a, b, "-o", "json")
	var d difference
	if err := json.Unmarshal([]byte(out), &d); code != exitFindings || err != nil || d.Same || d.Dangerous != 1 || len(d.Changes) != 2 || d.Old.Ref != "shop@1" {
		t.Errorf("json: %d %v %+v", code, err, d)
	}
	if code, _, _ := execute(t, "diff", a); code != exitUsage {
		t.Errorf("one file: %d", code)
	}
	if code, _, _ := execute(t, "diff", a, write(t, "bad.yaml", "saga: x\n")); code != exitFindings {
		t.Errorf("a bad file: %d", code)
	}
	raw, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	if d := compareTexts(t, shop, string(raw)); len(d.Changes) == 0 || !strings.Contains(d.Changes[0].Text, "another saga") {
		t.Errorf("another saga: %+v", d.Changes)
	}
}

// TestDiffLive compares a file with what a namespace has active.
func TestDiffLive(t *testing.T) {
	emptyHome(t)
	active, err := sagas.ParseDefinition("f", []byte(goodDefinition))
	if err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/definitions/" + active.Saga
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case path + "/0":
			_, _ = w.Write(mustJSON(t, orchestrator.DefinitionSource{DefinitionInfo: orchestrator.DefinitionInfo{Type: active.Saga, Version: active.Version, Active: true}, Source: active.Canonical()}))
		case path + "/stands":
			_, _ = fmt.Fprintf(w, `{"stands":[{"version":%d,"step":"pay","n":4},{"version":%d,"step":"","n":1}]}`, active.Version, active.Version)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"SG202","detail":"no such definition"}`))
		}
	}))
	defer server.Close()
	next := write(t, "next.yaml", edit(t, goodDefinition, "version: 1", "version: 2"))
	code, out, talk := execute(t, "def", "diff", "--live", next, "--server", server.URL)
	for _, says := range []string{active.Saga + "@1 → " + active.Saga + "@2", active.Saga + "@1  4 at pay", active.Saga + "@1  1 between steps"} {
		if code != exitOK || !strings.Contains(out, says) {
			t.Errorf("exit %d, nothing of %q in:\n%s%s", code, says, out, talk)
		}
	}
	if code, out, _ := execute(t, "diff", "--live", next, "--server", server.URL, "-o", "json"); code != exitOK || !strings.Contains(out, `"step": "pay"`) {
		t.Errorf("json: %d %s", code, out)
	}
	other := write(t, "other.yaml", edit(t, goodDefinition, "saga: "+active.Saga, "saga: nobody-has-this"))
	if code, _, talk := execute(t, "diff", "--live", other, "--server", server.URL); code != exitNotFound {
		t.Errorf("no such saga: %d %s", code, talk)
	}
	if code, _, _ := execute(t, "diff", next); code != exitUsage {
		t.Errorf("one file without --live: %d", code)
	}
}
