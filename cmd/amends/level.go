package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newLevelCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:   "level",
		Short: "Show the feature level of a namespace and what its processes support",
		Long: `Show the feature level of a namespace and what its processes support.

Nothing above the level is written, so that during a rolling upgrade, and on the way back, no process meets
a record that it cannot read. When every process runs the new release: amends level finalize N.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := conn.read(cmd); err != nil {
				return err
			}
			l, err := orchestrator.DescribeLevel(cmd.Context(), conn.orchestrator())
			if err != nil {
				return err
			}
			return printAs(cmd, t, l, strconv.Itoa(int(l.Level)), func(w io.Writer) { printLevels(w, l) })
		},
	}
	outputFlag(cmd)
	kafkaFlags(cmd)
	return cmd
}

func printLevels(w io.Writer, l orchestrator.Levels) {
	fmt.Fprintf(w, "level %d, newest of this release %d\n", l.Level, l.Newest)
	if len(l.Members) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "PROCESS\tVERSION\tSUPPORTS")
	for _, m := range l.Members {
		fmt.Fprintf(tw, "%s\t%s\t%d\n", m.Address, orNone(m.Version), m.Level)
	}
	_ = tw.Flush() // standard output is gone: nobody to tell
}

func newFinalizeCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:   "finalize LEVEL",
		Short: "Raise the feature level of a namespace; there is no way back",
		Long: `Raise the feature level of a namespace. It is refused while a live process does not support the level. There
is no way back: a process of an older release stops at the first record of the new level, and loses nothing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			level, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return usage("%q is not a level", args[0])
			}
			if err := conn.read(cmd); err != nil {
				return err
			}
			l, err := orchestrator.FinalizeLevel(cmd.Context(), conn.orchestrator(), uint32(level))
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "level %d\n", l.Level)
			return nil
		},
	}
	kafkaFlags(cmd)
	return cmd
}

func newActivateCommand(t *terminal) *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:     "activate TYPE@VERSION",
		Short:   "Make a published version the active one: new starts take it",
		Long:    "Make a published version the active one: starts that name no version take it from now on. Running\ninstances keep the version that they were started with.",
		Example: "  amends activate card-payment@2 --brokers 127.0.0.1:9092",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, text, ok := strings.Cut(args[0], "@")
			version, err := strconv.ParseUint(text, 10, 32)
			if !ok || typ == "" || err != nil || version == 0 {
				return usage("%q is not TYPE@VERSION", args[0])
			}
			if err := conn.read(cmd); err != nil {
				return err
			}
			before, err := orchestrator.Activate(cmd.Context(), conn.orchestrator(), typ, uint32(version))
			switch {
			case err != nil:
				return err
			case uint64(before) == version:
				fmt.Fprintf(t.out, "%s active already\n", args[0])
			case before == 0:
				fmt.Fprintf(t.out, "%s active\n", args[0])
			default:
				fmt.Fprintf(t.out, "%s active, was @%d\n", args[0], before)
			}
			return nil
		},
	}
	kafkaFlags(cmd)
	return cmd
}
