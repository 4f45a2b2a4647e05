package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func validConfig() Config {
	return Config{
		App: "ns.saga.", Inputs: []string{"in"}, Changelog: "state", DataDir: "/data",
		Processor: func(int32) Processor { return nil },
		Client:    []kgo.Opt{kgo.SeedBrokers("localhost:9092")},
	}
}

func TestConfigDefaultsAreValid(t *testing.T) {
	if _, err := New(validConfig()); err != nil {
		t.Fatal(err)
	}
}

// TestConfigReportsAllFaults expects every fault in one error, each with the
// name of its field.
func TestConfigReportsAllFaults(t *testing.T) {
	_, err := New(Config{
		Inputs: []string{"a", "a", "", "c"}, Changelog: "c", Advertise: "no spaces here",
		Limits: Limits{CycleRecords: -1, QueueBytes: -1, FetchBytes: 10},
		Timing: Timing{Heartbeat: time.Hour, Session: time.Second, Backoff: time.Hour},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"App: ", "Inputs: a is listed twice", "Inputs: a topic has no name", "Inputs: c is the changelog",
		"Processor: ", "DataDir: ", "Client: ", "Advertise: ",
		"Limits.CycleRecords: -1", "Limits.QueueBytes: -1", "Limits.FetchBytes: 10",
		"Timing.Heartbeat: 1h0m0s, want 10ms to 10m0s", "Timing.Session: 1s", "Timing.Backoff: 1h0m0s",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}
