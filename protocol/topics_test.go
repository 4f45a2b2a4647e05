package protocol

import (
	"strings"
	"testing"
)

func TestTopics(t *testing.T) {
	got, err := NewTopics("pay")
	want := Topics{"pay.saga.intake", "pay.saga.replies", "pay.saga.control", "pay.saga.lifecycle", "pay.saga.state",
		"pay.saga.defs", "pay.saga.members", "pay.saga.dlq", "pay.saga.correlation", "pay.saga.correlation-state"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if Group("pay") != "pay.saga.engine" || TransactionalPrefix("pay") != "pay.saga.task-" || CommandTopic("stock") != "cmd.stock" {
		t.Error("names changed")
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "pay", "pay2", "card-payments.eu", "a.b.c", "9", strings.Repeat("x", MaxNamespace)} {
		if err := ValidateNamespace(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "Pay", "pay_ments", ".", ".a", "a.", "a..b", "-a", "a-", "a-.b", "a.-b", "a b", "ä", "a/b", strings.Repeat("x", MaxNamespace+1)} {
		if ValidateNamespace(name) == nil {
			t.Errorf("%q accepted", name)
		}
	}
	if ValidateParticipant("psp.cards") != nil || ValidateParticipant("PSP") == nil {
		t.Error("participant names")
	}
}

func TestPlan(t *testing.T) {
	topics, _ := NewTopics("pay")
	seen := map[string]TopicPlan{}
	for _, p := range topics.Plan(12, 4, 3) {
		seen[p.Name] = p
		if p.Purpose == "" || p.Replication != 3 {
			t.Errorf("%+v", p)
		}
	}
	setting := func(p TopicPlan, key string) string {
		for _, s := range p.Settings {
			if s.Key == key {
				return s.Value
			}
		}
		return ""
	}
	for _, name := range []string{topics.Intake, topics.Replies, topics.Control, topics.Lifecycle} {
		if p := seen[name]; p.Partitions != 12 || setting(p, "cleanup.policy") != "delete" {
			t.Errorf("%+v", p)
		}
	}
	state := seen[topics.State]
	if state.Partitions != 4 || setting(state, "cleanup.policy") != "compact" || setting(state, "min.insync.replicas") != "2" || setting(state, "delete.retention.ms") != "86400000" {
		t.Errorf("%+v", state)
	}
	if len(seen) != 8 {
		t.Errorf("%d topics", len(seen))
	}
	if p := CommandTopicPlan("cmd.stock", 6, 1); p.Partitions != 6 || setting(p, "min.insync.replicas") != "1" {
		t.Errorf("%+v", p)
	}
}
