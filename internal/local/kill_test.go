package local

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// openSample starts a cluster with the card-payment sample.
func openSample(t *testing.T, nodes int, dir string) *Cluster {
	t.Helper()
	src, err := examples.Definition("card-payment")
	if err != nil {
		t.Fatal(err)
	}
	def, err := sagas.ParseDefinition("saga.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(t.Context(), Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: nodes, DataDir: dir,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second}, Logger: slog.New(slog.DiscardHandler)}, []*sagas.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.OpenShop(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKillNode: idle or under load, the others take over, and each effect happens once.
func TestKillNode(t *testing.T) {
	c := openSample(t, 3, "")
	k, err := c.KillNode(t.Context(), "2", 0)
	if err != nil || len(k.To) == 0 || k.Tasks == 0 {
		t.Fatalf("idle: %+v %v", k, err)
	}
	if k, err = c.KillNode(t.Context(), "1", 60); err != nil || k.Completed != 54 || k.Compensated != 6 || len(k.Faults) > 0 {
		t.Fatalf("under load: %+v %v", k, err)
	}
	for _, name := range []string{"1", "3", "4"} { // dead, the last one, never there
		if _, err := c.KillNode(t.Context(), name, 0); !errors.Is(err, ErrNoSuchNode) {
			t.Errorf("node %s: %v", name, err)
		}
	}
}

// TestAdvance: a deadline of the far future is over at once, and the clock stays ahead over a restart.
func TestAdvance(t *testing.T) {
	dir := t.TempDir()
	c := openSample(t, 1, dir)
	if err := c.Advance(0); err == nil {
		t.Error("a step of nothing was taken")
	}
	if err := c.Advance(-time.Hour); err == nil {
		t.Error("a step back was taken")
	}
	if err := c.Advance(7 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	again, err := newClock(c.Clock.file)
	if err != nil || again.Offset() != 7*24*time.Hour {
		t.Errorf("kept: %s %v", again.Offset(), err)
	}
	if ahead := time.Until(c.Clock.Now()); ahead < 6*24*time.Hour {
		t.Errorf("the clock is ahead by %s", ahead)
	}
}
