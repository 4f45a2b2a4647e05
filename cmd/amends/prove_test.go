package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProve(t *testing.T) {
	file := write(t, "good.yaml", goodDefinition)
	code, out, talk := execute(t, "prove", file, "--duplicates", "0")
	if code != exitOK || !strings.Contains(out, "hello@1 proved within the bounds") || !strings.Contains(out, "at most 2 attempts") || talk != "" {
		t.Errorf("proved: exit %d\n%s%s", code, out, talk)
	}
	code, out, _ = execute(t, "prove", file, "--states", "50", "-o", "json")
	var p proof
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != exitCut || p.Verdict != "cut" || p.Cut != "states" || p.Limit != 50 {
		t.Errorf("cut: exit %d, %v\n%s", code, err, out)
	}
	script := filepath.Join(filepath.Dir(file), "lost.saga-test")
	code, out, _ = execute(t, "prove", file, "--participant", "no-tombstone", "--script", script)
	if code != exitCounterexample || !strings.Contains(out, "pay took effect once and was reversed never") || !strings.Contains(out, "psp takes do pay#1") {
		t.Errorf("counterexample: exit %d\n%s", code, out)
	}
	if text, err := os.ReadFile(script); err != nil || !strings.Contains(string(text), "define file=good.yaml") || !strings.Contains(string(text), "phase: compensating -> compensated") {
		t.Errorf("script: %v\n%s", err, text)
	}
}

func TestProveUsage(t *testing.T) {
	file := write(t, "two.yaml", goodDefinition+"---\n"+strings.Replace(goodDefinition, "hello", "again", 1))
	for _, args := range [][]string{
		{"prove"}, {"prove", "nowhere.yaml"}, {"prove", file}, {"prove", file, "--saga", "other"}, {"prove", file, "--saga", "again", "--participant", "rude"},
		{"prove", file, "--saga", "again", "--states", "0"}, {"prove", file, "--saga", "again", "-o", "yaml"}, {"prove", file, "--saga", "again", "--input", file},
	} {
		if code, _, talk := execute(t, args...); code != exitUsage || talk == "" {
			t.Errorf("%v: exit %d, %q", args, code, talk)
		}
	}
	if code, out, _ := execute(t, "prove", file, "--saga", "again@1", "--duplicates", "0", "--cancels", "0", "--attempts", "1"); code != exitOK || !strings.Contains(out, "again@1") {
		t.Errorf("--saga: exit %d\n%s", code, out)
	}
}
