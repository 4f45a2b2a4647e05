package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

const parcelDefinition = `
saga: parcel
version: 1
participants:
  ship:
    ops: [do]
steps:
  - id: ship
    call: ship.create
    kind: retriable
    attempt: 1s
    retry: {backoff: 30s, factor: 1, jitter: 0}
    alertAfter: 2s
`

// TestBatch repairs what is stuck from the command line, on real processes, and finds it in the audit.
func TestBatch(t *testing.T) {
	def, err := sagas.ParseDefinition("saga.yaml", []byte(parcelDefinition))
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Start(t.Context(), local.Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 6 * time.Second}, Logger: slog.New(slog.DiscardHandler)}, []*sagas.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	server := "http://" + c.Nodes[1].Addr
	// run wants exit code 0 and gives what is on standard output.
	run := func(args ...string) string {
		t.Helper()
		code, out, talk := execute(t, append(args, "--server", server)...)
		if code != exitOK {
			t.Fatalf("%v: %d\n%s%s", args, code, out, talk)
		}
		return out
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for began := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("never: %s", what)
			}
		}
	}
	for _, id := range []string{"p-1", "p-2", "p-3"} {
		run("start", "parcel", "--id", id, "--brokers", strings.Join(c.Brokers, ","), "--namespace", "test")
	}
	until("three ask for a person", func() bool { return strings.Count(run("ls", "--status", "attention", "-o", "name"), "parcel/") == 3 })

	if out := run("batch", "start", "retry", "--status", "attention", "--path", "ship", "--reason", "all of them", "--dry-run"); !strings.Contains(out, "3 instances match") ||
		strings.Count(out, "cmd.ship[") != 3 {
		t.Errorf("preview:\n%s", out)
	}
	if out := run("batch", "list", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("a preview has made a batch: %q", out)
	}
	if code, _, talk := execute(t, "batch", "start", "retry", "--reason", "x", "--server", server); code != exitUsage || !strings.Contains(talk, "--query") {
		t.Errorf("for nothing: %d %q", code, talk)
	}
	if code, _, talk := execute(t, "batch", "start", "retry", "--type", "nobody", "--reason", "x", "--yes", "--server", server); code != exitNotFound {
		t.Errorf("for no instance: %d %q", code, talk)
	}
	id := strings.TrimSpace(run("batch", "start", "retry", "--status", "attention", "--path", "ship", "--reason", "all of them", "--operator", "mira", "--yes", "-o", "name"))
	var b orchestrator.Batch
	until("the batch is done", func() bool {
		if err := json.Unmarshal([]byte(run("batch", "get", id, "-o", "json")), &b); err != nil {
			t.Fatal(err)
		}
		return b.State == orchestrator.BatchDone
	})
	if b.Sent+b.Refused != 3 || b.Total != 3 || b.Failed != 0 || b.By != "mira" {
		t.Errorf("%+v", b)
	}
	until("the audit tells of it", func() bool {
		out := run("audit", "-o", "jsonl")
		return int64(strings.Count(out, "all of them")) >= b.Sent && strings.Contains(out, "mira")
	})
	if out := run("task", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("tasks: %s", out)
	}
}
