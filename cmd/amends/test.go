package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// scriptSuffix is how the files that amends test runs end.
const scriptSuffix = ".saga-test"

func newTestCommand(t *terminal) *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test [DIR|FILE]...",
		Short: "Run the scripts beside definitions, in virtual time on the real machine",
		Long: `test runs every *` + scriptSuffix + ` file of the directories, and those below them. A script says what
happens to a saga (starts, answers, signals, time, faults) and what the machine must answer. Days
pass in milliseconds, and nothing needs a broker. docs/testing.md explains the format.

With --rewrite the answers are written into the scripts. Read what was written before you keep it.

Exit codes: 0 every script is ok, 2 usage, 5 a script failed.`,
		Example: "  amends test .\n  amends test refund/refused" + scriptSuffix + " --rewrite",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			return f.run(t, args)
		},
	}
	cmd.Flags().BoolVar(&f.rewrite, "rewrite", false, "write the machine's answers into the scripts")
	cmd.Flags().BoolVar(&f.coverage, "coverage", true, "print which nodes and branches the scripts reached")
	return cmd
}

type testFlags struct{ rewrite, coverage bool }

func (f *testFlags) run(t *terminal, args []string) error {
	files, err := scripts(args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usage("no script *%s in %s", scriptSuffix, strings.Join(args, ", "))
	}
	var reached sagatest.Coverage
	failed := 0
	for _, file := range files {
		s := sagatest.NewScript(filepath.Dir(file))
		ok, err := f.one(t, s, file)
		if err != nil {
			return err
		}
		if !ok {
			failed++
		}
		reached.Merge(s.Coverage())
	}
	if f.coverage {
		printCoverage(t, &reached)
	}
	if failed > 0 {
		fmt.Fprintf(t.err, "amends: %d of %s failed\n", failed, plural(len(files), "script"))
		return &codedError{code: exitFindings}
	}
	return nil
}

// scripts finds the scripts of files and directories.
func scripts(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, usage("%v", err)
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, scriptSuffix) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// one runs a script and prints its line.
func (f *testFlags) one(t *terminal, s *sagatest.Script, file string) (ok bool, err error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	name := strings.TrimSuffix(file, scriptSuffix)
	blocks, out, err := s.Play(src)
	if err != nil {
		fmt.Fprintf(t.out, "FAIL  %s\n      %v\n", name, err)
		return false, nil
	}
	var wrong []sagatest.Block
	for _, b := range blocks {
		if b.Err != nil || !f.rewrite && !b.OK() {
			wrong = append(wrong, b)
		}
	}
	if len(wrong) > 0 {
		fmt.Fprintf(t.out, "FAIL  %s\n", name)
		for _, b := range wrong {
			fmt.Fprintf(t.out, "      %s:%d: %s\n", file, b.Line, b.Verb)
			if b.Err != nil {
				fmt.Fprintf(t.out, "        %v\n", b.Err)
				continue
			}
			for _, line := range lineDiff(b.Want, b.Got) {
				fmt.Fprintf(t.out, "        %s\n", line)
			}
		}
		return false, nil
	}
	what := "ok"
	if f.rewrite && string(out) != string(src) {
		if err := os.WriteFile(file, out, 0o600); err != nil {
			return false, err
		}
		what = "wrote"
	}
	w := s.World()
	fmt.Fprintf(t.out, "%-5s %s  %s, virtual %s\n", what, name, plural(len(w.Sent()), "command"), time.Duration(w.Now()-sagatest.Epoch)*time.Millisecond)
	return true, nil
}

// lineDiff tells two texts apart, line by line: "-" is wanted and missing, "+" is there and not wanted.
func lineDiff(want, got string) []string {
	a, b := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	a, b = a[:len(a)-1], b[:len(b)-1] // each ends with a newline, or is empty
	common := make([][]int, len(a)+1) // common[i][j]: longest common part of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+strings.TrimSuffix(a[i], "\n"))
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+strings.TrimSuffix(a[i], "\n"))
			i++
		default:
			out = append(out, "+ "+strings.TrimSuffix(b[j], "\n"))
			j++
		}
	}
	return out
}

// printCoverage prints what the nodes of each definition were made to do.
func printCoverage(t *terminal, c *sagatest.Coverage) {
	for _, ref := range c.Definitions() {
		fmt.Fprintf(t.out, "\n%s\n", ref)
		w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  NODE\tRAN\tFAILED\tUNDONE\tBRANCHES")
		for _, n := range c.Nodes(ref) {
			undone := yes(n.Undone)
			if !n.Undoes {
				undone = "-"
			}
			failed := yes(n.Refused)
			if n.Node != sagas.NodeCall && n.Node.Block() && n.Node != sagas.NodeEach && n.Node != sagas.NodeRace {
				failed = "-"
			}
			var lanes []string
			for _, l := range n.Lanes {
				lanes = append(lanes, l.Name+" "+yes(l.Taken))
			}
			fmt.Fprintf(w, "  %s%s\t%s\t%s\t%s\t%s\n", strings.Repeat("  ", n.Depth), n.ID, yes(n.Ran), failed, undone, strings.Join(lanes, ", "))
		}
		_ = w.Flush()
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
