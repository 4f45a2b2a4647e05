package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

func newGetCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:     "get TYPE/ID",
		Short:   "Show one instance",
		Example: "  amends get card-payment/order-1 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWorkflowID(args[0]); err != nil {
				return err
			}
			if err := conn.read(cmd); err != nil {
				return err
			}
			v, err := newAPIClient(conn.Server).instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printAs(cmd, t, v, func(w io.Writer) { printInstance(w, v) })
		},
	}
	outputFlag(cmd, "table, json or yaml")
	conn.serverFlag(cmd)
	return cmd
}

func checkWorkflowID(s string) error {
	if typ, id := sagas.SplitWorkflowID(s); typ == "" || id == "" {
		return usage("%q is not a workflow ID: want TYPE/ID", s)
	}
	return nil
}

func printInstance(w io.Writer, v sagas.View) {
	fmt.Fprintln(w, headline(v))
	for _, l := range stepLines(v) {
		fmt.Fprintln(w, l.text)
	}
	fmt.Fprintln(w, summary(v))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-9s %s\n", name, value)
		}
	}
	row("status", v.Status)
	row("started", timeText(v.StartedAt))
	row("ended", timeText(v.EndedAt))
	row("deadline", timeText(v.Deadline))
	row("due", timeText(v.Due))
	row("rev", fmt.Sprint(v.Rev))
	var owed []string
	for _, o := range v.Obligations {
		owed = append(owed, o.Path)
	}
	row("owes", strings.Join(owed, ", "))
	row("output", string(v.Output))
}

// timeText is RFC 3339 in UTC, empty for none.
func timeText(t sagas.Time) string {
	if t == 0 {
		return ""
	}
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.000Z")
}
