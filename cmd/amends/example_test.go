package main

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/topology"
)

// TestExamples plays every example: on the embedded broker, or on the cluster of KAFKA_SEEDS.
func TestExamples(t *testing.T) {
	for _, name := range examples.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &strings.Builder{}
			cfg := local.Config{
				Namespace: "example", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2,
				Logger: slog.New(slog.DiscardHandler),
				Timing: topology.Timing{Heartbeat: 200 * 1e6, Session: 6 * 1e9},
			}
			if seeds := os.Getenv("KAFKA_SEEDS"); seeds != "" {
				cfg.Brokers = strings.Split(seeds, ",")
				cfg.Namespace = "example-" + name
			}
			if err := playExample(t.Context(), &terminal{out: out, err: io.Discard}, name, cfg); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if testing.Verbose() {
				t.Log(out)
			}
		})
	}
}

func TestExampleNames(t *testing.T) {
	code, out, talk := execute(t, "example", "list")
	if code != exitOK || !strings.Contains(out, "card-payment") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if code, _, talk = execute(t, "example", "run", "nothing"); code != exitNotFound || !strings.Contains(talk, "card-payment") {
		t.Errorf("exit %d: %s", code, talk)
	}
}
