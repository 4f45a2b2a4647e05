package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/sagas"
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
	f.StringSlice("brokers", []string{defaultBroker}, "Kafka seed brokers, host:port")
	f.AddFlagSet(brokerLoginFlags())
	profileFlag(cmd)
	f.String("data-dir", "", "directory of the inbox; not shared (default: in memory, read from Kafka at each start)")
	f.String("instance", "", "stable name of this process in the group (default: none, partitions move at once when it stops)")
	f.String("metrics-listen", "", "address that serves /metrics, /livez and /readyz (default: none)")
	f.Int("tasks", 0, "tasks of the bridge when its changelog is created (default: the partitions of the command topic)")
	f.Int("replication-factor", 0, "of topics that are created (default 3, or the number of brokers if smaller)")
	f.Bool("create-topics", true, "create missing topics")
	logFlags(cmd)
	return cmd
}

func runBridge(cmd *cobra.Command, t *terminal) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return &codedError{exitConfig, err}
	}
	var conn connection
	if err := conn.take(s); err != nil {
		return &codedError{exitConfig, err}
	}
	file := s.text("file")
	if file == "" {
		return &codedError{exitUsage, errors.New("name the file: -f bridge.yaml")}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b, err := bridge.Parse(file, src)
	var found sagas.Findings
	if errors.As(err, &found) {
		fmt.Fprintln(t.out, found.Error())
		fmt.Fprintf(t.err, "amends: %s\n", plural(len(found), "finding"))
		return &codedError{code: exitFindings}
	}
	if err != nil {
		return err
	}
	if s.yes("check") {
		fmt.Fprint(t.out, b.Describe())
		return nil
	}
	log, err := newLog(s, t)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	reg := prometheus.NewRegistry()
	r, err := bridge.New(bridge.Config{
		Bridge: b, Client: append([]kgo.Opt{kgo.SeedBrokers(conn.Brokers...)}, conn.Client...), DataDir: s.text("data-dir"), InstanceID: s.text("instance"),
		CreateTopics: s.yes("create-topics"), Tasks: int32(s.number("tasks")), Replication: int16(s.number("replication-factor")),
		Registerer: reg, Logger: log,
	})
	if err != nil {
		return &codedError{exitConfig, err}
	}
	stop, err := serveMetrics(s.text("metrics-listen"), reg, r.Worker(), log)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	defer stop()
	return r.Run(cmd.Context())
}
