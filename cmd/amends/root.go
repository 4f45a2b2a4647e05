package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   "amends",
		Short: "Sagas on Kafka: run them, publish definitions, start and watch instances",
		Long: `amends runs sagas on Kafka and needs nothing else.

Commands are a noun and a verb, such as amends instance list; the common ones are short, such as amends ls.
Data goes to standard output, talk to standard error. Every flag can be set by an environment variable:
--data-dir is AMENDS_DATA_DIR; where a setting comes from says amends config show.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 findings, 6 wait timed out,
7 unreachable, 8 the awaited instance was compensated, 9 it failed or needs attention,
78 bad server configuration, 130 interrupted.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.PersistentFlags().Bool("no-input", false, "never ask: what would ask fails, unless --yes")
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if silent, _ := cmd.Flags().GetBool("no-input"); silent {
			t.in = nil
		}
	}
	root.SetUsageTemplate(usageTemplate)
	addVerbs(root, t)
	return root
}

func init() {
	cobra.AddTemplateFunc("ownFlags", func(c *cobra.Command) string { return flagsWhere(c, false) })
	cobra.AddTemplateFunc("connectionFlags", func(c *cobra.Command) string { return flagsWhere(c, true) })
}

// flagsWhere is the help of those local flags that say how to connect, or of the others.
func flagsWhere(c *cobra.Command, connection bool) string {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if (f.Annotations[annotationConnection] != nil) == connection {
			set.AddFlag(f)
		}
	})
	return strings.TrimRight(set.FlagUsages(), "\n")
}

// usageTemplate is cobra's with the flags of the connection apart: they are many and always the same.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Available Commands:{{range $cmds}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{ownFlags .}}{{with connectionFlags .}}

How to connect (or set it once, see amends config profiles):
{{.}}{{end}}{{end}}{{if .HasAvailableInheritedFlags}}

Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

Use "{{.CommandPath}} [command] --help" for more information about a command.{{end}}
`
