package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
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
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Definitions []orchestrator.DefinitionInfo }
			if err := api.get(cmd.Context(), "/api/v1/definitions", nil, &answer); err != nil {
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

// definitionDetail is one version and what runs on it.
type definitionDetail struct {
	orchestrator.DefinitionInfo
	Instances []orchestrator.CensusRow `json:"instances"`
}

func newDefShowCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show TYPE[@VERSION]",
		Short:   "Show a published version and how many instances run on it",
		Example: "  amends def show card-payment\n  amends def show card-payment@1 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, text, _ := strings.Cut(args[0], "@")
			version := uint64(0) // the active one
			if text != "" {
				var err error
				if version, err = strconv.ParseUint(text, 10, 32); err != nil {
					return usage("%q is not TYPE@VERSION", args[0])
				}
			}
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := api.get(cmd.Context(), "/api/v1/definitions/"+url.PathEscape(typ)+"/"+strconv.FormatUint(version, 10), nil, &raw); err != nil {
				return err
			}
			var d definitionDetail
			if err := json.Unmarshal(raw, &d); err != nil {
				return err
			}
			ref := d.Type + "@" + strconv.Itoa(int(d.Version))
			return printAs(cmd, t, raw, ref, func(w io.Writer) {
				active := ""
				if d.Active {
					active = "  active"
				}
				fmt.Fprintf(w, "%s%s  digest %.12s\n", ref, active, d.Digest)
				for _, r := range d.Instances {
					fmt.Fprintf(w, "  %-14s %d\n", r.Status, r.N)
				}
			})
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}
