package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/participant/conformance"
)

func newConformanceCommand(t *terminal) *cobra.Command {
	var cfg conformance.Config
	var accept, refuse, slow, restart, effects string
	var reports []string
	cmd := &cobra.Command{
		Use:   "conformance --participant NAME",
		Short: "Play the nasty cases of the contract against a running participant",
		Long: `Play the nasty cases of the contract against a running participant, over Kafka, and say which it gets wrong:
duplicates, an undo that comes first or in the middle, a refusal that must not be forgotten, a deadline that has
passed, a command of an aborted transaction, a reply on the wrong partition (amends docs participants).

The participant does what it is told: run this against a test system. Commands go to its own topic, replies come to
a topic that is made for the run. --accept, --refuse and --slow are payloads as its business knows them.

With --restart, a shell command that kills it without warning and starts it again, cases go over a crash. With
--effects, a shell command that prints how often the effect of the do with key $SAGA_KEY stands (0 or 1), every case
counts. The exit code is 5 when a case failed.`,
		Example: `  amends conformance --participant stock --do reserve --undo release
  amends conformance --participant stock --accept '{"sku":"lamp","quantity":1}' --refuse '{"sku":"lamp","quantity":99}' \
      --restart 'systemctl kill -s KILL stock; systemctl start stock' \
      --effects 'psql -tAc "select count(*) from reservation where saga_key = '\''$SAGA_KEY'\''"' --report stock.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var conn connection
			if err := conn.read(cmd); err != nil {
				return err
			}
			if _, err := formatOfOutput(cmd); err != nil {
				return err
			}
			for _, file := range reports {
				if ext := filepath.Ext(file); ext != ".md" && ext != ".json" && ext != ".txt" {
					return usage("--report %s: the name tells the format, want .md, .json or .txt", file)
				}
			}
			cfg.Client = conn.kafka()
			cfg.Accept, cfg.Refuse, cfg.Slow = json.RawMessage(accept), json.RawMessage(refuse), json.RawMessage(slow)
			if restart != "" {
				cfg.Restart = func(ctx context.Context) error { return shell(ctx, restart, nil, t.err) }
			}
			if effects != "" {
				cfg.Effects = func(ctx context.Context, key string) (int, error) { return countEffects(ctx, effects, key, t.err) }
			}
			if t.tty {
				cfg.Progress = func(one conformance.Result) { fmt.Fprintf(t.err, "%-7s  %s\n", one.Verdict(), one.Case) }
			}
			report, err := conformance.Run(cmd.Context(), cfg)
			if errors.Is(err, conformance.ErrSilent) {
				return &codedError{exitTimeout, err}
			}
			if err != nil {
				return err
			}
			report.Version = orchestrator.Version
			for _, file := range reports {
				if err := writeReport(file, report); err != nil {
					return err
				}
			}
			if err := printAs(cmd, t, report, report.Participant, func(w io.Writer) { printConformance(w, report) }); err != nil {
				return err
			}
			if !report.Passed {
				return &codedError{code: exitFindings}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Participant, "participant", "", "the participant, as definitions call it")
	_ = cmd.MarkFlagRequired("participant") // the flag is there
	f.StringVar(&cfg.Topic, "topic", "", "topic of its commands (default cmd.<participant>)")
	f.StringVar(&cfg.ReplyTopic, "reply-topic", "", "topic for its replies, which must be there (default: one is made and deleted)")
	f.StringVar(&cfg.Do, "do", "reserve", "name of a command")
	f.StringVar(&cfg.Undo, "undo", "release", "name of the command that undoes it")
	f.StringVar(&cfg.Inquire, "inquire", "", "name of the command that asks about it (default: that case is skipped)")
	f.StringVar(&accept, "accept", `{"amount":5}`, "payload that it accepts, JSON (the defaults are for examples/participants)")
	f.StringVar(&refuse, "refuse", `{"amount":2000000}`, "payload that its business refuses; empty: cases that need it are skipped")
	f.StringVar(&slow, "slow", `{"amount":5,"sleepMs":1500}`, "payload that it accepts after a second or more; empty: there is none")
	f.DurationVar(&cfg.Wait, "wait", 30*time.Second, "how long to wait for an answer")
	f.DurationVar(&cfg.Ready, "ready", time.Minute, "how long to wait for the first answer of all")
	f.StringVar(&restart, "restart", "", "shell command that kills the participant and starts it again")
	f.StringVar(&effects, "effects", "", "shell command that prints how often the effect of key $SAGA_KEY stands")
	f.StringArrayVar(&reports, "report", nil, "write the report to a file: .md, .json or .txt (repeatable)")
	outputFlag(cmd)
	kafkaFlags(cmd)
	return cmd
}

func shell(ctx context.Context, text string, out, talk io.Writer, env ...string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, talk
	cmd.WaitDelay = time.Second // what it has left running may hold its output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

func countEffects(ctx context.Context, text, key string, talk io.Writer) (int, error) {
	var out bytes.Buffer
	if err := shell(ctx, text, &out, talk, "SAGA_KEY="+key); err != nil {
		return 0, fmt.Errorf("--effects: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		return 0, fmt.Errorf("--effects: want a number on its output, got %q", out.String())
	}
	return n, nil
}

func writeReport(file string, r *conformance.Report) error {
	var b bytes.Buffer
	var err error
	switch filepath.Ext(file) {
	case ".md":
		err = r.Markdown(&b)
	case ".json":
		err = encode(&b, "json", r)
	default:
		printConformance(&b, r)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func printConformance(w io.Writer, r *conformance.Report) {
	printTable(w, r.Results, []column[conformance.Result]{
		{head: "CASE", text: func(one conformance.Result) string { return one.Case }},
		{head: "RULES", text: func(one conformance.Result) string { return one.Rules }},
		{head: "VERDICT", text: func(one conformance.Result) string { return one.Verdict() }},
	}, false)
	for _, one := range r.Results {
		for _, line := range one.Faults {
			fmt.Fprintf(w, "\n%s: %s\n", one.Case, line)
		}
		for _, line := range one.Notes {
			fmt.Fprintf(w, "\n%s: note: %s\n", one.Case, line)
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.Summary())
	for _, line := range r.Notes {
		fmt.Fprintln(w, line)
	}
}
