package orchestrator

import (
	"os"
	"testing"

	"github.com/amendsio/amends/topology"
)

// TestTopology is the picture of the engine: what it reads and writes.
func TestTopology(t *testing.T) {
	o, err := New(Config{Namespace: "pay", Brokers: []string{"b:1"}, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	built := o.flow()
	const file = "testdata/topology.txt"
	if *update {
		if err := os.WriteFile(file, []byte(built.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != built.String() {
		t.Errorf("got\n%swant\n%s", built, want)
	}
	// The API adds nothing to what a record costs: the runtime drives the processor itself.
	o.worker.Store(new(topology.Worker))
	if p, ok := built.Processor(0).(*processor); !ok {
		t.Errorf("the runtime would drive %T", p)
	}
}
