package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

var auditColumns = []column[orchestrator.Fact]{
	{head: "AT", text: func(f orchestrator.Fact) string { return timeText(sagas.Time(f.At)) }},
	{head: "WORKFLOW ID", text: func(f orchestrator.Fact) string { return f.WorkflowID }},
	{head: "WHAT", text: func(f orchestrator.Fact) string { return strings.TrimSpace(f.Kind + " " + f.Path) }},
	{head: "DETAIL", text: func(f orchestrator.Fact) string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(f.Detail)) {
			parts = append(parts, k+"="+f.Detail[k])
		}
		return orNone(strings.Join(parts, " "))
	}},
	{head: "RECORD", wide: true, text: func(f orchestrator.Fact) string {
		return fmt.Sprintf("%s[%d]@%d", f.Place.Topic, f.Place.Partition, f.Place.Offset)
	}},
}

func newAuditCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "List what people did to instances: who, what, why, when",
		Example: "  amends audit --since 168h -o jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			since, _ := cmd.Flags().GetDuration("since")
			limit, _ := cmd.Flags().GetInt("limit")
			if since <= 0 || limit < 1 {
				return usage("--limit %d and --since %s: want more than nothing", limit, since)
			}
			var a orchestrator.Audit
			q := url.Values{"since": {since.String()}, "limit": {strconv.Itoa(limit)}}
			if err := api.get(cmd.Context(), "/api/v1/audit", q, &a); err != nil {
				return err
			}
			if a.Partial {
				fmt.Fprintln(t.err, "amends: the log of this time is too long to be read as a whole; narrow --since")
			}
			return printList(cmd, t, a.Facts, func(f orchestrator.Fact) string { return f.WorkflowID }, auditColumns)
		},
	}
	cmd.Flags().Duration("since", 24*time.Hour, "how far back")
	cmd.Flags().Int("limit", 200, "most to show, at most 1000")
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}
