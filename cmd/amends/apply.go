package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newApplyCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:   "apply FILE|DIR...",
		Short: "Check and publish definitions, and make them the active versions",
		Long: `Check and publish definitions, and make each the active version of its saga: all of them or none.
A version never changes once it is published: raise the number instead. Running instances keep
the version that they were started with.`,
		Example: "  amends apply -f card-payment.yaml --brokers 127.0.0.1:9092 --namespace dev",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, _ := cmd.Flags().GetStringSlice("file")
			files = append(files, args...)
			if len(files) == 0 {
				return usage("apply needs at least one file: amends apply -f card-payment.yaml")
			}
			if err := conn.read(cmd); err != nil {
				return err
			}
			defs, err := readDefinitions(files)
			if err != nil {
				return err
			}
			create, _ := cmd.Flags().GetBool("create-topics")
			publish := orchestrator.Apply
			if activate, _ := cmd.Flags().GetBool("activate"); !activate {
				publish = orchestrator.Register
			}
			cfg := conn.orchestrator()
			cfg.CreateTopics = create
			done, err := publish(cmd.Context(), cfg, defs)
			if err != nil {
				return err
			}
			for _, p := range done {
				fmt.Fprintf(t.out, "%s@%d %s\n", p.Type, p.Version, describePublished(p))
			}
			return nil
		},
	}
	cmd.Flags().StringSliceP("file", "f", nil, "definition file, YAML or JSON; - is standard input")
	cmd.Flags().Bool("create-topics", true, "create missing topics of the namespace, of the participants and of domain events")
	cmd.Flags().Bool("activate", true, "make the versions the active ones; else later, with amends activate")
	kafkaFlags(cmd)
	return cmd
}

func describePublished(p orchestrator.Published) string {
	switch {
	case p.Registered && p.Activated:
		return "registered and active"
	case p.Registered:
		return "registered"
	case p.Activated:
		return "active again"
	}
	return "unchanged"
}
