package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

func newDevCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a broker, nodes and the sample's participants on this machine",
		Long: `Run an embedded broker, nodes and the card-payment sample with simulated participants, until Ctrl-C.
For development only: no login, one machine. The other commands find it by their defaults.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd, t) },
	}
	f := cmd.Flags()
	f.String("data-dir", "", "keep the broker's log and the stores there (default: in memory, gone at the end)")
	f.Int("nodes", 3, "amends nodes in this process")
	f.String("broker-listen", defaultBroker, "address of the broker")
	f.String("listen", defaultListen, "address of the first node's API; the others take the ports that follow")
	f.Bool("verbose", false, "log what the nodes do")
	return cmd
}

// devPatience is how long the nodes may take to be ready.
const devPatience = 30 * time.Second

func runDev(cmd *cobra.Command, t *terminal) error {
	f := cmd.Flags()
	dir, _ := f.GetString("data-dir")
	nodes, _ := f.GetInt("nodes")
	broker, _ := f.GetString("broker-listen")
	listen, _ := f.GetString("listen")
	verbose, _ := f.GetBool("verbose")
	if nodes < 1 || nodes > 12 {
		return usage("--nodes %d: want 1 to 12", nodes)
	}
	log := slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if verbose {
		log = slog.New(slog.NewTextHandler(t.err, nil))
	}
	def, err := sampleDefinition()
	if err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(cmd.Context(), devPatience)
	defer cancel()
	c, err := local.Start(ctx, local.Config{
		Namespace: defaultNamespace, BrokerAddr: broker, APIAddr: listen, Nodes: nodes, DataDir: dir, Logger: log,
	}, []*sagas.Definition{def})
	if err != nil {
		return err
	}
	if err := c.OpenShop(); err != nil {
		return errors.Join(err, c.Close())
	}
	owned, all := c.Tasks()
	t.say("amends %s dev: not for production (no login, one machine)", orchestrator.Version)
	if dir == "" {
		t.say("  Kafka    %s  embedded, in memory (keep it: --data-dir ./amends-data)", c.Broker.Addr)
	} else {
		t.say("  Kafka    %s  embedded, kept in %s", c.Broker.Addr, dir)
	}
	t.say("  API      http://%s  metrics /metrics", c.Nodes[0].Addr)
	t.say("  Nodes    %d running, %d of %d tasks owned in %s", len(c.Nodes), owned, all, since(began))
	t.say("  Sample   %s; psp, stock and ship are simulated, in memory", def.Ref())
	t.say("  Next     in another terminal: amends start card-payment --id order-1 -d amount=1500 --watch")
	t.say("           and a refusal:       amends start card-payment --id order-2 -d amount=%d --watch", 2*local.CaptureLimit)
	<-cmd.Context().Done()
	t.say("stopping")
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// say prints one line of data.
func (t *terminal) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }
