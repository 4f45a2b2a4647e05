package topology

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

// memberConfig is config for a dynamic member, which hands its tasks over.
func (r *rig) memberConfig(name string, disk *kafkatest.Disk) Config {
	cfg := r.config(name, disk)
	cfg.InstanceID = ""
	cfg.Timing.Probe = time.Second
	return cfg
}

// warm waits until the worker has n standbys and each has all that is committed.
func (p *process) warm(n int) *process {
	p.r.t.Helper()
	p.r.until(fmt.Sprintf("%s keeps %d tasks warm", p.cfg.Advertise, n), func() bool {
		warm := 0
		for _, s := range p.Standbys() {
			if end := p.r.stable(s.Task); s.Position == end && s.Reason == "" {
				warm++
			}
		}
		return warm == n && len(p.Standbys()) == n
	})
	return p
}

// stable is the last stable offset of a task's changelog.
func (r *rig) stable(task int32) int64 {
	r.t.Helper()
	ends, err := r.c.Admin().ListCommittedOffsets(r.t.Context(), r.state)
	if err != nil {
		r.t.Fatal(err)
	}
	end, _ := ends.Lookup(r.state, task)
	return end.Offset
}

// restores counts what a worker read from changelogs for its tasks.
type restores struct{ tasks, records atomic.Int64 }

func (n *restores) hook() func(int32, int64, time.Duration) {
	return func(_ int32, records int64, _ time.Duration) {
		n.tasks.Add(1)
		n.records.Add(records)
	}
}

// TestStandbyPromotion: the standby of a task that becomes active here hands it
// its open store, and nothing is left to restore. The other way round, a task
// that goes elsewhere leaves its store to its standby.
func TestStandbyPromotion(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		var restored restores
		ca, cb := r.memberConfig("a", da), r.memberConfig("b", db)
		cb.Hooks.Restored = restored.hook()
		a := r.start(ca, da).ready(4)
		r.send(3, 20, "inc")
		r.check(a)
		b := r.start(cb, db).ready(2).warm(2)
		a.ready(2).warm(2)
		r.send(5, 20, "inc")
		r.check(a, b)
		b.warm(2)

		kept := make(map[int32]any)
		for _, s := range b.Standbys() {
			view, lag, ok := b.StaleView(s.Task)
			if !ok || lag.Records != 0 || lag.Age > time.Minute {
				t.Errorf("task %d: view %v, lag %+v", s.Task, ok, lag)
			}
			kept[s.Task] = view.store
		}
		before, tasks := restored.records.Load(), restored.tasks.Load()
		a.end()
		b.ready(4)
		if n := restored.tasks.Load() - tasks; n != 2 {
			t.Errorf("%d tasks were taken over, want 2", n)
		}
		if n := restored.records.Load() - before; n != 0 {
			t.Errorf("%d records were restored by promotions of warm standbys", n)
		}
		for task, store := range kept {
			if view, ok := b.View(task); !ok || view.store != store {
				t.Errorf("task %d does not run on the store of its standby", task)
			}
		}
		r.send(2, 20, "inc")
		r.check(b)

		// Demotion: the standby goes on from the store of the task. Whether it stayed open between depends on
		// whether the group took the task away and gave the copy in one round.
		loaded := restored.records.Load()
		third := r.start(r.memberConfig("c", da), da).ready(2).warm(2)
		b.ready(2).warm(2)
		for _, s := range b.Standbys() {
			if _, lag, ok := b.StaleView(s.Task); !ok || lag.Records != 0 {
				t.Errorf("standby of task %d: there %v, lag %+v", s.Task, ok, lag)
			}
		}
		if n := restored.records.Load() - loaded; n != 0 {
			t.Errorf("%d records were restored to make copies of what was there", n)
		}
		r.send(2, 20, "inc")
		r.check(b, third)
		third.end()
		b.ready(4)
		r.rebuilt(b)
	})
}

// TestStandbyHoldsWhatIsCommitted kills the owner at each failpoint while another
// process keeps its tasks warm. What the standby has is what the changelog has,
// and after its promotion everything happened exactly once.
func TestStandbyHoldsWhatIsCommitted(t *testing.T) {
	for _, point := range Failpoints {
		if point == FailTakeover || point == FailRestore || point == FailRestored {
			continue // the owner runs; TestStandbyCrash has the takeovers
		}
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 2)
				da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
				var hits atomic.Int32
				var armed atomic.Bool
				ca := r.memberConfig("a", da)
				ca.Limits.CycleRecords = 7
				ca.Failpoint = func(name string, _ int32) error {
					if !armed.Load() || name != point || hits.Add(1) != 3 {
						return nil
					}
					return ErrCrash
				}
				a := r.start(ca, da).ready(2)
				r.send(2, 9, "inc")
				// The only task of b that matters is the one that it does not run.
				b := r.start(r.memberConfig("b", db), db).ready(1).warm(1)
				a.ready(1).warm(1)
				armed.Store(true)
				r.send(4, 9, "inc")
				<-a.done
				if !errors.Is(a.err, ErrCrash) {
					t.Fatalf("worker ended with %v", a.err)
				}
				b.ready(2)
				r.check(b)
				r.rebuilt(b)
			})
		})
	}
}

// TestStandbyCrash kills the process that keeps tasks warm, around its writes and
// in the middle of its promotion. It comes back, with all, some or nothing lost
// of what was not synced, and everything happened exactly once.
func TestStandbyCrash(t *testing.T) {
	for _, point := range []string{FailTail, FailTailed, FailTakeover, FailRestore, FailRestored} {
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 2)
				da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
				a := r.start(r.memberConfig("a", da), da).ready(2)
				for round, percent := range []int{0, 50, 100} {
					var armed atomic.Bool
					crashed := new(atomic.Pointer[kafkatest.Disk])
					cb := r.memberConfig("b", db)
					cb.Failpoint = func(name string, _ int32) error {
						if name != point || !armed.CompareAndSwap(true, false) {
							return nil
						}
						crashed.Store(db.Crash(percent, uint64(round)))
						return ErrCrash
					}
					b := r.start(cb, db).ready(1).warm(1)
					a.ready(1).warm(1)
					armed.Store(true)
					r.send(3, 9, "inc")
					if point != FailTail && point != FailTailed {
						a.stop() // b is promoted
					}
					<-b.done
					if !errors.Is(b.err, ErrCrash) {
						t.Fatalf("worker ended with %v", b.err)
					}
					db = crashed.Load()
					if point != FailTail && point != FailTailed {
						<-a.done
						a = r.start(r.memberConfig("a", da), da)
					}
					a.ready(2)
					r.check(a)
				}
				b := r.start(r.memberConfig("b", db), db).ready(1).warm(1)
				a.end()
				b.ready(2)
				r.check(b)
				r.rebuilt(b)
			})
		})
	}
}

// TestStandbySeesNoOpenTransaction: an owner is frozen in the middle of a commit.
// Its records are in the changelog and in no standby.
func TestStandbySeesNoOpenTransaction(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		var frozen atomic.Int32
		reached, thaw := make(chan struct{}), make(chan struct{})
		frozen.Store(-1)
		ca := r.memberConfig("a", da)
		ca.Failpoint = func(name string, task int32) error {
			if name == FailEnd && frozen.CompareAndSwap(task, -1) {
				close(reached)
				<-thaw
			}
			return nil
		}
		a := r.start(ca, da).ready(2)
		r.send(1, 9, "inc")
		b := r.start(r.memberConfig("b", db), db).ready(1).warm(1)
		a.ready(1).warm(1)
		task := b.Standbys()[0].Task
		r.check(a, b)
		b.warm(1)
		frozen.Store(task)
		before := b.Standbys()[0].Position
		r.send(1, 9, "inc")
		<-reached
		r.until("the open transaction is in the log", func() bool {
			ends, err := c.Admin().ListEndOffsets(t.Context(), r.state)
			end, _ := ends.Lookup(r.state, task)
			return err == nil && end.Offset > r.stable(task)
		})
		time.Sleep(200 * time.Millisecond)
		if at := b.Standbys()[0].Position; at != before {
			t.Errorf("the standby has moved from %d to %d during an open transaction", before, at)
		}
		close(thaw)
		r.check(a, b)
		b.warm(1)
		a.end()
		b.ready(2)
		r.rebuilt(b)
	})
}

// TestReadyWaitsForStandbys: a process is not ready while a standby lacks more
// than is accepted.
func TestReadyWaitsForStandbys(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		a := r.start(r.memberConfig("a", da), da).ready(2)
		cb := r.memberConfig("b", db)
		cb.Limits.Lag = 5
		release := make(chan struct{})
		var block atomic.Bool
		cb.Failpoint = func(name string, _ int32) error {
			if name == FailTail && block.Load() {
				<-release
			}
			return nil
		}
		b := r.start(cb, db).ready(1).warm(1)
		block.Store(true)
		r.send(20, 9, "inc")
		r.until("b says that its standby is behind", func() bool {
			err := b.Ready()
			return err != nil && strings.Contains(err.Error(), "standby of task")
		})
		_, lag, _ := b.StaleView(b.Standbys()[0].Task)
		if lag.Records <= 5 {
			t.Errorf("lag %+v", lag)
		}
		block.Store(false)
		close(release)
		r.until("b is ready again", func() bool { return b.Ready() == nil })
		r.check(a, b)
		a.end()
		b.end()
		if !b.Draining() || b.Ready() == nil {
			t.Error("ready after the end")
		}
	})
}

// TestMovingTaskWorksOn: a task that was given to another process works here
// until that one has taken it over, however long that takes.
func TestMovingTaskWorksOn(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		a := r.start(r.memberConfig("a", da), da).ready(1)
		release := make(chan struct{})
		cb := r.memberConfig("b", db)
		cb.Failpoint = func(name string, _ int32) error {
			if name == FailTakeover {
				<-release
			}
			return nil
		}
		b := r.start(cb, db)
		b.warm(1)
		a.stop()
		r.until("the group has given the task to b", func() bool { return len(b.Tasks()) == 1 })
		r.send(5, 9, "inc")
		r.check(a) // nobody else runs it
		close(release)
		<-a.done
		r.send(1, 9, "inc")
		b.ready(1)
		r.check(b)
		r.rebuilt(b)
	})
}

// TestDrainEnds: a process that stops does not wait for anybody who is not there,
// and for nobody longer than Timing.Drain.
func TestDrainEnds(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		a := r.start(r.memberConfig("a", da), da).ready(2)
		r.send(1, 9, "inc")
		r.check(a)
		began := time.Now()
		a.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("alone, the end took %v", took)
		}

		a = r.start(r.memberConfig("a", da), da).ready(2)
		cb := r.memberConfig("b", db)
		var refuse atomic.Bool
		refuse.Store(true)
		cb.Failpoint = func(name string, _ int32) error {
			if name == FailTakeover && refuse.Load() {
				return errors.New("not now")
			}
			return nil
		}
		b := r.start(cb, db)
		r.until("b is a member", func() bool {
			select {
			case <-b.Worker.ready:
				return b.member.joined()
			default:
				return false // it has not got its member yet
			}
		})
		began = time.Now()
		a.end()
		if took := time.Since(began); took < a.cfg.Timing.Drain || took > a.cfg.Timing.Drain+5*time.Second {
			t.Errorf("with somebody who takes nothing, the end took %v, the budget is %v", took, a.cfg.Timing.Drain)
		}
		refuse.Store(false)
		b.ready(2)
		r.send(1, 9, "inc")
		r.check(b)
		r.rebuilt(b)
	})
}

// TestStuckAlone: with nobody else to take a stuck task, the process says that
// only a restart helps.
func TestStuckAlone(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		cfg := r.memberConfig("a", disk)
		gate := make(chan struct{})
		var stuck atomic.Int32
		cfg.Failpoint = func(name string, task int32) error {
			if name == FailAdvance && stuck.CompareAndSwap(task, -1) {
				<-gate
			}
			return nil
		}
		a := r.start(cfg, disk)
		r.send(1, 9, "inc")
		r.until("the process is not live", func() bool { return a.Live() != nil })
		if err := a.Live(); !strings.Contains(err.Error(), "nobody else") {
			t.Error(err)
		}
		if _, ok := a.View(1); !ok {
			t.Error("the other task does not run")
		}
		a.end() // it does not wait for what is stuck
		close(gate)
		a = r.start(r.memberConfig("a", disk), disk).ready(2)
		r.check(a)
		r.rebuilt(a)
	})
}

// TestStuckTask: a processor does not return. Its task is given away, to another
// process that does its work, and the other tasks of this one go on. Nothing
// happens twice when it returns after all.
func TestStuckTask(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		ca := r.memberConfig("a", da)
		ca.Timing.Away = time.Minute
		gate := make(chan struct{})
		var stuck atomic.Int32
		stuck.Store(-1)
		ca.Failpoint = func(name string, task int32) error {
			if name == FailAdvance && stuck.CompareAndSwap(task, -1) {
				<-gate
			}
			return nil
		}
		a := r.start(ca, da).ready(4)
		b := r.start(r.memberConfig("b", db), db).ready(2)
		a.ready(2).warm(2)
		r.send(3, 20, "inc")
		r.check(a, b)

		victim, other := a.Tasks()[0].Task, a.Tasks()[1].Task
		old := a.find(victim)
		stuck.Store(victim)
		r.send(3, 20, "inc")
		r.until("b has the stuck task", func() bool {
			view, ok := b.View(victim)
			return ok && view.Task() == victim
		})
		r.check(a, b) // the records that a holds included
		if old.state() != TaskHalted || !strings.Contains(old.info().Reason, "stuck") {
			t.Errorf("task %d is %v: %s", victim, old.state(), old.info().Reason)
		}
		if _, ok := a.View(other); !ok {
			t.Errorf("task %d of the same process does not run", other)
		}
		if err := a.Live(); err != nil {
			t.Error(err)
		}
		close(gate)
		<-old.quiet
		r.send(1, 20, "inc")
		r.check(a, b)
		time.Sleep(2 * time.Minute) // long enough for a to be asked again
		r.until("all tasks run", func() bool { return len(a.holding())+len(b.holding()) == 4 })
		r.send(1, 20, "inc")
		r.check(a, b)
		a.end()
		b.ready(4)
		r.rebuilt(b)
	})
}
