package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/sagas"
)

func newExplainCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:   "explain TYPE/ID",
		Short: "Say why an instance does not move, and what can be done",
		Long: `Say in one sentence why an instance does not move: what it waits for, where its command lies in Kafka, whether
the participant's group has read it, when the engine tries again. Behind it stands what can be done next; each
command that is named is one that the instance takes in its present state.`,
		Example: "  amends explain card-payment/order-1\n  amends explain card-payment/order-1 -o json",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		e, err := conn.api().explain(cmd.Context(), id)
		if err != nil {
			return err
		}
		return printAs(cmd, t, e, string(e.Cause), func(w io.Writer) { printExplanation(w, e) })
	})
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

func (c *apiClient) explain(ctx context.Context, workflowID string) (explain.Explanation, error) {
	var e explain.Explanation
	typ, id := sagas.SplitWorkflowID(workflowID)
	return e, c.get(ctx, "/api/v1/instances/"+url.PathEscape(typ)+"/"+api.EscapeID(id)+"/explain", nil, &e)
}

func printExplanation(w io.Writer, e explain.Explanation) {
	fmt.Fprintf(w, "%s  %s\n\n%s\n", e.WorkflowID, e.Cause, e.Sentence)
	if c := e.Command; c != nil && len(c.Groups) > 0 {
		fmt.Fprintln(w)
		for _, g := range c.Groups {
			fmt.Fprintf(w, "  group %s  %s  members %s  at %s  lag %s\n", g.Name, orNone(strings.ToLower(g.State)), known(int64(g.Members)), known(g.Position), known(g.Lag))
		}
	}
	section := func(title string, n int, line func(int) string) {
		if n == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", title)
		for i := range n {
			fmt.Fprintln(w, "  "+line(i))
		}
	}
	section("also", len(e.Also), func(i int) string { return e.Also[i].Sentence })
	section("not known", len(e.Unknown), func(i int) string { return e.Unknown[i] })
	section("next", len(e.Actions), func(i int) string {
		a := e.Actions[i]
		mark := ""
		if a.Danger {
			mark = "! "
		}
		if a.Command == "" {
			return mark + a.Do
		}
		return mark + a.Do + "\n      " + a.Command
	})
}

// known is a number, or a question mark for one that is not known.
func known(n int64) string {
	if n < 0 {
		return "?"
	}
	return fmt.Sprint(n)
}
