package orchestrator_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/orchestrator"
)

func TestApply(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, topics := r.orderSaga()
		first := r.apply(src)
		if len(first) != 1 || !first[0].Registered || !first[0].Activated {
			t.Fatalf("first: %+v", first)
		}
		again := r.apply(src)
		if again[0].Registered || again[0].Activated {
			t.Errorf("again: %+v", again)
		}

		_, err := r.tryApply(strings.Replace(src, "deadline: 1h", "deadline: 2h", 1))
		var known *orchestrator.Error
		if !errors.As(err, &known) || known.Code != orchestrator.CodeVersionChanged || !errors.Is(err, orchestrator.ErrConflict) {
			t.Errorf("a changed version: %v", err)
		}

		stolen := strings.Replace(strings.Replace(src, "version: 1", "version: 9", 1), "topic: "+topics[0], "topic: "+r.topics.State, 1)
		if !strings.Contains(stolen, r.topics.State) {
			t.Fatal("the definition of this test has no participant to move")
		}
		if _, err := r.tryApply(stolen); !errors.Is(err, orchestrator.ErrInvalid) {
			t.Errorf("commands to the state topic: %v", err)
		}

		two := strings.Replace(src, "version: 1", "version: 2", 1)
		if out := r.apply(two); !out[0].Registered || !out[0].Activated {
			t.Errorf("version 2: %+v", out)
		}
		if out := r.apply(src); out[0].Registered || !out[0].Activated {
			t.Errorf("back to version 1: %+v", out)
		}

		ctx, cancel := r.c.Context()
		defer cancel()
		have, err := r.c.Admin().ListTopics(ctx, append(topics, r.topics.Intake, r.topics.State, r.topics.Defs, r.topics.DLQ)...)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]int{topics[0]: 4, r.topics.Intake: 4, r.topics.State: 4, r.topics.Defs: 1, r.topics.DLQ: 1} {
			if n := len(have[name].Partitions); n != want {
				t.Errorf("topic %s: %d partitions, want %d", name, n, want)
			}
		}
	})
}

// TestApplyRace: two publishers with different content for one version cannot both win.
func TestApplyRace(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, _ := r.orderSaga()
		r.apply(strings.Replace(src, "saga: order", "saga: other", 1)) // topics exist
		variants := []string{src, strings.Replace(src, "deadline: 1h", "deadline: 2h", 1), strings.Replace(src, "deadline: 1h", "deadline: 3h", 1)}
		errs := make([]error, len(variants))
		var wg sync.WaitGroup
		for i, v := range variants {
			wg.Go(func() { _, errs[i] = r.tryApply(v) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, orchestrator.ErrConflict):
				t.Errorf("the loser was told: %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d publishers won", won)
		}
		versions := map[string]string{}
		for _, rec := range r.c.ReadAll(r.topics.Defs) {
			if string(rec.Key) != "order@1" {
				continue
			}
			if before, ok := versions["order@1"]; ok && before != string(rec.Value) {
				t.Error("the version was published twice with different content")
			}
			versions["order@1"] = string(rec.Value)
		}
	})
}

func TestNamespaceIsChecked(t *testing.T) {
	const retention = "604800000"
	for _, c := range []struct {
		name   string
		damage func(r *rig)
		code   string
		says   []string
	}{
		{"missing and not to be created", func(r *rig) { r.cfg.CreateTopics = false },
			orchestrator.CodeTopicMissing, []string{"test.saga.state", "cleanup.policy=compact", "--create-topics"}},
		{"state deletes by age", func(r *rig) {
			r.c.CreateTopic(r.topics.State, 4, map[string]string{"cleanup.policy": "compact,delete", "max.message.bytes": "2000000"})
		}, orchestrator.CodeTopicSetting, []string{"test.saga.state", "cleanup.policy", `have "compact,delete"`, `want "compact"`}},
		{"definitions are not compacted", func(r *rig) {
			r.c.CreateTopic(r.topics.Defs, 1, map[string]string{"cleanup.policy": "delete", "max.message.bytes": "2000000"})
		}, orchestrator.CodeTopicSetting, []string{"test.saga.defs", `have "delete"`}},
		{"messages too small", func(r *rig) {
			r.c.CreateTopic(r.topics.Intake, 4, map[string]string{"max.message.bytes": "1000", "retention.ms": retention})
		}, orchestrator.CodeTopicSetting, []string{"test.saga.intake", "max.message.bytes", `have "1000"`}},
		{"counts disagree", func(r *rig) {
			r.c.CreateTopic(r.topics.Intake, 4, map[string]string{"max.message.bytes": "2000000"})
			r.c.CreateTopic(r.topics.Replies, 3, map[string]string{"max.message.bytes": "2000000"})
		}, orchestrator.CodePartitions, []string{"test.saga.replies: partitions: have 3, want 4"}},
		{"more tasks than partitions", func(r *rig) {
			r.c.CreateTopic(r.topics.State, 5, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000000"})
		}, orchestrator.CodePartitions, []string{"test.saga.state: partitions: have 5, want at most the 4"}},
		{"configured otherwise", func(r *rig) {
			r.c.CreateTopic(r.topics.Intake, 6, map[string]string{"max.message.bytes": "2000000"})
		}, orchestrator.CodePartitions, []string{"have 6, want 4 as configured"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				c.damage(r)
				r.start()
				err := <-r.done
				r.done <- nil
				var known *orchestrator.Error
				if !errors.As(err, &known) || known.Code != c.code || !errors.Is(err, orchestrator.ErrConfig) {
					t.Fatalf("want %s, got %v", c.code, err)
				}
				for _, s := range c.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%q is not in: %v", s, err)
					}
				}
			})
		})
	}
}

// TestNewTopicsAreHeardOfLate: of brokers that share a new namespace each hears of its topics in its own
// time. A process asks again, for a while.
func TestNewTopicsAreHeardOfLate(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(r *rig) kfake.Fault
	}{
		{"settings of a topic", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: r.topics.State, Err: kerr.UnknownTopicOrPartition}
		}},
		{"end of the definitions", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: r.topics.Defs, Err: kerr.UnknownTopicOrPartition}
		}},
		{"no leader yet", func(r *rig) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: r.topics.Intake, Err: kerr.LeaderNotAvailable}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				fault := c.fault(r)
				fault.Count = 40 // more than the client repeats by itself
				handle := r.c.Kfake().Fault(fault)
				r.start()
				r.ready()
				if handle.Hits() == 0 {
					t.Error("the fault did not come")
				}
			})
		})
	}
	t.Run("not for ever", func(t *testing.T) {
		virtual(t, func(t *testing.T, r *rig) {
			r.c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: r.topics.State, Err: kerr.UnknownTopicOrPartition, Count: -1})
			began := time.Now()
			r.start()
			err := <-r.done
			r.done <- nil
			if !errors.Is(err, orchestrator.ErrUnreachable) || !strings.Contains(err.Error(), r.topics.State) {
				t.Fatalf("a topic that stays unknown: %v", err)
			}
			if waited := time.Since(began); waited < 20*time.Second || waited > 5*time.Minute {
				t.Errorf("gave up after %v", waited)
			}
		})
	})
}

// TestExistingCounts: a process without counts of its own takes those of the namespace.
func TestExistingCounts(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.cfg.Partitions, r.cfg.Tasks = 6, 2
		src, _ := r.orderSaga()
		r.apply(src)
		r.cfg.Partitions, r.cfg.Tasks = 0, 0
		r.start()
		r.ready()
		if n := len(r.o.Tasks()); n != 2 {
			t.Errorf("%d tasks, want 2", n)
		}
	})
}
