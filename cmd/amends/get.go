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
	cmd := onInstance(&cobra.Command{
		Use:     "get TYPE/ID",
		Short:   "Show one instance: its steps, what it owes, what it waits for",
		Example: "  amends show card-payment/order-1\n  amends show card-payment/order-1 -o json\n  amends show card-payment/order-1 --watch",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		if watching, _ := cmd.Flags().GetBool("watch"); watching {
			return newWatcher(cmd, t, conn, id).run(cmd.Context())
		}
		v, err := conn.api().instance(cmd.Context(), id)
		if err != nil {
			return err
		}
		return printAs(cmd, t, v, v.WorkflowID, func(w io.Writer) { printInstance(w, v) })
	})
	outputFlag(cmd)
	watchFlags(cmd, false)
	serverFlags(cmd)
	return cmd
}

// onInstance makes a command about one instance, its first argument: it checks the ID and reads the
// connection before run.
func onInstance(cmd *cobra.Command, run func(cmd *cobra.Command, conn *connection, id string, rest []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkWorkflowID(args[0]); err != nil {
			return err
		}
		var conn connection
		if err := conn.read(cmd); err != nil {
			return err
		}
		return run(cmd, &conn, args[0], args[1:])
	}
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
	for _, l := range stepLines(v, nil) {
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
	row("owes", strings.Join(owedPaths(v), ", "))
	for _, x := range v.Waiting {
		row("waiting", strings.TrimSpace(fmt.Sprintf("%s for %s: %s", x.Path, x.Topic, x.Reason)))
	}
	row("output", string(v.Output))
}

// timeText is RFC 3339 in UTC, empty for none.
func timeText(t sagas.Time) string {
	if t == 0 {
		return ""
	}
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.000Z")
}
