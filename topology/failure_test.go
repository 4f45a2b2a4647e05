package topology

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/internal/murmur2"
)

// TestUnknownOutcome: the answer to EndTxn says nothing about what the broker
// did. Once it had committed, once it had not.
func TestUnknownOutcome(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault kfake.Fault
	}{
		{"not committed", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, TopLevel: true}},
		{"committed", kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut, TopLevel: true, Count: 30}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 1, 1)
				disk := kafkatest.NewDisk()
				var classes list
				cfg := r.config("a", disk)
				cfg.Hooks.Aborted = func(_ int32, class string, _ error) { classes.add(class) }
				a := r.start(cfg, disk).ready(1)
				r.send(2, 3, "inc")
				r.check(a)
				c.Kfake().Fault(tc.fault)
				r.send(2, 3, "inc")
				r.check(a)
				if !classes.has("retry") {
					t.Fatalf("no crash path: %v", classes.all)
				}
				r.rebuilt(a)
			})
		})
	}
}

// TestConnectionLostAtEnd closes the connection on which EndTxn waits for its
// answer, after the broker has acted.
func TestConnectionLostAtEnd(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.send(1, 3, "inc")
		r.check(a)
		var lost atomic.Int32
		c.Kfake().ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			if lost.Add(1) > 40 {
				return nil, nil, false
			}
			c.Kfake().KeepControl()
			return nil, fmt.Errorf("connection lost"), true
		})
		r.send(1, 3, "inc")
		r.check(a)
		r.rebuilt(a)
	})
}

// TestExpiredIDs leaves a task idle until the broker has forgotten its
// transactional ids. The next commit rebuilds them without an operator.
func TestExpiredIDs(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; under the race detector (-short) virtual months take minutes")
	}
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.idle("a", disk), disk).ready(1)
		r.send(1, 3, "inc")
		r.check(a)
		time.Sleep(8 * 24 * time.Hour)
		r.send(1, 3, "inc")
		r.check(a)
		r.rebuilt(a)
	})
}

// TestMisrouted writes records to partitions that their keys do not belong to:
// they are forwarded, and each still counts exactly once.
func TestMisrouted(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 2)
		disk := kafkatest.NewDisk()
		var forwarded atomic.Int32
		cfg := r.config("a", disk)
		cfg.Hooks.Forwarded = func(_ int32, n int) { forwarded.Add(int32(n)) }
		a := r.start(cfg, disk).ready(2)
		want := int32(0)
		var recs [4][]*kgo.Record
		for i := range 40 {
			key := fmt.Sprintf("k%d", i%10)
			r.sent[key]++
			if (int32(i)%4)%2 != murmur2.Partition([]byte(key), 4)%2 {
				want++
			}
			recs[i%4] = append(recs[i%4], &kgo.Record{Topic: r.in, Key: []byte(key), Value: []byte("inc")})
		}
		for p := range recs {
			c.ProduceTo(int32(p), recs[p]...)
		}
		r.check(a)
		if got := forwarded.Load(); got != want {
			t.Errorf("forwarded %d, want %d", got, want)
		}
		for _, rec := range c.ReadAll(r.in) {
			for _, h := range rec.Headers {
				if h.Key == HeaderForwarded && rec.Partition != murmur2.Partition(rec.Key, 4) {
					t.Errorf("%s was forwarded to partition %d", h.Value, rec.Partition)
				}
			}
		}

		// Forwarded once already and still wrong: a dead letter.
		key := []byte("k0")
		wrong := (murmur2.Partition(key, 4) + 1) % 4
		c.ProduceTo(wrong, &kgo.Record{Topic: r.in, Key: key, Value: []byte("inc"),
			Headers: []kgo.RecordHeader{{Key: HeaderForwarded, Value: []byte("x/0/0")}}})
		r.wantDead(1, ErrMisrouted.Error())
		r.check(a)
		r.rebuilt(a)
	})
}

// wantDead waits for n dead letters and looks at the cause of the last.
func (r *rig) wantDead(n int, cause string) {
	r.t.Helper()
	dead := r.c.Consume(r.dlq, n)
	last := dead[len(dead)-1]
	if got := string(last.Headers[0].Value); !strings.Contains(got, cause) {
		r.t.Fatalf("dead letter says %q, want %q", got, cause)
	}
	if all := r.c.ReadAll(r.dlq); len(all) != n {
		r.t.Fatalf("%d dead letters, want %d", len(all), n)
	}
}

// TestPoison sends input that the processor cannot handle, each in the middle
// of good input of the same key. Only the bad is set aside, and it leaves no
// trace in state or outputs.
func TestPoison(t *testing.T) {
	for _, tc := range []struct{ value, cause string }{
		{"fail", "asked to fail"},
		{"panic", ErrPanic.Error() + ": asked to panic"},
		{"big", ErrTooLarge.Error()},
		{"lost", ErrUndeliverable.Error()},
	} {
		t.Run(tc.value, func(t *testing.T) {
			clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 1)
				disk := kafkatest.NewDisk()
				a := r.start(r.config("a", disk), disk).ready(1)
				r.send(3, 5, "inc")
				for range 2 {
					r.c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k1"), Value: []byte(tc.value)})
				}
				r.send(3, 5, "inc")
				r.wantDead(2, tc.cause)
				r.check(a)
				r.rebuilt(a)
			})
		})
	}
}

// TestPoisonedTimer: a timer that leaves its entry due would fire for ever. It
// is set aside.
func TestPoisonedTimer(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.send(1, 1, "stuck 1")
		r.wantDead(1, ErrTimerKept.Error())
		view, _ := a.View(0)
		r.until("the entry is gone", func() bool {
			_, found, err := view.Get([]byte("k0"))
			return err == nil && !found
		})
		a.end()
	})
}

// TestPoisonFails: when a record can be neither handled nor set aside its task
// halts with the reason; the others go on.
func TestPoisonFails(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(2)
		key := []byte("bad")
		r.c.Produce(&kgo.Record{Topic: r.in, Key: key, Value: []byte("fail twice")})
		task := a.TaskOf(key)
		r.until("the task halts", func() bool { return a.Tasks()[task].State == TaskHalted })
		if reason := a.Tasks()[task].Reason; !strings.Contains(reason, "cannot be set aside") {
			t.Errorf("reason %q", reason)
		}
		if a.Ready() == nil {
			t.Error("ready with a halted task")
		}
		var others []*kgo.Record
		for i := range 100 {
			k := fmt.Sprintf("k%d", i)
			if a.TaskOf([]byte(k)) != task {
				r.sent[k]++
				others = append(others, &kgo.Record{Topic: r.in, Key: []byte(k), Value: []byte("inc")})
			}
		}
		c.Produce(others...)
		r.check(a)
		a.end()
	})
}

// TestTruncatedInput: a task that knows nothing refuses an input whose start is
// gone, unless it is told to go on.
func TestTruncatedInput(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k0"), Value: []byte("inc")},
			&kgo.Record{Topic: r.in, Key: []byte("k0"), Value: []byte("inc")})
		r.sent["k0"] = 1
		r.trim(1)

		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk)
		r.until("the task halts", func() bool { return len(a.Tasks()) == 1 && a.Tasks()[0].State == TaskHalted })
		if reason := a.Tasks()[0].Reason; !strings.Contains(reason, "starts at offset 1") {
			t.Errorf("reason %q", reason)
		}
		a.end()

		cfg := r.config("a", disk)
		cfg.AllowTruncatedInput = true
		a = r.start(cfg, disk).ready(1)
		r.check(a)
		a.end()
	})
}

// trim deletes the input's records below offset.
func (r *rig) trim(offset int64) {
	r.t.Helper()
	offsets := make(kadm.Offsets)
	for p := range r.partitions {
		offsets.Add(kadm.Offset{Topic: r.in, Partition: p, At: offset})
	}
	if _, err := r.c.Admin().DeleteRecords(r.t.Context(), offsets); err != nil {
		r.t.Fatal(err)
	}
}

// TestInputLostWhileAway: records that were not read yet are deleted while no
// worker runs. The task does not jump over the gap.
func TestInputLostWhileAway(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.send(2, 1, "inc")
		r.check(a)
		a.end()
		for range 3 {
			c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k0"), Value: []byte("inc")})
		}
		r.trim(4)
		a = r.start(r.config("a", disk), disk)
		r.until("the task halts", func() bool { return len(a.Tasks()) == 1 && a.Tasks()[0].State == TaskHalted })
		if reason := a.Tasks()[0].Reason; !strings.Contains(reason, "has lost records") {
			t.Errorf("reason %q", reason)
		}
		a.end()
	})
}

// TestCorruptStore flips bits in the files of a store: it is wiped and restored.
func TestCorruptStore(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.send(5, 20, "inc")
		r.check(a)
		a.end()

		dir := disk.FS.PathJoin("/a", "task-0")
		names, err := disk.FS.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for _, name := range names {
			if !strings.HasPrefix(name, "MANIFEST") {
				continue
			}
			f, err := disk.FS.OpenReadWrite(disk.FS.PathJoin(dir, name), "test")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 16), 8); err != nil {
				t.Fatal(err)
			}
			f.Close()
			damaged++
		}
		if damaged == 0 {
			t.Fatalf("nothing to damage in %v", names)
		}

		var wiped list
		cfg := r.config("a", disk)
		cfg.Hooks.Wiped = func(_ int32, reason string) { wiped.add(reason) }
		a = r.start(cfg, disk).ready(1)
		if wiped.len() != 1 {
			t.Errorf("wiped %v", wiped.all)
		}
		r.send(1, 20, "inc")
		r.check(a)
		r.rebuilt(a)
	})
}

// TestTopicsMustFit: what cannot work is refused at the start, with the reason.
func TestTopicsMustFit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *kafkatest.Cluster, r *rig, cfg *Config)
		want   string
	}{
		{"more tasks than partitions", func(c *kafkatest.Cluster, r *rig, cfg *Config) {
			cfg.Changelog = c.CreateTopic(r.app+"state3", 3, kafkatest.Compacted())
		}, "more than the 2 of the inputs"},
		{"unequal inputs", func(c *kafkatest.Cluster, r *rig, cfg *Config) {
			cfg.Inputs = append(cfg.Inputs, c.CreateTopic(r.app+"in3", 3, nil))
		}, "must be equal"},
		{"changelog that deletes", func(c *kafkatest.Cluster, r *rig, cfg *Config) {
			cfg.Changelog = c.CreateTopic(r.app+"state4", 2, map[string]string{"cleanup.policy": "delete"})
		}, "cleanup.policy=delete"},
		{"missing topic", func(c *kafkatest.Cluster, r *rig, cfg *Config) {
			cfg.Inputs = append(cfg.Inputs, r.app+"missing")
		}, "topics are not there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 2)
				disk := kafkatest.NewDisk()
				cfg := r.config("a", disk)
				tc.change(c, r, &cfg)
				p := r.start(cfg, disk)
				<-p.done
				if p.err == nil || !strings.Contains(p.err.Error(), tc.want) {
					t.Fatalf("ended with %v, want %q", p.err, tc.want)
				}
			})
		})
	}
}

// TestTopicsChange: partitions that are added to an input of a running worker
// would move keys to other tasks. All tasks halt.
func TestTopicsChange(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(2)
		r.send(1, 5, "inc")
		r.check(a)
		if _, err := c.Admin().UpdatePartitions(t.Context(), 5, r.in); err != nil {
			t.Fatal(err)
		}
		r.until("all tasks halt", func() bool {
			for _, info := range a.Tasks() {
				if info.State != TaskHalted || !strings.Contains(info.Reason, "inputs have 5 partitions, had 2") {
					return false
				}
			}
			return true
		})
		a.end()
	})
}
