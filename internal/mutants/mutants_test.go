package mutants

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// sagasDir is the package that is mutated.
const sagasDir = "../../sagas"

// enough mutants to say something about the suite.
const enough = 60

// patience is how long the suite may take for one mutant. One that hangs counts as noticed.
const patience = 3 * time.Minute

type mutant struct {
	name, file, old, new string
	line                 int // in mutants.txt
}

// read parses mutants.txt: blocks of
//
//	== name
//	file.go
//	- a line of the source, as often as needed
//	+ what replaces them
//
// Text before the first block is a comment.
func read(t *testing.T) []mutant {
	t.Helper()
	src, err := os.ReadFile("mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant
	seen := map[string]bool{}
	for i, l := range strings.Split(string(src), "\n") {
		var m *mutant
		if len(all) > 0 {
			m = &all[len(all)-1]
		}
		switch {
		case strings.HasPrefix(l, "== "):
			name := strings.TrimSpace(l[3:])
			if seen[name] {
				t.Fatalf("mutants.txt:%d: %s occurs twice", i+1, name)
			}
			seen[name] = true
			all = append(all, mutant{name: name, line: i + 1})
		case m == nil || strings.TrimSpace(l) == "":
		case strings.HasPrefix(l, "-"):
			m.old += l[1:] + "\n"
		case strings.HasPrefix(l, "+"):
			m.new += l[1:] + "\n"
		case m.file == "":
			m.file = strings.TrimSpace(l)
		default:
			t.Fatalf("mutants.txt:%d: %q is neither - nor +", i+1, l)
		}
	}
	return all
}

// planted gives the source of the file with the mistake in it.
func (m *mutant) planted(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(sagasDir, m.file))
	if err != nil {
		t.Fatalf("mutants.txt:%d: %v", m.line, err)
	}
	// Without the indentation, so that moving a line into a block does not matter.
	lines, old := strings.Split(string(src), "\n"), strings.Split(strings.TrimSuffix(m.old, "\n"), "\n")
	at := -1
	for i := 0; i+len(old) <= len(lines); i++ {
		same := true
		for k := range old {
			same = same && strings.TrimSpace(lines[i+k]) == strings.TrimSpace(old[k])
		}
		if same {
			if at >= 0 {
				t.Fatalf("mutants.txt:%d: %s: the lines occur twice in %s", m.line, m.name, m.file)
			}
			at = i
		}
	}
	if at < 0 {
		t.Fatalf("mutants.txt:%d: %s: the lines no longer occur in %s", m.line, m.name, m.file)
	}
	out := append(append(lines[:at:at], m.new), lines[at+len(old):]...)
	return []byte(strings.Join(out, "\n"))
}

// overlay writes the mutated file and the go command's overlay for it.
func (m *mutant) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "planted.go")
	if err := os.WriteFile(file, m.planted(t), 0o600); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Abs(filepath.Join(sagasDir, m.file))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(map[string]map[string]string{"Replace": {real: file}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMutantsFit says which mutants no longer fit the source.
func TestMutantsFit(t *testing.T) {
	all := read(t)
	if len(all) < enough {
		t.Errorf("%d mutants, want %d", len(all), enough)
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			if string(m.planted(t)) == "" {
				t.Error("nothing is left")
			}
		})
	}
}

// TestMutantsAreKilled runs the suite of the machine against every mutant.
func TestMutantsAreKilled(t *testing.T) {
	if os.Getenv("AMENDS_MUTANTS") == "" {
		t.Skip("takes minutes: make mutants (a part of make nightly) sets AMENDS_MUTANTS=1")
	}
	slots := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)))
	for _, m := range read(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			overlay := m.overlay(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, suite := range [][]string{
				{"../../sagas/sagatest", "-run", "Script"},
				{"../../sagas", "-short"},
				{"../../sagas/sagatest", "-rapid.checks=200", "-rapid.shrinktime=1s"},
			} {
				args := append([]string{"test", "-tags", "synctests", "-vet=off", "-failfast", "-count=1", "-overlay", overlay}, suite...)
				out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
				var failed *exec.ExitError
				switch {
				case errors.As(err, &failed):
					if !strings.Contains(string(out), "FAIL") || strings.Contains(string(out), "[build failed]") {
						t.Fatalf("the suite did not run: %s", out)
					}
					return // noticed
				case err != nil:
					t.Fatal(err)
				}
			}
			t.Errorf("nothing noticed it: %s in %s", m.name, m.file)
		})
	}
}
