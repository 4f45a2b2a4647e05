package orchestrator

import (
	"errors"
	"strings"
	"testing"
)

func TestValidateReportsAllFaults(t *testing.T) {
	err := Config{Namespace: "Bad_Name", Brokers: []string{"nowhere"}, Advertise: "x", Partitions: -1, Tasks: 13,
		ReplicationFactor: -1, TokenSecret: []byte("short"), OrphanReplies: 9}.Validate()
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("class: %v", err)
	}
	for _, field := range []string{"Namespace:", "Brokers:", "Advertise:", "Partitions:", "ReplicationFactor:", "TokenSecret:", "OrphanReplies:", "DataDir:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported in: %v", field, err)
		}
	}
}

func TestValidateTasks(t *testing.T) {
	for _, c := range []struct {
		partitions, tasks int32
		ok                bool
	}{{0, 0, true}, {0, 12, true}, {0, 13, false}, {4, 4, true}, {4, 5, false}, {64, 8, true}} {
		err := Config{Namespace: "a", Brokers: []string{"b:1"}, DataDir: "d", Partitions: c.partitions, Tasks: c.tasks}.Validate()
		if (err == nil) != c.ok {
			t.Errorf("partitions %d, tasks %d: %v", c.partitions, c.tasks, err)
		}
	}
}
