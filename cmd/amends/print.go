package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

func outputFlag(cmd *cobra.Command, formats string) {
	cmd.Flags().StringP("output", "o", "table", formats)
}

// printAs writes v in the format that the command was asked for.
func printAs(cmd *cobra.Command, t *terminal, v any, table func(io.Writer)) error {
	format, _ := cmd.Flags().GetString("output")
	switch format {
	case "table":
		table(t.out)
		return nil
	case "json":
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		// Through JSON, so that both formats have the same names.
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var tree any
		if err := yaml.Unmarshal(raw, &tree); err != nil {
			return err
		}
		out, err := yaml.Marshal(tree)
		if err == nil {
			_, err = t.out.Write(out)
		}
		return err
	}
	return usage("-o %s is not a known format", format)
}
