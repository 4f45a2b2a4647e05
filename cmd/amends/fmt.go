package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newFmtCommand(t *terminal) *cobra.Command {
	var write, diff bool
	cmd := &cobra.Command{
		Use:   "fmt FILE...",
		Short: "Give definitions their canonical layout",
		Long: `Give definitions their canonical layout: one order of fields, block style, two blanks per level,
expressions in single quotes. Comments and blank lines stay. The meaning, and so the digest, never
changes. JSON stays JSON.

Without -w and -d the result goes to standard output. With -d the exit code is 5 when a file would
change, which is what a build wants to know.`,
		Example: `  amends fmt -w card-payment.yaml
  amends fmt -d definitions/*.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			differ := 0
			for _, path := range args {
				src, err := readFile(path)
				if err != nil {
					return withCode(exitUsage, "%w", err)
				}
				out, err := formatDefinitions(path, src)
				if err != nil {
					return withCode(exitFindings, "%s: %w", path, err)
				}
				changed := !bytes.Equal(src, out)
				if changed {
					differ++
				}
				if diff {
					fmt.Fprint(t.out, unifiedDiff(path, path+" (formatted)", string(src), string(out)))
				}
				switch {
				case write && path != "-":
					if changed {
						if err := rewrite(path, out); err != nil {
							return err
						}
						fmt.Fprintln(t.err, path)
					}
				case !diff:
					if _, err := t.out.Write(out); err != nil {
						return err
					}
				}
			}
			if diff && !write && differ > 0 {
				return &codedError{code: exitFindings}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result back to the files")
	cmd.Flags().BoolVarP(&diff, "diff", "d", false, "show what would change")
	return cmd
}

// rewrite replaces the content of a file, which keeps its mode.
func rewrite(path string, content []byte) error {
	mode := os.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	return os.WriteFile(path, content, mode)
}

const diffContext = 3

// unifiedDiff shows how b differs from a, "" when it does not.
func unifiedDiff(nameA, nameB, a, b string) string {
	if a == b {
		return ""
	}
	x, y := splitLines(a), splitLines(b)
	type edit struct {
		op   byte
		line string
	}
	// The longest common subsequence, behind what is equal at both ends. Definitions are short.
	start := 0
	for start < len(x) && start < len(y) && x[start] == y[start] {
		start++
	}
	endX, endY := len(x), len(y)
	for endX > start && endY > start && x[endX-1] == y[endY-1] {
		endX, endY = endX-1, endY-1
	}
	n, m := endX-start, endY-start
	length := make([]int32, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if x[start+i] == y[start+j] {
				length[i*(m+1)+j] = length[(i+1)*(m+1)+j+1] + 1
			} else {
				length[i*(m+1)+j] = max(length[(i+1)*(m+1)+j], length[i*(m+1)+j+1])
			}
		}
	}
	var edits []edit
	for _, l := range x[:start] {
		edits = append(edits, edit{' ', l})
	}
	for i, j := 0, 0; i < n || j < m; {
		switch {
		case i < n && j < m && x[start+i] == y[start+j]:
			edits = append(edits, edit{' ', x[start+i]})
			i, j = i+1, j+1
		case j >= m || i < n && length[(i+1)*(m+1)+j] >= length[i*(m+1)+j+1]:
			edits = append(edits, edit{'-', x[start+i]})
			i++
		default:
			edits = append(edits, edit{'+', y[start+j]})
			j++
		}
	}
	for _, l := range x[endX:] {
		edits = append(edits, edit{' ', l})
	}

	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	lineX, lineY := 1, 1
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			i, lineX, lineY = i+1, lineX+1, lineY+1
			continue
		}
		from := max(i-diffContext, 0)
		to, same := i, 0
		for to < len(edits) && same <= 2*diffContext {
			if edits[to].op == ' ' {
				same++
			} else {
				same = 0
			}
			to++
		}
		to -= max(same-diffContext, 0)
		lead := i - from
		oldN, newN := 0, 0
		for _, e := range edits[from:to] {
			if e.op != '+' {
				oldN++
			}
			if e.op != '-' {
				newN++
			}
		}
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", lineX-lead, oldN, lineY-lead, newN)
		for _, e := range edits[from:to] {
			out.WriteByte(e.op)
			out.WriteString(e.line)
			out.WriteByte('\n')
		}
		lineX, lineY = lineX-lead+oldN, lineY-lead+newN
		i = to
	}
	return out.String()
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}
