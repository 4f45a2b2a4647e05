package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
)

const sample = "../../examples/card-payment/saga.yaml"

func TestDiagram(t *testing.T) {
	for format, want := range map[string]string{"text": "point of no return", "svg": "<svg ", "mermaid": "flowchart", "dot": "digraph"} {
		if code, out, talk := execute(t, "diagram", sample, "-o", format); code != exitOK || !strings.Contains(out, want) || talk != "" {
			t.Errorf("%s: %d %q %q", format, code, out, talk)
		}
	}
	if code, out, _ := execute(t, "diagram", sample); code != exitOK || !strings.HasPrefix(out, "card-payment@1") {
		t.Errorf("default: %d %q", code, out)
	}
	file := filepath.Join(t.TempDir(), "card.svg")
	if code, out, _ := execute(t, "diagram", sample, "--out", file, "--theme", "dark"); code != exitOK || out != "" {
		t.Errorf("to a file: %d %q", code, out)
	}
	if raw, err := os.ReadFile(file); err != nil || !strings.Contains(string(raw), `data-theme="dark"`) {
		t.Errorf("the file: %v", err)
	}

	two := write(t, "two.yaml", goodDefinition+"---\n"+strings.Replace(goodDefinition, "saga: hello", "saga: bye", 1))
	if code, _, talk := execute(t, "diagram", two); code != exitUsage || !strings.Contains(talk, "hello@1, bye@1") {
		t.Errorf("two in a file: %d %q", code, talk)
	}
	for _, name := range []string{"bye", "bye@1"} {
		if code, out, _ := execute(t, "diagram", two, "--saga", name); code != exitOK || !strings.HasPrefix(out, "bye@1") {
			t.Errorf("%s: %d %q", name, code, out)
		}
	}
	if code, _, _ := execute(t, "diagram", two, "--saga", "none"); code != exitNotFound {
		t.Errorf("no such saga: %d", code)
	}
	if code, _, _ := execute(t, "diagram", sample, "-o", "png"); code != exitUsage {
		t.Errorf("no such format: %d", code)
	}
	if code, _, _ := execute(t, "diagram", write(t, "bad.yaml", "saga: x\n")); code != exitFindings {
		t.Errorf("a bad definition: %d", code)
	}
}

func TestDiagramOfInstance(t *testing.T) {
	src, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	def, err := sagas.ParseDefinition(sample, src)
	if err != nil {
		t.Fatal(err)
	}
	view := sagas.View{WorkflowID: "card-payment/o", Type: "card-payment", Version: 1, Digest: def.Digest().String(), Steps: []sagas.StepView{
		{Path: "auth", State: "DONE", Undo: "UNDONE"}, {Path: "reserve", State: "REFUSED"}, {Path: "capture", State: "ABANDONED"},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(mustJSON(t, view)) }))
	defer server.Close()
	ask := []string{"diagram", sample, "--instance", "card-payment/o", "--server", server.URL}
	if code, out, talk := execute(t, ask...); code != exitOK || !strings.Contains(out, "↶ auth") || !strings.Contains(out, "✗ reserve") {
		t.Errorf("text: %d %q\n%s", code, talk, out)
	}
	if code, out, _ := execute(t, append(ask, "-o", "svg")...); code != exitOK || !strings.Contains(out, "is-refused") {
		t.Errorf("svg: %d", code)
	}
	view.Digest = strings.Repeat("0", 64)
	if code, _, talk := execute(t, ask...); code != exitConflict || !strings.Contains(talk, "digest 000000000000") {
		t.Errorf("another definition: %d %q", code, talk)
	}
	if code, _, _ := execute(t, "diagram", sample, "--instance", "nothing"); code != exitUsage {
		t.Errorf("no workflow ID: %d", code)
	}
}
