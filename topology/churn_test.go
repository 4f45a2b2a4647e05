package topology

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestBrokerChurn moves leaders and coordinators about while two workers work
// and one of them comes and goes.
func TestBrokerChurn(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		ca, cb := r.config("a", da), r.config("b", db)
		ca.InstanceID, cb.InstanceID = "", ""
		ca.Limits.CycleRecords, cb.Limits.CycleRecords = 9, 9
		a := r.start(ca, da).ready(4)

		done := make(chan struct{})
		var churn sync.WaitGroup
		churn.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case <-time.After(173 * time.Millisecond):
				}
				if i%2 == 0 {
					c.Kfake().ShufflePartitionLeaders()
				} else {
					c.Kfake().RehashCoordinators()
				}
			}
		})
		b := r.start(cb, db)
		for range 20 {
			r.send(2, 15, "inc")
			time.Sleep(300 * time.Millisecond)
		}
		b.end()
		r.send(2, 15, "inc")
		close(done)
		churn.Wait()
		a.ready(4)
		r.check(a)
		r.rebuilt(a)
	}, kafkatest.Brokers(3))
}

// TestRefusalsThatPass: the broker refuses for a while what a task needs. The
// task waits and goes on by itself, and nothing is set aside.
func TestRefusalsThatPass(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"replicas are missing":     {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 20},
		"right to write is gone":   {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 5},
		"ids cannot be taken":      {Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed, Count: 5, TopLevel: true},
		"coordinator is loading":   {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.CoordinatorLoadInProgress, Count: 5, TopLevel: true},
		"transaction was aborted":  {Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, TopLevel: true},
		"producer id is forgotten": {Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidProducerIDMapping, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 1, 1)
				disk := kafkatest.NewDisk()
				a := r.start(r.config("a", disk), disk).ready(1)
				r.send(2, 3, "inc")
				r.check(a)
				fault.When = func(req kmsg.Request) bool {
					// Only what the task sends: the test produces as well.
					switch req := req.(type) {
					case *kmsg.ProduceRequest:
						return req.TransactionID != nil
					case *kmsg.InitProducerIDRequest:
						return req.TransactionalID != nil
					}
					return true
				}
				faults := c.Kfake().Fault(fault)
				if name == "ids cannot be taken" {
					for _, id := range transactionalIDs(r.app, 0) { // force a takeover
						c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: id, Err: kerr.InvalidTxnState, TopLevel: true})
					}
				}
				r.send(2, 3, "inc")
				r.check(a)
				if faults.Hits() == 0 {
					t.Error("nothing was refused")
				}
				if dead := c.ReadAll(r.dlq); len(dead) != 0 {
					t.Errorf("%d dead letters", len(dead))
				}
				r.rebuilt(a)
			})
		})
	}
}

// TestChangelogMadeAnew: the changelog was deleted and created again while no
// worker ran. The local store may be the last copy: the task halts and keeps it.
func TestChangelogMadeAnew(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.send(3, 3, "inc")
		r.check(a)
		a.end()
		if _, err := c.Admin().DeleteTopics(t.Context(), r.state); err != nil {
			t.Fatal(err)
		}
		c.CreateTopic(r.state, 1, kafkatest.Compacted())
		for range 2 { // and again after a restart
			cfg := r.config("a", disk)
			cfg.Hooks.Wiped = func(_ int32, reason string) { t.Errorf("store was wiped: %s", reason) }
			a = r.start(cfg, disk)
			r.until("the task halts", func() bool { return len(a.Tasks()) == 1 && a.Tasks()[0].State == TaskHalted })
			if reason := a.Tasks()[0].Reason; !strings.Contains(reason, "belongs to something else") {
				t.Errorf("reason %q", reason)
			}
			a.end()
		}
	})
}

// TestCompactedChangelog restores from a changelog that was compacted, and from
// one whose compaction has moved its start.
func TestCompactedChangelog(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		for range 3 {
			a := r.start(r.config("a", disk), disk).ready(1)
			r.send(10, 3, "inc")
			r.check(a)
			a.end()
			c.Kfake().Compact()
			a = r.start(r.config("a", disk), disk).ready(1)
			r.rebuilt(a)
		}
	})
}
