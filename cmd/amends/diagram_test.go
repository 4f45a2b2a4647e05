package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
