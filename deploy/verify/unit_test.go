package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUnit has systemd read the unit. The program need not be installed where the test runs.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	text, err := os.ReadFile("../systemd/amends.service")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAll(text, []byte("ExecStart=/bin/true"))
	verify := func(text []byte) (string, error) {
		unit := filepath.Join(t.TempDir(), "amends.service")
		if err := os.WriteFile(unit, text, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(text); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
	// It must be able to fail.
	if out, _ := verify(append(text, "\n[Service]\nTimeoutStopSec=soon\n"...)); out == "" {
		t.Error("systemd-analyze says nothing of a broken unit")
	}
}
