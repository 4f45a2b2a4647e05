package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/derive"
)

func newDeriveCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "derive FILE",
		Short: "Run a stage that filters and maps a wide topic into slim ones",
		Long: `Run a stage that filters and maps a wide topic into slim ones, exactly once.

The file says what is read, what is kept and what is written (docs/streams.md). Start as many
processes as you like: they share the partitions. SIGTERM finishes the transaction in hand and
exits 0. A file with faults exits 5 and lists them all.`,
		Example:     "  amends derive slim.yaml --brokers kafka:9092\n  amends derive slim.yaml --check",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{annotationServer: "true"},
		RunE:        func(cmd *cobra.Command, args []string) error { return runDerive(cmd, t, args[0]) },
	}
	cmd.Flags().Bool("check", false, "check the file, print the topology and end")
	cmd.Flags().Int("tasks", 0, "tasks of the stage when it is created (default: the partitions of the source, at most 12)")
	flowFlags(cmd)
	return cmd
}

func runDerive(cmd *cobra.Command, t *terminal, file string) error {
	return runFlow(cmd, t, func(s settings) (declared, error) {
		src, err := os.ReadFile(file)
		if err != nil {
			return declared{}, err
		}
		stage, err := derive.Parse(file, src, func(name string) ([]byte, error) {
			if !filepath.IsLocal(name) {
				return nil, errors.New("want a file in the directory of the stage's file, or below")
			}
			return os.ReadFile(filepath.Join(filepath.Dir(file), name))
		})
		if err != nil {
			return declared{}, err
		}
		return declared{
			describe: func() (string, error) {
				built, err := stage.Topology(nil)
				if err != nil {
					return "", err
				}
				return built.String(), nil
			},
			build: func(client []kgo.Opt, reg *prometheus.Registry, log *slog.Logger) (flow, error) {
				return derive.New(derive.Config{
					Stage: stage, Client: client, CreateTopics: s.yes("create-topics"),
					Tasks: int32(s.number("tasks")), Replication: int16(s.number("replication-factor")), Registerer: reg, Logger: log,
				})
			},
		}, nil
	})
}
