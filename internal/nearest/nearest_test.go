package nearest

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestName(t *testing.T) {
	known := []string{"keyWindow", "retry", "attempt", "a"}
	for s, want := range map[string]string{
		"retires": "retry", "retyr": "retry", "KEYWINDOW": "keyWindow", "keywnidow": "keyWindow", "attempts": "attempt",
		"etry": "retry", "tretry": "retry", "": "", "something": "", strings.Repeat("a", MaxBytes+1): "",
	} {
		if got := Name(s, known); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// TestDistance: it is a distance of at most the longer name, zero only between equals, and the same both ways.
func TestDistance(t *testing.T) {
	word := rapid.StringMatching(`[a-c]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if d != distance(b, a) || (d == 0) != (a == b) || d > max(len(a), len(b)) {
			t.Fatalf("%q and %q: %d", a, b, d)
		}
	})
}
