package main

import (
	"encoding/json"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/amendsio/amends/asyncapi"
)

func newAsyncAPICommand(t *terminal) *cobra.Command {
	var format, out string
	cmd := &cobra.Command{
		Use:   "asyncapi [FILE…]",
		Short: "Describe the topics of definitions as an AsyncAPI 3 document",
		Long: `Describe what goes over Kafka as an AsyncAPI 3.0 document: commands, replies, starts, signals and
events, with headers and payloads as far as the definitions say.

With files it is made from them, for --namespace, and nobody is asked. Without, it is that of the active
definitions of a namespace, from the API of any process.`,
		Example: "  amends asyncapi saga.yaml --namespace pay -o yaml\n  amends asyncapi --server http://127.0.0.1:8480 --out pay.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var doc []byte
			if len(args) == 0 {
				api, err := apiOf(cmd)
				if err != nil {
					return err
				}
				var raw json.RawMessage
				if err := api.get(cmd.Context(), "/api/v1/asyncapi", nil, &raw); err != nil {
					return err
				}
				doc = append(raw, '\n')
			} else {
				defs, err := readDefinitions(args)
				if err != nil {
					return err
				}
				s, err := readSettings(cmd, "")
				if err != nil {
					return &codedError{exitUsage, err}
				}
				o := asyncapi.Options{Namespace: s.text("namespace")}
				if s.origin("brokers") != "default" {
					o.Brokers = s.list("brokers")
				}
				if doc, err = asyncapi.Document(o, defs); err != nil {
					return &codedError{exitUsage, err}
				}
			}
			switch format {
			case "json":
			case "yaml":
				var tree any
				if err := json.Unmarshal(doc, &tree); err != nil {
					return err
				}
				var err error
				if doc, err = yaml.Marshal(tree); err != nil {
					return err
				}
			default:
				return usage("-o %s is not a known format: json, yaml", format)
			}
			if out != "" && out != "-" {
				return os.WriteFile(out, doc, 0o644)
			}
			_, err := t.out.Write(doc)
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "json", "json or yaml")
	cmd.Flags().StringVar(&out, "out", "", "file to write instead of standard output")
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}
