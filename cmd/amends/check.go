package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

func newCheckCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check definitions and report everything that is wrong with them",
		Long: `Check definitions and report everything that is wrong with them.

With --schemas or --registry, what a definition reads, sends and keeps is checked against its Avro schemas. With
both, the schemas of the directory must also be compatible with what the registry holds.`,
		Example: "  amends check card-payment.yaml\n  amends check --schemas avro/ --registry http://registry:8081 card-payment.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defs, err := readDefinitions(args)
			if err == nil {
				err = checkAll(defs)
			}
			if err == nil {
				err = checkSchemas(cmd, t, defs)
			}
			if err != nil {
				return asked(t, err)
			}
			for _, d := range defs {
				if warnings := d.Warnings(); len(warnings) > 0 {
					fmt.Fprintln(t.out, warnings.Error())
				}
				fmt.Fprintf(t.out, "%s ok  %s\n", d.Ref(), plural(len(d.Steps), "step"))
			}
			return nil
		},
	}
	schemaFlags(cmd.Flags())
	return cmd
}

// checkSchemas checks definitions against schemas, when some are given.
func checkSchemas(cmd *cobra.Command, t *terminal, defs []*sagas.Definition) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return err
	}
	registry, dir, err := schemaSources(s)
	if err != nil || registry == nil && dir == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
	defer cancel()
	var found sagas.Findings
	refused := 0
	for _, d := range defs {
		findings, missing, err := typesOf(ctx, registry, dir, d)
		if err != nil {
			return &codedError{exitUnreachable, err}
		}
		found = append(found, findings...)
		if registry != nil && dir != nil {
			more, err := incompatible(ctx, registry, dir, d)
			if err != nil {
				return &codedError{exitUnreachable, err}
			}
			missing = append(missing, more...)
		}
		for _, m := range missing {
			fmt.Fprintf(t.out, "%s SG25 %s.\n", d.Ref(), m)
			refused++
		}
	}
	switch {
	case len(found) > 0:
		return found
	case refused > 0:
		fmt.Fprintf(t.err, "amends: %s\n", plural(refused, "finding"))
		return &codedError{code: exitFindings}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
