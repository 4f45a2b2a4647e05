package topology

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestCrashEverywhere kills the process at each failpoint, three times over,
// with all, some or nothing of what was not synced lost, and proves exactly once
// after each restart. A crash in the middle of a takeover is part of it.
func TestCrashEverywhere(t *testing.T) {
	for _, point := range Failpoints {
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) { crashAt(t, c, point) })
		})
	}
}

// TestCrashOnCluster is the same at the points that matter most to a broker.
func TestCrashOnCluster(t *testing.T) {
	for _, point := range []string{FailFlush, FailEnd, FailEnded, FailApplied} {
		t.Run(point, func(t *testing.T) { crashAt(t, kafkatest.New(t), point) })
	}
}

func crashAt(t *testing.T, c *kafkatest.Cluster, point string) {
	r := newRig(t, c, 2, 2)
	disk := kafkatest.NewDisk()
	for round, percent := range []int{0, 50, 100} {
		hits, crashed := new(atomic.Int32), new(atomic.Pointer[kafkatest.Disk])
		cfg := r.config("a", disk)
		cfg.Limits.CycleRecords = 7
		cfg.Failpoint = func(name string, _ int32) error {
			// A takeover passes its points once per task; a cycle has some
			// before it that succeed.
			after := int32(3)
			if name == FailTakeover || name == FailRestore || name == FailRestored {
				after = 2
			}
			if name != point || hits.Add(1) != after {
				return nil
			}
			crashed.Store(disk.Crash(percent, uint64(round)))
			return ErrCrash
		}
		p := r.start(cfg, disk)
		r.send(4, 9, "inc")
		<-p.done
		if !errors.Is(p.err, ErrCrash) {
			t.Fatalf("worker ended with %v", p.err)
		}
		disk = crashed.Load()

		cfg = r.config("a", disk)
		p = r.start(cfg, disk).ready(2)
		r.check(p)
		if percent == 100 {
			r.rebuilt(p)
		} else {
			p.end()
		}
	}
}

// TestTaskCrash lets one task crash alone: it comes back by itself, in the same
// process, and nothing is done twice.
func TestTaskCrash(t *testing.T) {
	for _, point := range []string{FailBegin, FailEnd, FailEnded, FailApply, FailApplied} {
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 2)
				disk := kafkatest.NewDisk()
				cfg := r.config("a", disk)
				cfg.Limits.CycleRecords = 5
				hits := new(atomic.Int32)
				cfg.Failpoint = func(name string, task int32) error {
					if name == point && hits.Add(1)%3 == 0 && hits.Load() < 12 {
						return fmt.Errorf("crash %d of task %d", hits.Load(), task)
					}
					return nil
				}
				p := r.start(cfg, disk)
				r.send(10, 9, "inc")
				r.check(p)
				if hits.Load() < 12 {
					t.Fatalf("only %d hits", hits.Load())
				}
				r.rebuilt(p)
			})
		})
	}
}
