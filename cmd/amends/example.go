package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
)

// examplePatience is how long all runs of one example may take.
const examplePatience = 2 * time.Minute

func newExampleRunCommand(t *terminal) *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run NAME|DIR",
		Short: "Play one example, or a saga of yours with its story, on an embedded broker",
		Long: `Play one example, or a directory with saga.yaml and story.yaml, on an embedded broker and two nodes, all in this process, with participants that
answer as its story.yaml says. At the end every effect is compared with what the sagas say of their
steps; the exit code is 1 when any does not agree. Nothing is kept and nothing leaves this machine.`,
		Example:           "  amends example run trip-booking\n  amends example run ./refund",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(examples.Names(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(t.err, nil))
			}
			return playExample(cmd.Context(), t, args[0], local.Config{
				Namespace: "example", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2, Logger: log,
			})
		},
	}
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log what the nodes do")
	return cmd
}

// exampleRow is one example of the list.
type exampleRow struct {
	Name string `json:"name"`
	Says string `json:"says"`
}

func newExampleListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the examples",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rows []exampleRow
			for _, name := range examples.Names() {
				src, err := examples.Definition(name)
				if err != nil {
					return err
				}
				rows = append(rows, exampleRow{name, firstSentence(src)})
			}
			return printList(cmd, t, rows, func(r exampleRow) string { return r.Name }, []column[exampleRow]{
				{head: "EXAMPLE", text: func(r exampleRow) string { return r.Name }},
				{head: "WHAT", text: func(r exampleRow) string { return r.Says }},
			})
		},
	}
	outputFlag(cmd)
	return cmd
}

// firstSentence is what the comment at the top of a definition begins with.
func firstSentence(src []byte) string {
	text := ""
	for l := range strings.Lines(string(src)) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "#") || l == "#" {
			break
		}
		text += strings.TrimPrefix(l, "#")
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), ". ")
	return strings.TrimSuffix(text, ".")
}

// readExample reads an example of this program, or a directory with the same files.
func readExample(name string) (*sagas.Definition, *local.Story, error) {
	definition, story := func() ([]byte, error) { return examples.Definition(name) }, func() ([]byte, error) { return examples.Story(name) }
	if isDir(name) {
		definition = func() ([]byte, error) { return readFile(name) }
		story = func() ([]byte, error) { return readFile(filepath.Join(name, "story.yaml")) }
	}
	src, err := definition()
	if err != nil {
		return nil, nil, withCode(exitNotFound, "%v; there are %s", err, strings.Join(examples.Names(), ", "))
	}
	def, err := sagas.ParseDefinition(filepath.Join(name, "saga.yaml"), src)
	if err != nil {
		return nil, nil, err
	}
	if src, err = story(); err != nil {
		return nil, nil, withCode(exitUsage, "%w", err)
	}
	read, err := local.ReadStory(src, def)
	return def, read, err
}

func playExample(ctx context.Context, t *terminal, name string, cfg local.Config) error {
	def, story, err := readExample(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, examplePatience)
	defer cancel()
	c, err := local.Start(ctx, cfg, []*sagas.Definition{def})
	if err != nil {
		return err
	}
	defer c.Close()
	t.say("%s on %d nodes, Kafka %s", def.Ref(), len(c.Nodes), strings.Join(c.Brokers, ","))
	told := ""
	var last sagas.View
	show := func(v sagas.View) {
		for _, l := range stepLines(v, nil) {
			t.say("%s", l.text)
		}
		t.say("  %s", summary(v))
	}
	cast, err := c.Play(ctx, def, story, func(r local.Run, v sagas.View) {
		if told != r.Name {
			told = r.Name
			t.say("\n%s: %s", r.Name, r.Says)
		}
		if last = v; v.EndedAt != 0 {
			show(v)
		}
	})
	if err != nil {
		if last.EndedAt == 0 {
			show(last)
		}
		return withCode(exitError, "%v", err)
	}
	done, undone := cast.Effects()
	t.say("\n%s %d sagas ended as they should; %d effects, %d of them taken back, each once", markDone, len(story.Runs), done, undone)
	return nil
}
