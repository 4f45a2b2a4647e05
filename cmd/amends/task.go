package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// task is an approval that waits for people.
type task struct {
	WorkflowID string     `json:"workflowId"`
	Path       string     `json:"path"`
	Roles      []string   `json:"roles,omitempty"`
	Quorum     uint32     `json:"quorum,omitempty"`
	Approved   []string   `json:"approved,omitempty"`
	Until      sagas.Time `json:"until,omitempty"`
}

func newTasksCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [TYPE/ID]",
		Short:   "List the open approvals of an instance, or of all, the most urgent first",
		Example: "  amends task list\n  amends task list fx-transfer/t-9",
		Args:    cobra.MaximumNArgs(1),
	}
	show := func(cmd *cobra.Command, tasks []task) error {
		return printList(cmd, t, tasks, func(k task) string { return k.WorkflowID + " " + k.Path }, taskColumns)
	}
	onInstance(cmd, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		v, err := conn.api().instance(cmd.Context(), id)
		if err != nil {
			return err
		}
		return show(cmd, openTasks(v))
	})
	ofOne := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return ofOne(cmd, args)
		}
		var conn connection
		if err := conn.read(cmd); err != nil {
			return err
		}
		var all cluster.Approvals
		if err := conn.api().get(cmd.Context(), "/api/v1/tasks", nil, &all); err != nil {
			return err
		}
		if all.Partial {
			fmt.Fprintln(t.err, "amends: there are more")
		}
		tasks := []task{}
		for _, a := range all.Approvals {
			tasks = append(tasks, newTask(a.WorkflowID, a.Path, a.Roles, a.Quorum, a.Due, a.Votes))
		}
		return show(cmd, tasks)
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

func newTask(workflowID, path string, roles []string, quorum uint32, until sagas.Time, votes []sagas.VoteView) task {
	k := task{WorkflowID: workflowID, Path: path, Roles: roles, Quorum: quorum, Until: until}
	for _, v := range votes {
		k.Approved = append(k.Approved, v.Actor)
	}
	return k
}

var taskColumns = []column[task]{
	{head: "WORKFLOW ID", text: func(k task) string { return k.WorkflowID }},
	{head: "PATH", text: func(k task) string { return k.Path }},
	{head: "ROLES", text: func(k task) string { return strings.Join(k.Roles, ",") }},
	{head: "APPROVED", text: func(k task) string { return orNone(strings.Join(k.Approved, ",")) }},
	{head: "NEEDED", text: func(k task) string { return strconv.Itoa(int(max(k.Quorum, 1))) }},
	{head: "UNTIL", text: func(k task) string { return orNone(timeText(k.Until)) }},
}

// openTasks are the approvals of an instance that are open.
func openTasks(v sagas.View) []task {
	tasks := []task{}
	for _, s := range v.Steps {
		if s.Node != sagas.NodeApprove.String() || s.State != sagas.StepOpen.String() {
			continue
		}
		tasks = append(tasks, newTask(v.WorkflowID, s.Path, s.Roles, s.Quorum, s.Until, s.Votes))
	}
	return tasks
}

// newDecideCommand approves or refuses. The operator is the person who decides.
func newDecideCommand(t *terminal, decision string) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:   decision + " TYPE/ID [PATH]",
		Short: map[string]string{"approve": "Approve an open task of an instance", "refuse": "Refuse an open task of an instance"}[decision],
		Long: `Decide an open approval of an instance, as yourself or as --operator. It is written to the control topic,
which only operators may write to. A person decides once, and who may not decide is not counted.
PATH may be left out when one approval is open.`,
		Example: "  amends " + decision + ` fx-transfer/t-9 signoff --comment "seen the papers"`,
		Args:    cobra.RangeArgs(1, 2),
	}, func(cmd *cobra.Command, conn *connection, id string, rest []string) error {
		return decide(cmd, t, conn, decision, id, strings.Join(rest, ""))
	})
	f := cmd.Flags()
	f.String("comment", "", "kept with the decision")
	f.String("operator", "", "who decides (default: the name of the user)")
	f.Uint64("expect-rev", 0, "decide only at this revision")
	f.Bool("dry-run", false, "show what would happen and stop")
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}

func decide(cmd *cobra.Command, t *terminal, conn *connection, decision, workflowID, path string) error {
	comment, _ := cmd.Flags().GetString("comment")
	if err := act(cmd, t, conn, workflowID, false, func(v sagas.View) (a client.Action, says string, err error) {
		tasks := openTasks(v)
		switch {
		case path == "" && len(tasks) == 1:
			path = tasks[0].Path
		case path == "" && len(tasks) > 1:
			return a, "", usage("%s has %d open tasks: name one of them", workflowID, len(tasks))
		case !slices.ContainsFunc(tasks, func(k task) bool { return k.Path == path }):
			return a, "", &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: strings.TrimSpace(fmt.Sprintf("%s has no open task %s", workflowID, path)),
				Fix: "See amends tasks " + workflowID + "."}
		}
		payload, err := json.Marshal(map[string]string{"decision": decision, "comment": comment})
		if err != nil {
			return a, "", err
		}
		return client.Action{Action: protocol.ActionSignal, Reason: cmp.Or(comment, decision),
			Args: map[string]string{protocol.ArgName: protocol.DecisionPrefix + path, protocol.ArgPayload: string(payload)}}, decision + " " + path, nil
	}); err != nil {
		return err
	}
	if dry, _ := cmd.Flags().GetBool("dry-run"); dry {
		return nil
	}
	who, _ := cmd.Flags().GetString("operator")
	if who == "" {
		who = actor()
	}
	return counted(cmd, conn, workflowID, path, who)
}

// counted says whether the decision is among those that count.
func counted(cmd *cobra.Command, conn *connection, workflowID, path, who string) error {
	v, err := conn.api().instance(cmd.Context(), workflowID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(v.Steps, func(s sagas.StepView) bool { return s.Path == path })
	if i < 0 || v.Steps[i].State != sagas.StepOpen.String() ||
		slices.ContainsFunc(v.Steps[i].Votes, func(d sagas.VoteView) bool { return d.Actor == who }) {
		return nil
	}
	return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict, Cause: who + " may not decide " + path + " of " + workflowID + ", and was not counted",
		Fix: "Whoever asked for it, and others that the definition names, cannot approve it."}
}
