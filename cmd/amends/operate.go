package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// operation is one operator action as a command. All of them look at the instance first, say in one
// line what will happen, and write to the control topic.
type operation struct {
	verb    string
	action  protocol.Action
	path    bool // it is about one step
	short   string
	long    string
	example string
	flags   func(*cobra.Command)
	args    func(*cobra.Command) (map[string]string, error)
	preview func(v sagas.View, s *sagas.StepView) string
	danger  bool // asks even when the state is as expected
}

var operations = []operation{
	{verb: "retry", action: protocol.ActionRetry, path: true, short: "Give a step a new budget and try again with the same key",
		example: `  amends retry card-payment/order-1 --path capture --reason "the bank is back"`,
		preview: func(_ sagas.View, s *sagas.StepView) string {
			if s.Undo != "" {
				return fmt.Sprintf("the undo of %s (%s, %d attempts) is sent again, with the same key", s.Path, s.Undo, s.UndoAttempts)
			}
			return fmt.Sprintf("%s (%s, %d attempts) is sent again, with the same key", s.Path, s.State, s.Attempts)
		}},
	{verb: "retry-new-key", action: protocol.ActionRetryNewKey, path: true, danger: true, short: "Try a step again under a new key: it may execute twice",
		preview: func(_ sagas.View, s *sagas.StepView) string {
			return fmt.Sprintf("%s (%s) is sent as a new operation. IT MAY EXECUTE TWICE; what the old key left behind becomes residue", s.Path, s.State)
		}},
	{verb: "resolve", action: protocol.ActionResolve, path: true, short: "State what became of a step whose outcome is not known",
		long: `State what became of a step: --effect done, or none. The same rules follow as after an answer of the
participant. Ask the participant first: a wrong statement can lose money.`,
		example: `  amends resolve card-payment/order-1 --path capture --effect done --output '{"id":"c-9"}' --reason "the bank confirms it"`,
		flags: func(c *cobra.Command) {
			c.Flags().String("effect", "", "done or none (required)")
			c.Flags().String("output", "", "JSON object that the step gave, with --effect done")
		},
		args: func(c *cobra.Command) (map[string]string, error) {
			effect, _ := c.Flags().GetString("effect")
			if effect != "done" && effect != "none" {
				return nil, usage("resolve needs --effect done or --effect none")
			}
			return argsOf(c, map[string]string{protocol.ArgEffect: effect}, "output", protocol.ArgOutput)
		},
		preview: func(_ sagas.View, s *sagas.StepView) string {
			return fmt.Sprintf("%s (%s) counts as answered", s.Path, lastState(s))
		}},
	{verb: "waive", action: protocol.ActionWaive, path: true, danger: true, short: "Give up the undo of one step: its effect stays",
		example: `  amends waive trip/t-1 --path hotel --reason "refunded by hand"`,
		preview: func(_ sagas.View, s *sagas.StepView) string {
			return fmt.Sprintf("the undo of %s (%s) is given up; its effect stays and is listed as residue", s.Path, lastState(s))
		}},
	{verb: "skip", action: protocol.ActionSkip, path: true, short: "Go on as if a step were done",
		flags: func(c *cobra.Command) {
			c.Flags().String("output", "", "JSON object that later steps see (default: {})")
		},
		args: func(c *cobra.Command) (map[string]string, error) {
			return argsOf(c, map[string]string{}, "output", protocol.ArgOutput)
		},
		preview: func(_ sagas.View, s *sagas.StepView) string {
			return fmt.Sprintf("%s (%s) counts as done, and what waits for it begins", s.Path, s.State)
		}},
	{verb: "compensate", action: protocol.ActionCompensate, danger: true, short: "Turn an instance round: undo what was done",
		preview: func(v sagas.View, _ *sagas.StepView) string { return saysCompensate(v) }},
	{verb: "close", action: protocol.ActionClose, danger: true, short: "End an instance where it stands; what may have effects becomes residue",
		preview: func(v sagas.View, _ *sagas.StepView) string {
			if owed := owedPaths(v); len(owed) > 0 {
				return "it ends here. NOTHING MORE IS UNDONE; these may have effects: " + strings.Join(owed, ", ")
			}
			return "it ends here, and nothing more is sent"
		}},
	{verb: "suspend", action: protocol.ActionSuspend, short: "Stop sending commands of an instance; answers are still taken",
		preview: func(sagas.View, *sagas.StepView) string { return "no command goes out until `amends resume`" }},
	{verb: "resume", action: protocol.ActionResume, short: "Let a suspended instance go on",
		preview: func(sagas.View, *sagas.StepView) string { return "commands that wait go out" }},
	{verb: "extend", action: protocol.ActionExtend, short: "Give an instance, or one step of it, more time",
		long: `Give an instance more time before its deadline, or with --path a step that waits or whose attempts have
a common end.`,
		example: "  amends extend trip/t-1 --by 2h --reason \"supplier is slow\"",
		flags: func(c *cobra.Command) {
			c.Flags().Duration("by", 0, "how much longer (required)")
			c.Flags().String("path", "", "the step (default: the deadline of the instance)")
		},
		args: func(c *cobra.Command) (map[string]string, error) {
			by, _ := c.Flags().GetDuration("by")
			if by < time.Millisecond {
				return nil, usage("extend needs --by, for example --by 2h")
			}
			return map[string]string{protocol.ArgBy: strconv.FormatInt(by.Milliseconds(), 10)}, nil
		},
		preview: func(v sagas.View, s *sagas.StepView) string {
			if s != nil {
				return fmt.Sprintf("%s (%s) gets more time", s.Path, s.State)
			}
			return "the deadline moves from " + orNone(timeText(v.Deadline))
		}},
}

// argsOf adds the JSON object of a flag to the arguments.
func argsOf(c *cobra.Command, args map[string]string, flag, name string) (map[string]string, error) {
	value, _ := c.Flags().GetString(flag)
	if value == "" {
		return args, nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(value), &object) != nil || object == nil {
		return nil, usage("--%s %s is not a JSON object", flag, value)
	}
	args[name] = value
	return args, nil
}

func lastState(s *sagas.StepView) string {
	if s.Undo != "" {
		return s.Undo
	}
	return s.State
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func owedPaths(v sagas.View) []string {
	var owed []string
	for _, o := range v.Obligations {
		owed = append(owed, o.Path)
	}
	return owed
}

// saysCompensate is what turning an instance round would do.
func saysCompensate(v sagas.View) string {
	if owed := owedPaths(v); len(owed) > 0 {
		return "undone will be: " + strings.Join(owed, ", ")
	}
	return "nothing is owed so far; what is in flight is undone when it took effect"
}

func newOperationCommand(t *terminal, op *operation) *cobra.Command {
	use := op.verb + " TYPE/ID --reason TEXT"
	if op.path {
		use = op.verb + " TYPE/ID [--path STEP] --reason TEXT"
	}
	cmd := onInstance(&cobra.Command{
		Use:     use,
		Short:   op.short,
		Long:    op.long,
		Example: op.example,
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		return operate(cmd, t, conn, op, id)
	})
	if op.path {
		cmd.Flags().String("path", "", "the step, as `amends get` shows it (default: the only one that it fits)")
	}
	if op.flags != nil {
		op.flags(cmd)
	}
	actionFlags(cmd)
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}

func actionFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("reason", "", "why; kept in the history (required)")
	f.String("operator", "", "who acts (default: the name of the user)")
	f.Uint64("expect-rev", 0, "act only at this revision (default: the one that is shown)")
	f.Bool("dry-run", false, "show what would happen and stop")
	f.Bool("yes", false, "do not ask")
}

func operate(cmd *cobra.Command, t *terminal, conn *connection, op *operation, workflowID string) error {
	args := map[string]string(nil)
	if op.args != nil {
		var err error
		if args, err = op.args(cmd); err != nil {
			return err
		}
	}
	reason, err := reasonOf(cmd)
	if err != nil {
		return err
	}
	path := ""
	if cmd.Flags().Lookup("path") != nil {
		path, _ = cmd.Flags().GetString("path")
	}
	return act(cmd, t, conn, workflowID, op.danger, func(v sagas.View) (a client.Action, says string, err error) {
		path := path
		if op.path && path == "" {
			if path, err = onlyStep(v, op); err != nil {
				return a, "", err
			}
			fmt.Fprintf(t.err, "amends: step %s, the only one that this fits\n", path)
		}
		var step *sagas.StepView
		if path != "" {
			i := slices.IndexFunc(v.Steps, func(s sagas.StepView) bool { return s.Path == path })
			if i < 0 {
				return a, "", &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: fmt.Sprintf("%s has no step %q", workflowID, path),
					Fix: "See amends get " + workflowID + "."}
			}
			step = &v.Steps[i]
		}
		return client.Action{Action: op.action, Path: path, Args: args, Reason: reason}, op.preview(v, step), nil
	})
}

// onlyStep is the step that an action fits when there is one such step and no other: one that asks for a person whom
// the action helps, or for a retry one that waits before its next attempt.
func onlyStep(v sagas.View, op *operation) (string, error) {
	var paths []string
	add := func(path string) {
		if path != "" && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, a := range v.Attention {
		if slices.Contains(sagas.Reason(a.Reason).Helps(), sagas.AdminAction(op.action)) {
			add(a.Path)
		}
	}
	if op.action == protocol.ActionRetry {
		for _, s := range v.Steps {
			if s.State == sagas.StepBackoff.String() || s.Undo == sagas.UndoBackoff.String() {
				add(s.Path)
			}
		}
	}
	switch len(paths) {
	case 1:
		return paths[0], nil
	case 0:
		return "", usage("%s needs --path: no step asks for it", op.verb)
	}
	return "", usage("%s needs --path, one of %s", op.verb, strings.Join(paths, ", "))
}

// act looks at the instance, asks plan what to do to it and what that will do, says so, asks if it must, and
// writes the action.
func act(cmd *cobra.Command, t *terminal, conn *connection, workflowID string, danger bool, plan func(sagas.View) (a client.Action, says string, err error)) error {
	f := cmd.Flags()
	who, _ := f.GetString("operator")
	rev, _ := f.GetUint64("expect-rev")
	dry, _ := f.GetBool("dry-run")
	yes, _ := f.GetBool("yes")
	api := conn.api()
	v, err := api.instance(cmd.Context(), workflowID)
	if err != nil {
		return err
	}
	if rev != 0 && rev != v.Rev {
		return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict,
			Cause: fmt.Sprintf("%s is at revision %d, not %d", workflowID, v.Rev, rev), Fix: "Look at it again."}
	}
	a, line, err := plan(v)
	if err != nil {
		return err
	}
	a.ExpectRev, a.Operator = v.Rev, who
	if a.Operator == "" {
		a.Operator = actor()
	}
	fmt.Fprintf(t.err, "%s  %s  rev %d\n  %s: %s\n", headline(v), v.Status, v.Rev, a.Action, line)
	if dry {
		return nil
	}
	if danger && !yes {
		if err := confirm(t, workflowID); err != nil {
			return err
		}
	}
	a.Type, a.ID = sagas.SplitWorkflowID(workflowID)
	a.RequestID = rand.Text()
	if err := sendIntake(cmd.Context(), conn, func(ctx context.Context, c *client.Client) error { return c.Act(ctx, a) }); err != nil {
		return err
	}
	return awaitChange(cmd.Context(), t, api, workflowID, v.Rev)
}

// confirm asks a person at the terminal; a script has to say --yes.
func confirm(t *terminal, workflowID string) error {
	if t.in == nil {
		return usage("this needs --yes when nobody is there to be asked")
	}
	fmt.Fprintf(t.err, "Type %s to go on: ", workflowID)
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != workflowID {
		return usage("not confirmed")
	}
	return nil
}

// changePatience is how long a command waits to see that its action was taken.
const changePatience = 10 * time.Second

// awaitChange shows the instance after the action. The action is sent under the revision that was shown,
// so an instance that moved on meanwhile has ignored it.
func awaitChange(ctx context.Context, t *terminal, api *apiClient, workflowID string, rev uint64) error {
	began := time.Now()
	for {
		v, err := api.instance(ctx, workflowID)
		switch {
		case errors.Is(err, orchestrator.ErrNotFound):
			fmt.Fprintln(t.out, workflowID)
			return nil
		case err != nil:
			return err
		case v.Rev > rev:
			fmt.Fprintf(t.out, "%s  %s  rev %d\n", v.WorkflowID, v.Status, v.Rev)
			return nil
		case time.Since(began) > changePatience:
			return withCode(exitTimeout, "%s has not changed: its state does not allow the action, or no process runs. See the lifecycle topic", workflowID)
		}
		if !pause(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}

func newSignalCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:   "signal TYPE/ID NAME",
		Short: "Send a signal to an instance",
		Long: `Send a signal to an instance: write a record to the intake topic, as any producer can. With --ttl it may
come before the start. Decisions of people are sent with amends approve.`,
		Example: `  amends signal trip-booking/trip-7 paid -d amount=90.00
  amends signal trip-booking/trip-7 paid --payload '{"amount":"90.00"}' --id p-1 --ttl 1h`,
		Args: cobra.ExactArgs(2),
	}, func(cmd *cobra.Command, conn *connection, id string, rest []string) error {
		return sendSignal(cmd, t, conn, id, rest[0])
	})
	f := cmd.Flags()
	f.String("payload", "", "JSON value (default: null)")
	f.StringArrayP("data", "d", nil, "one field of the payload, name=value")
	f.String("id", "", "id of this signal, so that a repetition is recognised (default: a new one)")
	f.Duration("ttl", 0, "how long it waits for its start, or for somebody who consumes it (default: the instance must have started)")
	f.String("actor", "", "who sends it (default: the name of the user)")
	f.Bool("dry-run", false, "show what would be written and stop")
	kafkaFlags(cmd)
	return cmd
}

func sendSignal(cmd *cobra.Command, t *terminal, conn *connection, workflowID, name string) error {
	f := cmd.Flags()
	payload, _ := f.GetString("payload")
	data, _ := f.GetStringArray("data")
	s := client.Signal{Name: name}
	s.SignalID, _ = f.GetString("id")
	s.TTL, _ = f.GetDuration("ttl")
	s.Actor, _ = f.GetString("actor")
	switch {
	case payload != "" && len(data) > 0:
		return usage("--payload and -d exclude each other")
	case payload != "":
		if !json.Valid([]byte(payload)) {
			return usage("--payload is not JSON")
		}
		s.Payload = json.RawMessage(payload)
	case len(data) > 0:
		fields, err := inputOf("", data)
		if err != nil {
			return err
		}
		s.Payload = fields
	}
	if s.Actor == "" {
		s.Actor = actor()
	}
	if s.SignalID == "" {
		s.SignalID = rand.Text()
	}
	s.Type, s.ID = sagas.SplitWorkflowID(workflowID)
	if dry, _ := f.GetBool("dry-run"); dry {
		return encode(t.out, "json", s)
	}
	if err := sendIntake(cmd.Context(), conn, func(ctx context.Context, c *client.Client) error { return c.Signal(ctx, s) }); err != nil {
		return err
	}
	fmt.Fprintln(t.out, workflowID)
	fmt.Fprintf(t.err, "amends: the signal %s is written to the intake topic\n", s.SignalID)
	return nil
}

// isTerminal says whether a person sits at f.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
