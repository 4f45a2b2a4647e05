package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List instances",
		Example: "  amends ls --status attention\n  amends ls --type card-payment --since 1h -o name\n  amends ls --query 'status == \"running\" && tags.customer == \"c-17\"'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			f := cmd.Flags()
			since, _ := f.GetDuration("since")
			limit, _ := f.GetInt("limit")
			if limit < 1 || since < 0 {
				return usage("--limit %d and --since %s: want more than nothing", limit, since)
			}
			query, _ := f.GetString("query")
			q := url.Values{}
			for key, value := range map[string]string{"query": conditionSince(query, since), "status": f.Lookup("status").Value.String(), "type": f.Lookup("type").Value.String()} {
				if value != "" {
					q.Set(key, value)
				}
			}
			rows, more, err := listAll(cmd, api, q, limit)
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
	cmd.Flags().String("query", "", "condition in CEL over type, status, version, started, updated, tags and more")
	cmd.Flags().Duration("since", 0, "only those that started or changed within this time, such as 2h")
	cmd.Flags().Int("limit", 100, "most instances to show")
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// listAll reads pages until there are limit rows. more says that there are others.
func listAll(cmd *cobra.Command, c *apiClient, q url.Values, limit int) (rows []orchestrator.Row, more bool, err error) {
	for {
		q.Set("limit", strconv.Itoa(min(limit-len(rows), orchestrator.MaxPage)))
		var page struct {
			Instances []orchestrator.Row
			Next      string
		}
		if err := c.get(cmd.Context(), "/api/v1/instances", q, &page); err != nil {
			return nil, false, err
		}
		rows = append(rows, page.Instances...)
		if page.Next == "" || len(rows) >= limit {
			return rows, page.Next != "", nil
		}
		q.Set("cursor", page.Next)
	}
}

// conditionSince adds an age to a condition.
func conditionSince(query string, since time.Duration) string {
	if since <= 0 {
		return query
	}
	recent := fmt.Sprintf("updated > now - duration(%q)", since.String())
	if query == "" {
		return recent
	}
	return "(" + query + ") && " + recent
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
