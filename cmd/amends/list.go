package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newListCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List instances",
		Example: "  amends ls --status attention\n  amends ls --type card-payment -o name",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := conn.read(cmd); err != nil {
				return err
			}
			f := orchestrator.Filter{}
			f.Status, _ = cmd.Flags().GetString("status")
			f.Type, _ = cmd.Flags().GetString("type")
			limit, _ := cmd.Flags().GetInt("limit")
			if limit < 1 {
				return usage("--limit %d is not positive", limit)
			}
			rows, more, err := listAll(cmd, newAPIClient(conn.Server), f, limit)
			if err != nil {
				return err
			}
			if format, _ := cmd.Flags().GetString("output"); format == "name" {
				for _, r := range rows {
					fmt.Fprintln(t.out, r.WorkflowID)
				}
			} else if err := printAs(cmd, t, rows, func(w io.Writer) { printRows(w, rows) }); err != nil {
				return err
			}
			if more {
				fmt.Fprintf(t.err, "amends: there are more; raise --limit\n")
			}
			return nil
		},
	}
	cmd.Flags().String("status", "", "running, finishing, compensating, completed, compensated, closed, parked, mailbox, void, marker or attention")
	cmd.Flags().String("type", "", "saga type")
	cmd.Flags().Int("limit", 100, "most instances to show")
	outputFlag(cmd, "table, json, yaml or name")
	conn.serverFlag(cmd)
	return cmd
}

func listAll(cmd *cobra.Command, c *apiClient, f orchestrator.Filter, limit int) (rows []orchestrator.Row, more bool, err error) {
	rows = []orchestrator.Row{}
	for {
		f.Limit = min(limit-len(rows), orchestrator.MaxPage)
		page, err := c.list(cmd.Context(), f)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, page.Instances...)
		if page.Next == "" || len(rows) >= limit {
			return rows, page.Next != "", nil
		}
		f.Cursor = page.Next
	}
}

func printRows(w io.Writer, rows []orchestrator.Row) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKFLOW ID\tVERSION\tSTATUS\tSTARTED\tUPDATED")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\n", r.WorkflowID, r.Version, r.Status, timeText(r.StartedAt), timeText(r.UpdatedAt))
	}
	_ = tw.Flush() // standard output is gone: nobody to tell
}
