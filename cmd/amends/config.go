package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setting is one line of config show.
type setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func newConfigShowCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show each setting, its value and where that comes from; secrets are masked",
		Long: `Show each setting of the connection, its value and where that comes from: a flag, a variable, a file or
profile with its line, or the default. With --config it is the settings of amends run with that file.
Secrets are masked.`,
		Example: "  amends config show\n  amends config show --profile prod\n  amends config show --config /etc/amends/amends.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, _ := cmd.Flags().GetString("config")
			of := cmd
			if file != "" {
				of = newRunCommand(t)
				cmd.Root().AddCommand(of) // the variables are checked against all commands
				defer cmd.Root().RemoveCommand(of)
				cmd.Flags().Visit(func(f *pflag.Flag) {
					if mine := of.Flags().Lookup(f.Name); mine != nil {
						_ = of.Flags().Set(f.Name, f.Value.String()) // it was parsed once
					}
				})
			}
			s, err := readSettings(of, file)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			rows := shownSettings(of, s)
			if err := printList(cmd, t, rows, func(r setting) string { return r.Key }, settingColumns); err != nil {
				return err
			}
			for _, n := range s.notes {
				fmt.Fprintln(t.err, "amends:", n)
			}
			return nil
		},
	}
	cmd.Flags().String("config", "", "file of amends run")
	kafkaFlags(cmd)
	serverFlags(cmd)
	outputFlag(cmd)
	return cmd
}

var settingColumns = []column[setting]{
	{head: "SETTING", text: func(s setting) string { return s.Key }},
	{head: "VALUE", text: func(s setting) string { return orNone(s.Value) }},
	{head: "ORIGIN", text: func(s setting) string { return s.Origin }},
}

// shownSettings are the settings of a command, in the order of their names.
func shownSettings(cmd *cobra.Command, s settings) []setting {
	var rows []setting
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "help", "output", "no-input", "config", "profile":
			return
		}
		value := s.text(f.Name)
		if f.Value.Type() == "stringSlice" {
			value = strings.Join(s.list(f.Name), ",")
		}
		if secretKeys[f.Name] && value != "" {
			value = "********"
		}
		if strings.HasPrefix(value, "-----BEGIN ") { // PEM in a properties file: a key may be among it
			value = "(PEM)"
		}
		rows = append(rows, setting{f.Name, value, s.origin(f.Name)})
	})
	return rows
}

// reference is one line of config reference.
type reference struct {
	Key     string `json:"key"`
	Env     string `json:"env"`
	Type    string `json:"type"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

func newConfigReferenceCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reference",
		Short: "List every setting of amends run: key in the file, variable, default",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printList(cmd, t, references(newRunCommand(t)), func(r reference) string { return r.Key }, []column[reference]{
				{head: "KEY", text: func(r reference) string { return r.Key }},
				{head: "VARIABLE", text: func(r reference) string { return r.Env }},
				{head: "DEFAULT", text: func(r reference) string { return orNone(r.Default) }},
				{head: "MEANING", text: func(r reference) string { return r.Help }},
			})
		},
	}
	outputFlag(cmd)
	return cmd
}

// references are the settings of a command, from its flags.
func references(cmd *cobra.Command) []reference {
	var rows []reference
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			rows = append(rows, reference{f.Name, envName(f.Name), strings.TrimSuffix(f.Value.Type(), "Slice"), strings.Trim(f.DefValue, "[]"), f.Usage})
		}
	})
	return rows
}

func newConfigProfilesCommand(t *terminal) *cobra.Command {
	type row struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		Path    string `json:"path"`
	}
	cmd := &cobra.Command{
		Use:   "profiles",
		Short: "List the connection profiles; each holds the flags of a connection under a name",
		Long: `List the connection profiles: profiles.yaml in the configuration directory ($XDG_CONFIG_HOME/amends).

  current: prod
  profiles:
    prod:
      brokers: [kafka-1:9093, kafka-2:9093]
      namespace: pay
      server: http://amends.internal:8480
      kafka-config: /home/me/client.properties   # of a Java client, if you have one
    dev: {}

A profile holds the flags of a connection. Without --profile the current one is taken, but not by servers.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := readProfiles()
			if err != nil {
				return &codedError{exitUsage, err}
			}
			rows := []row{}
			for _, name := range p.names() {
				rows = append(rows, row{name, name == p.current, p.path})
			}
			if len(rows) == 0 {
				fmt.Fprintf(t.err, "amends: there are none; write them to %s\n", p.path)
			}
			return printList(cmd, t, rows, func(r row) string { return r.Name }, []column[row]{
				{head: "PROFILE", text: func(r row) string { return r.Name }},
				{head: "CURRENT", text: func(r row) string {
					if r.Current {
						return "yes"
					}
					return ""
				}},
				{head: "FILE", wide: true, text: func(r row) string { return r.Path }},
			})
		},
	}
	outputFlag(cmd)
	return cmd
}

func newConfigUseCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "use PROFILE",
		Short: "Make a profile the current one",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			p, err := readProfiles()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return p.names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := readProfiles()
			if err == nil {
				_, err = readProfile(args[0], false)
			}
			if err != nil {
				return &codedError{exitUsage, err}
			}
			if err := p.use(args[0]); err != nil {
				return err
			}
			t.say("%s", args[0])
			return nil
		},
	}
}

// use writes the name of the current profile and leaves the rest of the file as it is, comments included.
func (p *profiles) use(name string) error {
	src, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(src), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "current:") {
			lines = append(lines[:i], lines[i+1:]...)
			break
		}
	}
	text := "current: " + fmt.Sprintf("%q", name) + "\n" + strings.Join(lines, "\n")
	// A crash on the way must not leave half a file.
	temp := filepath.Join(filepath.Dir(p.path), ".profiles.yaml.new")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, p.path)
}
