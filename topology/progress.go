package topology

import (
	"log/slog"
	"sync"
	"time"
)

// RestoreProgress follows the restores of a process. Feed it from
// Hooks.Restore and Hooks.Restored; any goroutine may.
type RestoreProgress struct {
	mu    sync.Mutex
	tasks map[int32]*RestoreStats
}

// RestoreStats says how far the restore of one task is.
type RestoreStats struct {
	Task         int32
	First        int64 // where it was first heard of, in changelog offsets
	Next, Target int64
	Began        time.Time
	Took         time.Duration // since then
	logged       time.Time
}

// Rate is in offsets per second, 0 while it is not known.
func (s *RestoreStats) Rate() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Next-s.First) / s.Took.Seconds()
}

// Left is the time to the target at that rate, -1 while it is not known.
func (s *RestoreStats) Left() time.Duration {
	rate := s.Rate()
	if rate <= 0 {
		return -1
	}
	return time.Duration(float64(max(0, s.Target-s.Next)) / rate * float64(time.Second))
}

// At notes a position and returns how far the restore is.
func (p *RestoreProgress) At(task int32, next, target int64) RestoreStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.at(task, next, target)
}

func (p *RestoreProgress) at(task int32, next, target int64) *RestoreStats {
	now := time.Now()
	if p.tasks == nil {
		p.tasks = make(map[int32]*RestoreStats)
	}
	s := p.tasks[task]
	if s == nil || next < s.Next {
		s = &RestoreStats{Task: task, First: next, Began: now, logged: now}
		p.tasks[task] = s
	}
	s.Next, s.Target, s.Took = next, target, now.Sub(s.Began)
	return s
}

// Done forgets the restore of a task.
func (p *RestoreProgress) Done(task int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tasks, task)
}

// Total adds up the restores under way: offsets done and to do since they were
// first heard of, and the longest time left (-1: not known).
func (p *RestoreProgress) Total() (done, all int64, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.tasks {
		done += s.Next - s.First
		all += max(s.Target, s.Next) - s.First
		if l := s.Left(); l < 0 || left < 0 {
			left = -1
		} else {
			left = max(left, l)
		}
	}
	return done, all, left
}

// logEvery is the time between two lines about one restore.
const logEvery = 5 * time.Second

// hooks writes a line about each restore every few seconds.
func (p *RestoreProgress) hooks(log *slog.Logger) Hooks {
	return Hooks{
		Restore: func(task int32, next, target int64) {
			p.mu.Lock()
			s := p.at(task, next, target)
			now := *s
			due := time.Since(s.logged) >= logEvery
			if due {
				s.logged = time.Now()
			}
			p.mu.Unlock()
			if due {
				log.Info("restoring", "task", task, "position", now.Next, "target", now.Target,
					"perSecond", int64(now.Rate()), "left", now.Left().Round(time.Second))
			}
		},
		Restored: func(task int32, _ int64, _ time.Duration) { p.Done(task) },
	}
}
