package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// Formats of -o. Every command that shows something knows all of them.
var formats = []string{"table", "wide", "json", "yaml", "jsonl", "name"}

func outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "table, wide, json, yaml, jsonl (a line per item) or name")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// formatOfOutput is what -o asks for.
func formatOfOutput(cmd *cobra.Command) (string, error) {
	format, _ := cmd.Flags().GetString("output")
	if !slices.Contains(formats, format) {
		return "", usage("-o %s is not a known format: %s", format, strings.Join(formats, ", "))
	}
	return format, nil
}

// printAs writes one thing in the format that the command was asked for. text writes it for people; name
// is what -o name prints.
func printAs(cmd *cobra.Command, t *terminal, v any, name string, text func(io.Writer)) error {
	format, err := formatOfOutput(cmd)
	switch {
	case err != nil:
		return err
	case format == "table", format == "wide":
		text(t.out)
		return nil
	case format == "name":
		fmt.Fprintln(t.out, name)
		return nil
	}
	return encode(t.out, format, v)
}

// column is one column of a table. A wide one is only in -o wide.
type column[T any] struct {
	head string
	wide bool
	text func(T) string
}

// printList writes rows in the format that the command was asked for.
func printList[T any](cmd *cobra.Command, t *terminal, rows []T, name func(T) string, columns []column[T]) error {
	format, err := formatOfOutput(cmd)
	if err != nil {
		return err
	}
	switch format {
	case "table", "wide":
		printTable(t.out, rows, columns, format == "wide")
		return nil
	case "name":
		for _, r := range rows {
			fmt.Fprintln(t.out, name(r))
		}
		return nil
	case "jsonl":
		for _, r := range rows {
			if err := encode(t.out, format, r); err != nil {
				return err
			}
		}
		return nil
	}
	if rows == nil {
		rows = []T{} // an empty list, not null
	}
	return encode(t.out, format, rows)
}

func printTable[T any](w io.Writer, rows []T, columns []column[T], wide bool) {
	var aligned bytes.Buffer
	tw := tabwriter.NewWriter(&aligned, 0, 4, 2, ' ', 0)
	line := func(cell func(column[T]) string) {
		var cells []string
		for _, c := range columns {
			if !c.wide || wide {
				cells = append(cells, cell(c))
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	line(func(c column[T]) string { return c.head })
	for _, r := range rows {
		line(func(c column[T]) string { return c.text(r) })
	}
	_ = tw.Flush() // a buffer takes everything
	for l := range strings.Lines(aligned.String()) {
		fmt.Fprintln(w, strings.TrimRight(l, " \n"))
	}
}

func encode(w io.Writer, format string, v any) error {
	e := json.NewEncoder(w)
	switch format {
	case "jsonl":
		return e.Encode(v)
	case "json":
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	// YAML goes through JSON, so that both have the same names.
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return err
	}
	out, err := yaml.Marshal(tree)
	if err == nil {
		_, err = w.Write(out)
	}
	return err
}
