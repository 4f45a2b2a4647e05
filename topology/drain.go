package topology

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// drain hands the tasks over before this process leaves. It tells the group, and
// goes on working: each task ends when its next owner, who has brought his store
// up to date meanwhile, has fenced it. So nobody waits for a restart, a rebalance
// or a restore. What is still here when Timing.Drain is over, or when there is
// nobody else who would take it, is ended by stop.
func (w *Worker) drain() {
	w.mu.Lock()
	w.mu.draining = true
	w.mu.Unlock()
	if w.fatal() != nil || w.cfg.Timing.Drain <= 0 || !w.busy() || !w.others() || w.member.noTakers() {
		return
	}
	began := time.Now()
	w.member.drain()
	limit := time.NewTimer(w.cfg.Timing.Drain)
	defer limit.Stop()
	for w.busy() {
		if w.member.noTakers() && !w.moving() {
			w.log.Info("nobody is there to take the tasks over: all members of the group are leaving, or do not know how", "waited", time.Since(began))
			return
		}
		select {
		case <-w.member.changed:
			w.reconcile()
		case <-w.settled:
		case <-w.failed:
			return
		case <-limit.C:
			w.log.Warn("tasks are left that nobody has taken over", "waited", w.cfg.Timing.Drain)
			return
		}
	}
	w.log.Info("all tasks are handed over", "took", time.Since(began))
}

// moving says that a task works here that was given to another process.
func (w *Worker) moving() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.mu.former {
		if w.movingLocked(id) != nil {
			return true
		}
	}
	return false
}

// busy says that a task works here, whether it is ours still or moving.
func (w *Worker) busy() bool {
	w.mu.Lock()
	here := len(w.mu.tasks) > 0
	w.mu.Unlock()
	return here || w.moving()
}

// othersWait bounds the question whether anybody else is there.
const othersWait = time.Second

// others says whether the group has another member that could take tasks over.
// When the group does not answer it could not hand anything over either.
func (w *Worker) others() bool {
	ctx, cancel := context.WithTimeout(w.hard, othersWait)
	defer cancel()
	name := group(w.cfg.App)
	groups, err := kadm.NewClient(w.admin).DescribeGroups(ctx, name)
	return err == nil && groups[name].Err == nil && len(groups[name].Members) > 1
}
