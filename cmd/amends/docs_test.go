package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s is not what the commands say (from byte %d: %.200q); make golden writes it (%v)", path, at, got[at:], err)
	}
}

func newTestRoot() *cobra.Command {
	var b bytes.Buffer
	return newRoot(&terminal{out: &b, err: &b})
}

// TestReference: help, man pages and docs/cli.md come from one source.
func TestReference(t *testing.T) {
	golden(t, "../../docs/cli.md", cliReference(newTestRoot()))
	_, help, _ := execute(t, "--help")
	golden(t, "testdata/help.txt", help)
	_, help, _ = execute(t, "start", "--help")
	golden(t, "testdata/help-start.txt", help)

	dir := t.TempDir()
	if code, _, talk := execute(t, "docs", "--man", dir); code != exitOK {
		t.Fatal(talk)
	}
	visit(newTestRoot(), func(c *cobra.Command) {
		for up := c; up != nil; up = up.Parent() {
			if up.Hidden || up.Name() == "help" {
				return
			}
		}
		src, err := os.ReadFile(filepath.Join(dir, manName(c)))
		if err != nil {
			t.Errorf("%s has no man page: %v", c.CommandPath(), err)
		} else if strings.Contains(string(src), "Auto generated") {
			t.Errorf("%s: the page has a date", c.CommandPath())
		}
	})
	src, err := os.ReadFile(filepath.Join(dir, "amends-instance-retry.1"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/amends-instance-retry.1", string(src))
}

func visit(c *cobra.Command, see func(*cobra.Command)) {
	see(c)
	for _, sub := range c.Commands() {
		visit(sub, see)
	}
}

// TestCommands: what every command owes its users.
func TestCommands(t *testing.T) {
	changes := map[string]bool{"cancel": true, "decide": true}
	for _, op := range operations {
		changes[op.verb] = true
	}
	visit(newTestRoot(), func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "amends" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no short help", c.CommandPath(), c.Short)
		}
		if c.Parent().Name() == "instance" && changes[c.Name()] {
			for _, f := range []string{"reason", "dry-run", "operator"} {
				if c.Flags().Lookup(f) == nil {
					t.Errorf("%s changes something and has no --%s", c.CommandPath(), f)
				}
			}
		}
	})
}

func TestDocs(t *testing.T) {
	if code, out, _ := execute(t, "docs", "sg10"); code != exitOK || !strings.Contains(out, "undo: {call") {
		t.Errorf("code: %d %q", code, out)
	}
	if code, out, _ := execute(t, "docs"); code != exitOK || !strings.Contains(out, "guide") {
		t.Errorf("list: %d %q", code, out)
	}
	if code, out, _ := execute(t, "docs", "cli"); code != exitOK || !strings.HasPrefix(out, "# Command line") {
		t.Errorf("page: %d %q", code, out)
	}
	if code, _, talk := execute(t, "docs", "giude"); code != exitNotFound || !strings.Contains(talk, `"guide"`) {
		t.Errorf("typo: %d %q", code, talk)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := execute(t, "completion", shell); code != exitOK || len(out) < 1000 {
			t.Errorf("completion %s: %d, %d bytes", shell, code, len(out))
		}
	}
	if _, out, _ := execute(t, "__complete", "example", "run", ""); !strings.Contains(out, "trip-booking") {
		t.Errorf("completion of examples: %q", out)
	}
}
