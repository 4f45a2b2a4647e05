package sagatest

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Run runs every script that matches the glob pattern, each as a subtest named after its file. With
// the test flag -rewrite it writes the answers into the scripts instead of checking them.
func Run(t *testing.T, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	if len(paths) == 0 {
		t.Fatalf("%s: no script matches", pattern)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { RunScript(t, path) })
	}
}

// RunScript runs one script.
func RunScript(t *testing.T, path string) {
	t.Helper()
	s := NewScript(filepath.Dir(path))
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		args := make([]Arg, len(d.CmdArgs))
		for i, a := range d.CmdArgs {
			args[i] = Arg{Name: a.Key, Values: a.Vals}
		}
		out, err := s.Exec(d.Cmd, args, d.Input)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return out
	})
}
