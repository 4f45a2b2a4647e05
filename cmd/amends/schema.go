package main

import (
	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

func newSchemaCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of definitions, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of definitions. An editor that knows it completes the fields,
shows what they mean and marks what does not belong there. amends check finds more than it can.

With the YAML language server (VS Code, Neovim, Emacs, Helix), write the schema to a file and begin
each definition with

  # yaml-language-server: $schema=definition.schema.json`,
		Example: "  amends schema > definition.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := t.out.Write(sagas.Schema())
			return err
		},
	}
}
