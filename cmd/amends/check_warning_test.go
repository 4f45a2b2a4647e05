package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A warning is shown and refuses nothing.
func TestCheckShowsWarnings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "warn.yaml")
	src := "saga: w\nversion: 1\nparticipants: {p: {ops: [do, undo]}}\nsteps:\n- {id: give, call: p.credit, undo: {call: p.take}}\n- {id: take, call: p.debit, undo: {call: p.give}}\n"
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := execute(t, "check", file)
	if code != exitOK || !strings.Contains(out, "warn.yaml:5:8 SG26 warning steps/give:") || !strings.Contains(out, "w@1 ok") {
		t.Errorf("exit %d\n%s", code, out)
	}
}
