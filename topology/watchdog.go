package topology

import (
	"context"
	"fmt"
	"time"
)

// watchTasks gives away the tasks that are stuck: in one cycle for longer than
// Timing.Stuck, without waiting for Kafka. Usually that is a processor that does
// not return. Nothing can end such a goroutine; but its store can be closed under
// it and its task can be run by somebody else, who fences what it may still try.
// The other tasks of this process go on.
func (w *Worker) watchTasks(ctx context.Context) {
	w.watchedAt.Store(time.Now().UnixMilli())
	for sleep(ctx, w.cfg.Timing.Stuck/4) {
		w.watchedAt.Store(time.Now().UnixMilli())
		for _, t := range w.holding() {
			if took := t.busy(); took > w.cfg.Timing.Stuck {
				w.giveAway(t, took)
			}
		}
		w.takeBack()
	}
}

// holding lists the tasks that work here, those that move included.
func (w *Worker) holding() []*task {
	list := w.running()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.mu.former {
		if t := w.movingLocked(id); t != nil {
			list = append(list, t)
		}
	}
	return list
}

// giveAway parts with a stuck task: it is told to end, its store is closed and
// its replica forgotten, and the group is asked to run it elsewhere for a while.
func (w *Worker) giveAway(t *task, took time.Duration) {
	reason := fmt.Sprintf("stuck: one cycle has processed for %v, at most %v are allowed; the task is given away, its goroutine is left behind",
		took.Round(time.Millisecond), w.cfg.Timing.Stuck)
	t.end(true)
	if !t.strike(reason) {
		return // it came to an end by itself just now
	}
	t.log.Error("task is stuck and given away", "reason", reason)
	store := t.serving.Swap(nil)
	w.mu.Lock()
	if w.mu.tasks[t.id] == t {
		delete(w.mu.tasks, t.id)
		w.mu.former[t.id] = t
	}
	if w.mu.replicas[t.id] == t.replica {
		delete(w.mu.replicas, t.id)
	}
	w.mu.away[t.id] = time.Now().Add(w.cfg.Timing.Away)
	away := w.awayLocked()
	w.mu.Unlock()
	w.member.refuse(away)
	w.lives.Go(func() {
		w.consumer.unassign(t.queue)
		if store != nil {
			if err := store.Close(); err != nil {
				t.log.Warn("store was not closed cleanly", "error", err)
			}
		}
		t.leave()
	})
}

// takeBack ends the time for which tasks stay away.
func (w *Worker) takeBack() {
	w.mu.Lock()
	over := false
	for id, until := range w.mu.away {
		if time.Now().After(until) {
			delete(w.mu.away, id)
			over = true
		}
	}
	away := w.awayLocked()
	w.mu.Unlock()
	if over {
		w.member.refuse(away)
		w.again()
	}
}

func (w *Worker) awayLocked() []int32 {
	ids := make([]int32, 0, len(w.mu.away))
	for id := range w.mu.away {
		ids = append(ids, id)
	}
	return ids
}

// Live is nil while the watchdog turns and can do what it is for. It is not when
// a stuck task could not be given away for Timing.Stall, because its store does
// not close or because there is nobody else: then only a restart helps. Waiting
// for a broker is not being stuck.
func (w *Worker) Live() error {
	stall := w.cfg.Timing.Stall
	if at := w.watchedAt.Load(); at != 0 && !w.Draining() {
		if idle := time.Since(time.UnixMilli(at)); idle > stall+w.cfg.Timing.Stuck {
			return fmt.Errorf("the watchdog has not looked for %v", idle)
		}
	}
	for _, t := range w.holding() {
		if took := t.busy(); took > w.cfg.Timing.Stuck+stall {
			return fmt.Errorf("task %d is stuck for %v and could not be given away", t.id, took)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, until := range w.mu.away {
		since := time.Since(until.Add(-w.cfg.Timing.Away))
		if since <= stall {
			continue
		}
		if w.member.owns(id) {
			return fmt.Errorf("task %d was stuck %v ago and nobody else has taken it", id, since)
		}
		if t, ok := w.mu.former[id].(*task); ok && !isClosed(t.gone()) {
			return fmt.Errorf("task %d was stuck %v ago and its store does not close", id, since)
		}
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
