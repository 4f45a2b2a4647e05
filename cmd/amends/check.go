package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

func newCheckCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE...",
		Short:   "Check definitions and report everything that is wrong with them",
		Example: "  amends check card-payment.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			defs, err := readDefinitions(args)
			if err == nil {
				err = checkAll(defs)
			}
			var found sagas.Findings
			if errors.As(err, &found) {
				// The findings are what was asked for: data, not talk.
				fmt.Fprintln(t.out, found.Error())
				fmt.Fprintf(t.err, "amends: %s\n", plural(len(found), "finding"))
				return &codedError{code: exitFindings}
			}
			if err != nil {
				return err
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
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
