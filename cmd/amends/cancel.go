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
	var conn connection
	cmd := &cobra.Command{
		Use:   "cancel TYPE/ID --reason TEXT",
		Short: "Ask for the compensation of an instance",
		Long: `Ask for the compensation of an instance. Before the point of no return it undoes what was done;
after it the request is refused, and the lifecycle topic says so. With --unstarted the id may be
unknown still: a start that comes later is then refused.`,
		Example: `  amends cancel card-payment/order-1 --reason "customer withdrew" --watch`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWorkflowID(args[0]); err != nil {
				return err
			}
			if err := conn.read(cmd); err != nil {
				return err
			}
			return cancel(cmd, t, conn, args[0])
		},
	}
	cmd.Flags().String("reason", "", "why; kept in the history (required)")
	cmd.Flags().Bool("unstarted", false, "also when there is no such instance yet")
	cmd.Flags().Bool("watch", false, "show the steps until the instance has ended")
	cmd.Flags().Duration("timeout", 0, "of --watch (default: none)")
	conn.kafkaFlags(cmd)
	conn.serverFlag(cmd)
	return cmd
}

func cancel(cmd *cobra.Command, t *terminal, conn connection, workflowID string) error {
	reason, _ := cmd.Flags().GetString("reason")
	unstarted, _ := cmd.Flags().GetBool("unstarted")
	watching, _ := cmd.Flags().GetBool("watch")
	timeout, _ := cmd.Flags().GetDuration("timeout")
	if reason == "" {
		return usage("cancel needs --reason")
	}
	api := newAPIClient(conn.Server)
	v, err := api.instance(cmd.Context(), workflowID)
	switch {
	case errors.Is(err, orchestrator.ErrNotFound) && unstarted:
	case err != nil:
		return err
	case ended(v.Phase):
		return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict,
			Cause: fmt.Sprintf("%s has ended already: %s", workflowID, v.Phase)}
	}
	typ, id := sagas.SplitWorkflowID(workflowID)
	err = sendIntake(cmd.Context(), conn, func(ctx context.Context, c *client.Client) error {
		return c.Cancel(ctx, client.Cancel{Type: typ, ID: id, RequestID: rand.Text(), Reason: reason, Actor: actor()})
	})
	if err != nil {
		return err
	}
	if watching {
		return (&watcher{t: t, api: api, id: workflowID, timeout: timeout}).run(cmd.Context())
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
