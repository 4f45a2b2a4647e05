package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List instances",
		Example: "  amends ls --status attention\n  amends ls --type card-payment --since 1h -o name",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var conn connection
			if err := conn.read(cmd); err != nil {
				return err
			}
			f := orchestrator.Filter{}
			f.Status, _ = cmd.Flags().GetString("status")
			f.Type, _ = cmd.Flags().GetString("type")
			since, _ := cmd.Flags().GetDuration("since")
			limit, _ := cmd.Flags().GetInt("limit")
			if limit < 1 || since < 0 {
				return usage("--limit %d and --since %s: want more than nothing", limit, since)
			}
			rows, more, err := listAll(cmd, conn.api(), f, since, limit)
			if err != nil {
				return err
			}
			if err := printList(cmd, t, rows, func(r orchestrator.Row) string { return r.WorkflowID }, rowColumns); err != nil {
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
	cmd.Flags().Duration("since", 0, "only those that started or changed within this time, such as 2h")
	cmd.Flags().Int("limit", 100, "most instances to show")
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// listAll reads pages until there are limit rows. more says that there may be others.
func listAll(cmd *cobra.Command, c *apiClient, f orchestrator.Filter, since time.Duration, limit int) (rows []orchestrator.Row, more bool, err error) {
	after := time.Now().Add(-since).UnixMilli()
	for {
		f.Limit = min(limit-len(rows), orchestrator.MaxPage)
		if since > 0 {
			f.Limit = orchestrator.MaxPage // most of them may be older
		}
		page, err := c.list(cmd.Context(), f)
		if err != nil {
			return nil, false, err
		}
		found := page.Instances
		if since > 0 {
			found = slices.DeleteFunc(found, func(r orchestrator.Row) bool { return int64(max(r.StartedAt, r.UpdatedAt)) < after })
		}
		rows = append(rows, found...)
		if len(rows) > limit {
			return rows[:limit], true, nil
		}
		if page.Next == "" || len(rows) == limit {
			return rows, page.Next != "", nil
		}
		f.Cursor = page.Next
	}
}

var rowColumns = []column[orchestrator.Row]{
	{head: "WORKFLOW ID", text: func(r orchestrator.Row) string { return r.WorkflowID }},
	{head: "VERSION", text: func(r orchestrator.Row) string { return strconv.Itoa(int(r.Version)) }},
	{head: "STATUS", text: func(r orchestrator.Row) string { return r.Status }},
	{head: "PHASE", wide: true, text: func(r orchestrator.Row) string { return r.Phase }},
	{head: "RUN", wide: true, text: func(r orchestrator.Row) string { return strconv.Itoa(int(r.Run)) }},
	{head: "REV", wide: true, text: func(r orchestrator.Row) string { return strconv.FormatUint(r.Rev, 10) }},
	{head: "STARTED", text: func(r orchestrator.Row) string { return timeText(r.StartedAt) }},
	{head: "UPDATED", text: func(r orchestrator.Row) string { return timeText(r.UpdatedAt) }},
	{head: "DUE", wide: true, text: func(r orchestrator.Row) string { return timeText(r.Due) }},
}
