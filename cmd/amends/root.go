package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// Addresses that a developer's machine has by default.
const (
	defaultBroker    = "127.0.0.1:9092"
	defaultServer    = "http://127.0.0.1:8480"
	defaultListen    = "127.0.0.1:8480"
	defaultNamespace = "dev"
)

func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   "amends",
		Short: "Sagas on Kafka: run them, publish definitions, start and watch instances",
		Long: `amends runs sagas on Kafka and needs nothing else.

Every flag can be set by an environment variable: --data-dir is AMENDS_DATA_DIR.
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 findings, 6 wait timed out,
7 unreachable, 8 the awaited instance was compensated, 9 it failed or needs attention,
78 bad server configuration, 130 interrupted.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.AddCommand(
		newDemoCommand(t),
		newDevCommand(t),
		newRunCommand(t),
		newApplyCommand(t),
		newCheckCommand(t),
		newProveCommand(t),
		newTestCommand(t),
		newFmtCommand(t),
		newDiffCommand(t),
		newDiagramCommand(t),
		newSchemaCommand(t),
		newStartCommand(t),
		newGetCommand(t),
		newListCommand(t),
		newSignalCommand(t),
		newCancelCommand(t),
		newTasksCommand(t),
		newDecideCommand(t, "approve"),
		newDecideCommand(t, "refuse"),
		newTaskCommand(t),
		newInstanceCommand(t),
		newActivateCommand(t),
		newLevelCommand(t),
		newExampleCommand(t),
		newBenchCommand(t),
		newCeilingCommand(t),
		newDeriveCommand(t),
		newVersionCommand(t),
	)
	root.AddCommand(newOperationCommands(t)...)
	return root
}

// connection are the flags of commands that talk to Kafka or to the API.
type connection struct {
	Brokers   []string
	Namespace string
	Server    string
}

func (c *connection) kafkaFlags(cmd *cobra.Command) {
	cmd.Flags().StringSlice("brokers", []string{defaultBroker}, "Kafka seed brokers, host:port")
	cmd.Flags().String("namespace", defaultNamespace, "prefix of all topics of one deployment")
}

func (c *connection) serverFlag(cmd *cobra.Command) {
	cmd.Flags().String("server", defaultServer, "base URL of the API of any amends process")
}

// read fills c from flags and environment.
func (c *connection) read(cmd *cobra.Command) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return &codedError{exitUsage, err}
	}
	c.Brokers, c.Namespace = s.list("brokers"), s.text("namespace")
	c.Server = strings.TrimRight(s.text("server"), "/")
	if c.Server != "" && !strings.Contains(c.Server, "://") {
		c.Server = "http://" + c.Server
	}
	return nil
}
