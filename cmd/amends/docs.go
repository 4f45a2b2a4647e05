package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/amendsio/amends/docs"
	"github.com/amendsio/amends/internal/nearest"
	"github.com/amendsio/amends/orchestrator"
)

// page is one page of the documentation.
type page struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

func newDocsCommand(t *terminal) *cobra.Command {
	var man string
	cmd := &cobra.Command{
		Use:   "docs [PAGE|CODE]",
		Short: "Read the documentation, or what an error code means and what to do",
		Long: `Read the documentation, which is in this program: without a name the list of pages, else a page in
Markdown, or what the code of an error means and what to do about it.`,
		Example:           "  amends docs guide | less\n  amends docs SG10\n  amends docs --man /usr/local/share/man/man1",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(append(docs.Pages(), docs.Codes()...), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case man != "":
				return writeManPages(cmd.Root(), man)
			case len(args) == 0:
				var rows []page
				for _, name := range docs.Pages() {
					rows = append(rows, page{name, docs.Title(name)})
				}
				return printList(cmd, t, rows, func(p page) string { return p.Name }, []column[page]{
					{head: "PAGE", text: func(p page) string { return p.Name }},
					{head: "TITLE", text: func(p page) string { return p.Title }},
				})
			}
			if text, ok := docs.Code(strings.ToUpper(args[0])); ok {
				t.say("%s", text)
				return nil
			}
			if text, ok := docs.Page(args[0]); ok {
				_, err := fmt.Fprint(t.out, text)
				return err
			}
			says := ""
			if near := nearest.Name(args[0], slices.Concat(docs.Pages(), docs.Codes())); near != "" {
				says = fmt.Sprintf(" Did you mean %q?", near)
			}
			return withCode(exitNotFound, "there is no page and no code %q.%s The list: amends docs", args[0], says)
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "write man pages into this directory")
	outputFlag(cmd)
	return cmd
}

// manHeader has no date, so that the pages of one release are the same wherever they are made.
func manHeader() *doc.GenManHeader {
	return &doc.GenManHeader{Section: "1", Source: "amends " + orchestrator.Version, Manual: "amends"}
}

func writeManPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, manHeader(), dir)
}

// cliReference is docs/cli.md: every command, from the same source as the help and the man pages.
func cliReference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Command line

<!-- Made from the commands by TestReference: make golden. Do not edit. -->

%s

`, root.Long)
	b.WriteString("Man pages: `amends docs --man DIR`. Completion: `amends completion bash|zsh|fish|powershell`.\n")
	b.WriteString("\n## Connection\n\nCommands that talk to Kafka or the API take these, and `amends config profiles` keeps them under a name.\n\n")
	shared := &cobra.Command{}
	kafkaFlags(shared)
	serverFlags(shared)
	isShared := map[string]bool{}
	writeFlags(&b, shared.Flags(), func(f *pflag.Flag) bool { isShared[f.Name] = true; return true })
	for _, n := range nouns() {
		for _, c := range root.Commands() {
			if c.Name() == n.name && !c.Hidden {
				writeReference(&b, c, n, isShared)
			}
		}
	}
	return b.String()
}

func writeReference(b *strings.Builder, c *cobra.Command, n noun, shared map[string]bool) {
	fmt.Fprintf(b, "\n## %s\n", n.name)
	if n.itself != nil {
		writeCommand(b, c, nil, shared)
	} else {
		fmt.Fprintf(b, "\n%s.\n", c.Short)
	}
	for _, v := range n.verbs {
		for _, sub := range c.Commands() {
			if sub.Name() != v.name {
				continue
			}
			fmt.Fprintf(b, "\n### %s %s\n", n.name, v.name)
			writeCommand(b, sub, v.short, shared)
			for _, deeper := range sub.Commands() {
				fmt.Fprintf(b, "\n#### %s %s %s\n", n.name, v.name, deeper.Name())
				writeCommand(b, deeper, nil, shared)
			}
		}
	}
}

func writeCommand(b *strings.Builder, c *cobra.Command, short []string, shared map[string]bool) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	if len(short) > 0 {
		text += "\n\nShort: `amends " + strings.Join(short, "`, `amends ") + "`."
	}
	// What is indented is code in Markdown already.
	fmt.Fprintf(b, "\n%s\n\n    %s\n", text, c.UseLine())
	if c.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n")
		for l := range strings.Lines(c.Example) {
			fmt.Fprintf(b, "    %s\n", strings.TrimSpace(l))
		}
	}
	var own strings.Builder
	connects := false
	writeFlags(&own, c.NonInheritedFlags(), func(f *pflag.Flag) bool {
		connects = connects || shared[f.Name]
		return !shared[f.Name] && f.Name != "help"
	})
	if own.Len() > 0 {
		fmt.Fprintf(b, "\n%s", own.String())
	}
	if connects {
		b.WriteString("\nAnd flags of the [connection](#connection).\n")
	}
}

func writeFlags(b *strings.Builder, f *pflag.FlagSet, take func(*pflag.Flag) bool) {
	var rows []string
	f.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || !take(f) {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		def := strings.Trim(f.DefValue, "[]")
		if def != "" && def != "false" && def != "0" && def != "0s" {
			def = "`" + def + "`"
		} else {
			def = ""
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, def, strings.ReplaceAll(f.Usage, "|", `\|`)))
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "| flag | default | meaning |\n| --- | --- | --- |\n%s", strings.Join(rows, ""))
	}
}

// manName is the file of a command's man page.
func manName(c *cobra.Command) string {
	return filepath.Base(strings.ReplaceAll(c.CommandPath(), " ", "-")) + ".1"
}
