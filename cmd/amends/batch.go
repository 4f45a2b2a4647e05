package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

const batchesPath = "/api/v1/batches"

var batchColumns = []column[orchestrator.Batch]{
	{head: "BATCH", text: batchName},
	{head: "STATE", text: func(b orchestrator.Batch) string { return b.State }},
	{head: "ACTION", text: func(b orchestrator.Batch) string { return strings.TrimSpace(b.Action + " " + b.Path) }},
	{head: "SENT", text: func(b orchestrator.Batch) string { return fmt.Sprintf("%d of %d", b.Sent, b.Total) }},
	{head: "REFUSED", text: func(b orchestrator.Batch) string { return strconv.FormatInt(b.Refused, 10) }},
	{head: "FAILED", text: func(b orchestrator.Batch) string { return strconv.FormatInt(b.Failed, 10) }},
	{head: "BY", text: func(b orchestrator.Batch) string { return orNone(b.By) }},
	{head: "REASON", text: func(b orchestrator.Batch) string { return b.Reason }},
	{head: "CREATED", wide: true, text: func(b orchestrator.Batch) string { return timeText(sagas.Time(b.Created)) }},
	{head: "RATE", wide: true, text: func(b orchestrator.Batch) string { return strconv.Itoa(b.Rate) }},
	{head: "QUERY", wide: true, text: func(b orchestrator.Batch) string {
		return orNone(strings.TrimSpace(b.CEL + " " + b.Status + " " + b.Type))
	}},
}

func batchName(b orchestrator.Batch) string { return b.ID }

func newBatchListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the actions on many instances, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			var page struct {
				Batches []orchestrator.Batch `json:"batches"`
			}
			if err := api.get(cmd.Context(), batchesPath, nil, &page); err != nil {
				return err
			}
			return printList(cmd, t, page.Batches, batchName, batchColumns)
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// onBatch makes a command about one batch, its argument.
func onBatch(t *terminal, use, short string, run func(cmd *cobra.Command, api *apiClient, path string, b *orchestrator.Batch) error) *cobra.Command {
	cmd := &cobra.Command{Use: use + " BATCH", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		api, err := apiOf(cmd)
		if err != nil {
			return err
		}
		var b orchestrator.Batch
		if err := run(cmd, api, batchesPath+"/"+url.PathEscape(args[0]), &b); err != nil {
			return err
		}
		return printBatch(cmd, t, b)
	}}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

func printBatch(cmd *cobra.Command, t *terminal, b orchestrator.Batch) error {
	return printAs(cmd, t, b, b.ID, func(w io.Writer) {
		printTable(w, []orchestrator.Batch{b}, batchColumns, false)
		for _, e := range b.Errors {
			fmt.Fprintf(w, "  %s: %s\n", e.WorkflowID, e.Text)
		}
	})
}

func newBatchGetCommand(t *terminal) *cobra.Command {
	return onBatch(t, "get", "Show how far an action on many instances has come", func(cmd *cobra.Command, api *apiClient, path string, b *orchestrator.Batch) error {
		return api.get(cmd.Context(), path, nil, b)
	})
}

// newBatchSteerCommand sets the state of a batch.
func newBatchSteerCommand(verb, state, short string) func(*terminal) *cobra.Command {
	return func(t *terminal) *cobra.Command {
		cmd := onBatch(t, verb, short, func(cmd *cobra.Command, api *apiClient, path string, b *orchestrator.Batch) error {
			body := map[string]any{"state": state}
			if who := operator(cmd, api); who != "" {
				body["by"] = who
			}
			if f := cmd.Flags().Lookup("rate"); f != nil && f.Changed {
				body["rate"], _ = cmd.Flags().GetInt("rate")
			}
			return api.post(cmd.Context(), path, nil, body, b)
		})
		if state == orchestrator.BatchRunning {
			cmd.Flags().Int("rate", 0, fmt.Sprintf("instances per second from now on, at most %d", orchestrator.MaxBatchRate))
		}
		cmd.Flags().String("operator", "", "who acts (default: the name of the user)")
		return cmd
	}
}

func newBatchStartCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start ACTION --query CONDITION --reason TEXT",
		Short: "Do an operator action to all instances that match",
		Long: `Do an operator action (retry, skip, compensate, suspend, …) to all instances that match a condition. It says first
how many match and what would be sent for some of them, and asks for their number; --yes is the answer of a script.
The namespace works on it by itself from then on, also when processes come and go. An instance whose state does
not allow the action is left alone. With --dry-run nothing is written.`,
		Example: "  amends batch start retry --path capture --query 'attention && type == \"card-payment\"' --reason \"the bank is back\" --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return startBatch(cmd, t, args[0]) },
	}
	f := cmd.Flags()
	f.String("query", "", "condition in CEL over type, status, version, started, updated, tags and more")
	f.String("status", "", "only instances of this status")
	f.String("type", "", "only instances of this saga type")
	f.String("path", "", "the step that it is about")
	f.StringToString("arg", nil, "argument of the action, such as effect=none; may be given again")
	f.Int("rate", 50, fmt.Sprintf("instances per second, at most %d", orchestrator.MaxBatchRate))
	f.String("reason", "", "why; kept in the lifecycle of each instance (required)")
	f.String("operator", "", "who acts (default: the name of the user)")
	f.Bool("dry-run", false, "show what would happen and stop")
	f.Bool("yes", false, "do not ask")
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

func startBatch(cmd *cobra.Command, t *terminal, action string) error {
	f := cmd.Flags()
	api, err := apiOf(cmd)
	if err != nil {
		return err
	}
	// One id for the preview and the batch, so that a request that is sent twice makes one batch.
	body := map[string]any{"id": strings.ToLower(rand.Text()[:12]), "action": action}
	for _, name := range []string{"query", "status", "type", "path", "reason"} {
		if v, _ := f.GetString(name); strings.TrimSpace(v) != "" {
			body[name] = v
		}
	}
	switch {
	case body["reason"] == nil:
		return usage("%s needs --reason", cmd.Name())
	case body["query"] == nil && body["status"] == nil && body["type"] == nil:
		return usage("%s needs --query, --status or --type: for which instances?", cmd.CommandPath())
	}
	if args, _ := f.GetStringToString("arg"); len(args) > 0 {
		body["args"] = args
	}
	body["rate"], _ = f.GetInt("rate")
	if who := operator(cmd, api); who != "" {
		body["operator"] = who
	}
	var answer struct {
		Batch   orchestrator.Batch    `json:"batch"`
		Preview *cluster.BatchPreview `json:"preview"`
	}
	if err := api.post(cmd.Context(), batchesPath, url.Values{"dryRun": {"true"}}, body, &answer); err != nil {
		return err
	}
	p := answer.Preview
	if p == nil {
		return fmt.Errorf("the API has sent no preview")
	}
	if dry, _ := f.GetBool("dry-run"); dry {
		return printAs(cmd, t, p, strconv.FormatInt(p.Count.N, 10), func(w io.Writer) { printBatchPreview(w, p) })
	}
	if p.Count.N == 0 {
		return withCode(exitNotFound, "no instance matches")
	}
	printBatchPreview(t.err, p)
	if yes, _ := f.GetBool("yes"); !yes {
		if err := confirm(t, strconv.FormatInt(p.Count.N, 10)); err != nil {
			return err
		}
	}
	body["expect"] = p.Count.N
	if err := api.post(cmd.Context(), batchesPath, nil, body, &answer); err != nil {
		return err
	}
	return printBatch(cmd, t, answer.Batch)
}

// printBatchPreview says how many match, and what would be sent for the first of them.
func printBatchPreview(w io.Writer, p *cluster.BatchPreview) {
	least := ""
	if p.Count.AtLeast {
		least = "at least "
	}
	fmt.Fprintf(w, "%s%d instances match\n", least, p.Count.N)
	for _, one := range p.Previews {
		if one.Refused != "" {
			fmt.Fprintf(w, "  %s: left alone, %s\n", one.WorkflowID, one.Refused)
			continue
		}
		fmt.Fprintf(w, "  %s: %s → %s\n", one.WorkflowID, one.StatusBefore, one.StatusAfter)
		for _, c := range one.Commands {
			fmt.Fprintf(w, "    %s[%d] key %s\n", c.Topic, c.Partition, c.Key)
		}
	}
	if rest := p.Count.N - int64(len(p.Previews)); rest > 0 {
		fmt.Fprintf(w, "  and %d more\n", rest)
	}
}
