package keyed

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partition is one partition for as long as this process has it. When it comes back it is a new one, so
// what ends late cannot touch what came after.
//
// A key with work has a lane: a queue and one goroutine, which ends with the queue. The goroutines of a
// partition are therefore bounded by its window.
type partition struct {
	p     *Processor
	topic string
	id    int32

	ctx     context.Context // of the handlers; cut off when draining has taken too long
	cut     context.CancelFunc
	closing chan struct{} // closed: no call begins any more
	lives   sync.WaitGroup

	mu struct {
		sync.Mutex
		window  window
		lanes   map[string]*lane
		waiting []*kgo.Record // fetched, and no room in the window yet
		paused  bool
		closed  bool
	}
}

// lane is the queue of one key; its goroutine works on the job before the first.
type lane struct{ jobs []job }

// job is one record in the window.
type job struct {
	rec    *kgo.Record
	number uint64
}

func newPartition(p *Processor, topic string, id int32) *partition {
	x := &partition{p: p, topic: topic, id: id, closing: make(chan struct{})}
	x.ctx, x.cut = context.WithCancel(context.Background())
	x.mu.lanes = make(map[string]*lane)
	return x
}

// weight is about what a record holds in memory.
func weight(rec *kgo.Record) int {
	n := len(rec.Key) + len(rec.Value) + 128
	for i := range rec.Headers {
		n += len(rec.Headers[i].Key) + len(rec.Headers[i].Value) + 32
	}
	return n
}

// take gets what a fetch has brought, and reports whether the partition must be paused.
func (x *partition) take(records []*kgo.Record) (pause bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.closed {
		return false
	}
	x.mu.waiting = append(x.mu.waiting, records...)
	x.fillLocked()
	if len(x.mu.waiting) > 0 && !x.mu.paused {
		x.mu.paused = true
		return true
	}
	return false
}

// fillLocked moves records into the window while there is room. A record that is larger than the whole
// window has it alone.
func (x *partition) fillLocked() {
	w, cfg := &x.mu.window, &x.p.cfg
	taken := 0
	for _, rec := range x.mu.waiting {
		n := weight(rec)
		if w.len() >= cfg.Pending || w.len() > 0 && w.bytes+n > cfg.PendingBytes {
			break
		}
		x.beginLocked(job{rec, w.add(rec, n)})
		taken++
	}
	clear(x.mu.waiting[:taken])
	if x.mu.waiting = x.mu.waiting[taken:]; len(x.mu.waiting) == 0 {
		x.mu.waiting = nil
	}
}

// beginLocked puts a job on the lane of its key.
func (x *partition) beginLocked(j job) {
	if j.rec.Key == nil {
		x.lives.Go(func() { x.work("", nil, j) })
		return
	}
	key := string(j.rec.Key)
	if l := x.mu.lanes[key]; l != nil {
		l.jobs = append(l.jobs, j)
		return
	}
	l := &lane{}
	x.mu.lanes[key] = l
	x.lives.Go(func() { x.work(key, l, j) })
}

// work does the jobs of a lane one after another.
func (x *partition) work(key string, l *lane, j job) {
	for x.handle(j.rec) {
		var more bool
		if j, more = x.finish(key, l, j); !more {
			return
		}
	}
}

// finish marks a job as done and gives the next of its lane.
func (x *partition) finish(key string, l *lane, j job) (next job, more bool) {
	x.mu.Lock()
	x.mu.window.done(j.number)
	if !x.mu.closed {
		x.fillLocked()
	}
	resume := x.mu.paused && len(x.mu.waiting) == 0 && x.roomLocked()
	if resume {
		x.mu.paused = false
	}
	if l != nil {
		if more = len(l.jobs) > 0; more {
			next, l.jobs = l.jobs[0], l.jobs[1:]
		} else {
			delete(x.mu.lanes, key)
		}
	}
	x.mu.Unlock()
	if resume {
		x.p.resume(x)
	}
	return next, more
}

// roomLocked says that the window is at most half full.
func (x *partition) roomLocked() bool {
	w := &x.mu.window
	return w.len() <= x.p.cfg.Pending/2 && w.bytes <= x.p.cfg.PendingBytes/2
}

// handle tries a record until it is done. False means that the partition is closing and the record is
// not done.
func (x *partition) handle(rec *kgo.Record) bool {
	cfg := &x.p.cfg
	began, wait := time.Now(), cfg.Backoff
	for attempt := 1; ; attempt++ {
		err, called := x.call(func(ctx context.Context) error { return cfg.Handle(ctx, rec) })
		if !called {
			return false
		}
		if err == nil {
			if hook := cfg.Hooks.Handled; hook != nil {
				hook(rec, attempt, time.Since(began))
			}
			return true
		}
		if hook := cfg.Hooks.Failed; hook != nil {
			hook(rec, attempt, err)
		}
		if cfg.Attempts > 0 && attempt >= cfg.Attempts {
			cause := err
			err, called = x.call(func(ctx context.Context) error { return cfg.SetAside(ctx, rec, cause) })
			if !called {
				return false
			}
			if err == nil {
				return true
			}
			cfg.Logger.Warn("record cannot be set aside", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
		}
		if !x.pause(wait) {
			return false
		}
		wait = min(2*wait, cfg.BackoffMax)
	}
}

// call runs fn when there is a free slot. called is false when the partition is closing first.
func (x *partition) call(fn func(context.Context) error) (err error, called bool) {
	select {
	case <-x.closing:
		return nil, false
	default:
	}
	if x.p.slots != nil {
		select {
		case x.p.slots <- struct{}{}:
			defer func() { <-x.p.slots }()
		case <-x.closing:
			return nil, false
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err, called = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack()), true
		}
	}()
	return fn(x.ctx), true
}

// pause waits for d, or reports false when the partition is closing.
func (x *partition) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.closing:
		return false
	}
}

// close ends the partition: no call begins any more, what was not begun is dropped. It reports whether
// fetching was paused.
func (x *partition) close() (paused bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.mu.closed {
		x.mu.closed = true
		close(x.closing)
	}
	x.mu.waiting = nil
	return x.mu.paused
}

// drained waits until nothing of a closed partition runs; false when ctx ends first.
func (x *partition) drained(ctx context.Context) bool {
	done := make(chan struct{})
	x.p.waits.Go(func() {
		defer close(done)
		x.lives.Wait()
	})
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// commit is the prefix, when it has moved since the last commit.
func (x *partition) commit() (at kgo.EpochOffset, moved bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.window.next, x.mu.window.moved
}

// committed notes that the prefix was committed up to at.
func (x *partition) committed(at kgo.EpochOffset) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.window.next == at {
		x.mu.window.moved = false
	}
}
