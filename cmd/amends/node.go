package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newNodeListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the processes: their tasks and copies, and what is wrong with them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Nodes []orchestrator.Node }
			if err := api.get(cmd.Context(), "/api/v1/nodes", nil, &answer); err != nil {
				return err
			}
			return printList(cmd, t, answer.Nodes, func(n orchestrator.Node) string { return n.Address }, nodeColumns)
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

var nodeColumns = []column[orchestrator.Node]{
	{head: "PROCESS", text: func(n orchestrator.Node) string { return n.Address }},
	{head: "VERSION", text: func(n orchestrator.Node) string { return n.Version }},
	{head: "ZONE", wide: true, text: func(n orchestrator.Node) string { return n.Zone }},
	{head: "SUPPORTS", wide: true, text: func(n orchestrator.Node) string { return strconv.Itoa(int(n.Supports)) }},
	{head: "TASKS", text: func(n orchestrator.Node) string { return strconv.Itoa(len(n.Tasks)) }},
	{head: "COPIES", text: func(n orchestrator.Node) string { return strconv.Itoa(len(n.Standbys)) }},
	{head: "STATE", text: nodeState},
}

// nodeState is what is wrong with a process, or ready.
func nodeState(n orchestrator.Node) string {
	var says []string
	add := func(is bool, text string) {
		if is {
			says = append(says, text)
		}
	}
	add(n.Unreachable, "does not answer")
	add(n.Draining, "draining")
	add(n.NotLive != "", "not live: "+n.NotLive)
	add(n.NotReady != "", "not ready: "+n.NotReady)
	for _, k := range n.Tasks {
		if k.RestoreTarget > k.RestoreNext {
			says = append(says, fmt.Sprintf("task %d restores, %d records left", k.Task, k.RestoreTarget-k.RestoreNext))
		}
	}
	for _, d := range n.Destinations {
		says = append(says, strings.TrimSpace(d.Topic+" "+d.State+" "+d.Reason))
	}
	if len(says) == 0 {
		return "ready"
	}
	return strings.Join(says, "; ")
}
