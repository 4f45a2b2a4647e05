package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bridge"
)

func newBridgeCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bridge",
		Short: "Run a participant that is declared in a file: commands become calls over HTTP",
		Long: `Run a participant that is declared in a file: its commands become calls over HTTP, with an
Idempotency-Key, and the answers become replies.

The file says what is called and what the answers mean (docs/bridge.md). Start as many processes as you
like: they share the partitions. SIGTERM waits for the calls that are under way and exits 0. A file with
faults exits 5 and lists them all.`,
		Example:     "  amends bridge -f psp.yaml --brokers kafka:9092\n  amends bridge -f psp.yaml --check",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{annotationServer: "true"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return runBridge(cmd, t) },
	}
	f := cmd.Flags()
	f.StringP("file", "f", "", "the file that declares the participant (required)")
	f.Bool("check", false, "check the file, print what is called and end")
	f.String("data-dir", "", "directory of the inbox; not shared (default: in memory, read from Kafka at each start)")
	f.String("instance", "", "stable name of this process in the group (default: none, partitions move at once when it stops)")
	f.Int("tasks", 0, "tasks of the bridge when its changelog is created (default: the partitions of the command topic)")
	flowFlags(cmd)
	return cmd
}

func runBridge(cmd *cobra.Command, t *terminal) error {
	return runFlow(cmd, t, func(s settings) (declared, error) {
		file := s.text("file")
		if file == "" {
			return declared{}, &codedError{exitUsage, errors.New("name the file: -f bridge.yaml")}
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return declared{}, err
		}
		b, err := bridge.Parse(file, src)
		if err != nil {
			return declared{}, err
		}
		return declared{
			describe: func() (string, error) { return b.Describe(), nil },
			build: func(client []kgo.Opt, reg *prometheus.Registry, log *slog.Logger) (flow, error) {
				return bridge.New(bridge.Config{
					Bridge: b, Client: client, DataDir: s.text("data-dir"), InstanceID: s.text("instance"), CreateTopics: s.yes("create-topics"),
					Tasks: int32(s.number("tasks")), Replication: int16(s.number("replication-factor")), Registerer: reg, Logger: log,
				})
			},
		}, nil
	})
}
