package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newDefListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the published versions and which of them are active",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var conn connection
			if err := conn.read(cmd); err != nil {
				return err
			}
			var answer struct{ Definitions []orchestrator.DefinitionInfo }
			if err := conn.api().get(cmd.Context(), "/api/v1/definitions", nil, &answer); err != nil {
				return err
			}
			return printList(cmd, t, answer.Definitions, func(d orchestrator.DefinitionInfo) string { return d.Type + "@" + strconv.Itoa(int(d.Version)) }, []column[orchestrator.DefinitionInfo]{
				{head: "SAGA", text: func(d orchestrator.DefinitionInfo) string { return d.Type }},
				{head: "VERSION", text: func(d orchestrator.DefinitionInfo) string { return strconv.Itoa(int(d.Version)) }},
				{head: "ACTIVE", text: func(d orchestrator.DefinitionInfo) string {
					if d.Active {
						return "yes"
					}
					return "no"
				}},
				{head: "DIGEST", wide: true, text: func(d orchestrator.DefinitionInfo) string { return d.Digest }},
				{head: "STEPS", wide: true, text: func(d orchestrator.DefinitionInfo) string { return strings.Join(d.Steps, ",") }},
				{head: "FAULT", text: func(d orchestrator.DefinitionInfo) string { return d.Fault }},
			})
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}
