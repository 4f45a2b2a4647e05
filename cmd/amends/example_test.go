package main

import (
	"strings"
	"testing"
)

// All examples are played in internal/local; this is the command around one.
func TestExampleCommand(t *testing.T) {
	code, out, talk := execute(t, "example", "run", "order")
	if code != exitOK {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	for _, want := range []string{"delivered: pending, paid, shipped, delivered", "↶ pack", "3 sagas ended as they should"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code, out, talk = execute(t, "example", "list"); code != exitOK || !strings.Contains(out, "card-payment") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if code, _, talk = execute(t, "example", "run", "nothing"); code != exitNotFound || !strings.Contains(talk, "card-payment") {
		t.Errorf("exit %d: %s", code, talk)
	}
}

// The scripts beside the examples hold.
func TestExampleScripts(t *testing.T) {
	if code, out, talk := execute(t, "test", "../../examples"); code != exitOK || strings.Count(out, "ok  ") < 10 {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
}
