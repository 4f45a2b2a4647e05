package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newVersionCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(t.out, "amends %s (%s, %s/%s)\n", orchestrator.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
