package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

func newCancelCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:   "cancel TYPE/ID --reason TEXT",
		Short: "Ask for the compensation of an instance",
		Long: `Ask for the compensation of an instance. Before the point of no return it undoes what was done;
after it the request is refused, and the lifecycle topic says so. With --unstarted the id may be
unknown still: a start that comes later is then refused.`,
		Example: `  amends cancel card-payment/order-1 --reason "customer withdrew" --watch`,
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		return cancel(cmd, t, conn, id)
	})
	cmd.Flags().String("reason", "", "why; kept in the history (required)")
	cmd.Flags().String("operator", "", "who asks (default: the name of the user)")
	cmd.Flags().Bool("unstarted", false, "also when there is no such instance yet")
	cmd.Flags().Bool("dry-run", false, "show what would happen and stop")
	watchFlags(cmd, true)
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}

func cancel(cmd *cobra.Command, t *terminal, conn *connection, workflowID string) error {
	reason, err := reasonOf(cmd)
	if err != nil {
		return err
	}
	unstarted, _ := cmd.Flags().GetBool("unstarted")
	dry, _ := cmd.Flags().GetBool("dry-run")
	who, _ := cmd.Flags().GetString("operator")
	v, err := conn.api().instance(cmd.Context(), workflowID)
	switch {
	case errors.Is(err, orchestrator.ErrNotFound) && unstarted:
		v.WorkflowID, v.Status = workflowID, "not started"
	case err != nil:
		return err
	case ended(v.Phase):
		return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict,
			Cause: fmt.Sprintf("%s has ended already: %s", workflowID, v.Phase)}
	}
	if dry {
		fmt.Fprintf(t.err, "%s  %s  rev %d\n  cancel: %s\n", headline(v), v.Status, v.Rev, saysCompensate(v))
		return nil
	}
	if who == "" {
		who = actor()
	}
	typ, id := sagas.SplitWorkflowID(workflowID)
	err = sendIntake(cmd.Context(), conn, func(ctx context.Context, c *client.Client) error {
		return c.Cancel(ctx, client.Cancel{Type: typ, ID: id, RequestID: rand.Text(), Reason: reason, Actor: who})
	})
	if err != nil {
		return err
	}
	if follows(cmd) {
		return newWatcher(cmd, t, conn, workflowID).run(cmd.Context())
	}
	fmt.Fprintln(t.out, workflowID)
	fmt.Fprintln(t.err, "amends: the cancel is written to the intake topic")
	return nil
}

// actor names the person at the keyboard, as far as the system knows.
func actor() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name
}
