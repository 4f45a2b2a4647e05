package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology/balance"
)

// standby keeps the replica of a task that is active in another process up to
// date: it reads the task's changelog, committed records only, into the same
// store that the task would restore, with the same derived entries and the same
// position. A task that becomes active here gets the store open as it is, and
// has only the rest to read. A task that goes elsewhere leaves its open store to
// its standby here.
//
// It owns nothing and writes nothing to Kafka, so nothing depends on it for
// safety. It ends between two writes to the store. Whatever goes wrong, it waits
// and begins again where the store stands; it never stops the worker.
//
// All standbys of a process share one consumer. What waits in memory is bounded
// by the queue of each, as for an active task.
type standby struct {
	*replica
	former holder
	queue  *queue

	stop     chan struct{}
	stopOnce sync.Once
	kept     atomic.Bool // leave the store open for the next holder
	done     chan struct{}

	serving atomic.Pointer[statestore.Store] // while it has something to show
	fault   atomic.Pointer[error]            // the consumer or the store has found

	// Of the goroutine of run.
	pending []*kgo.Record // fetched, without the marker that ends their commit
	muts    []statestore.Mutation
	latest  int64

	mu struct {
		sync.Mutex
		next   int64     // position of the store
		end    int64     // last stable offset of the changelog, as last heard
		fresh  time.Time // the store had all that was committed at this moment
		mark   mark      // becomes fresh when the store has come there
		reason string    // why it is not getting on
	}
}

// mark says that the changelog ended at an offset at some time.
type mark struct {
	end int64
	at  time.Time
}

// Lag says how far a standby may be behind its task.
type Lag struct {
	// Records are the offsets of the changelog that the store lacks, as last
	// heard of; markers count, so it is at least the number of records.
	Records int64
	// Age is the time since the store had all that was committed. It counts on
	// between two looks at the changelog's end, so it is never too small; a
	// standby that gets on stays within a second or two. The largest duration
	// there is while the store has never been up to date.
	Age time.Duration
}

// Known says that Age is: the store has been up to date at some time.
func (l Lag) Known() bool { return l.Age != ageUnknown }

func newStandby(r *replica, former holder) *standby {
	s := &standby{replica: r, former: former, stop: make(chan struct{}), done: make(chan struct{})}
	s.queue = newQueue(&s.cfg.Limits, func() { s.w.tails.resume(s.queue) }, func(bool) {})
	return s
}

// gone is closed when the standby no longer touches its replica.
func (s *standby) gone() <-chan struct{} { return s.done }

// end asks the standby to stop. A kept one leaves its store open.
func (s *standby) end(kept bool) {
	s.kept.Store(kept)
	s.stopOnce.Do(func() { close(s.stop) })
}

// blame makes the standby begin again.
func (s *standby) blame(err error) {
	if s.fault.CompareAndSwap(nil, &err) {
		s.queue.wake()
	}
}

// run is the life of the standby.
func (s *standby) run() {
	defer close(s.done)
	if s.former != nil {
		<-s.former.gone()
		s.former = nil
	}
	s.take(s.blame)
	backoff := newBackoff(&s.cfg.Timing)
	for !s.stopping() {
		began := time.Now()
		err := s.live()
		s.serving.Store(nil)
		s.queue.clear()
		s.pending = nil
		s.fault.Store(nil)
		if s.stopping() {
			break
		}
		s.failed(err)
		if time.Since(began) > s.cfg.Timing.BackoffMax {
			backoff.reset()
		}
		timer := time.NewTimer(backoff.next())
		select {
		case <-timer.C:
		case <-s.stop:
			timer.Stop()
		}
	}
	if !s.kept.Load() {
		s.closeStore()
	}
}

func (s *standby) stopping() bool {
	select {
	case <-s.stop:
		return true
	case <-s.w.hard.Done():
		return true
	default:
		return false
	}
}

// failed notes why the standby begins again.
func (s *standby) failed(err error) {
	s.mu.Lock()
	s.mu.reason = err.Error()
	s.mu.Unlock()
	s.log.Warn("standby begins again", "error", err)
	switch {
	case classify(err) == classCorrupt:
		if err := s.wipe(err.Error()); err != nil {
			s.log.Error("store cannot be wiped", "error", err)
		}
	case errors.Is(err, statestore.ErrFailed), errors.Is(err, statestore.ErrClosed):
		s.closeStore()
	}
}

// live brings the store up to date and keeps it so until something ends it.
func (s *standby) live() error {
	ctx, cancel := context.WithCancel(s.w.hard)
	defer cancel()
	began, records := time.Now(), int64(0)
	unhook := s.cancelOnStop(cancel)
	err := s.openStore()
	if err == nil && s.store.Position().Next == 0 {
		err = s.holdOff(ctx)
	}
	if err == nil {
		records, err = s.catchUp(ctx)
	}
	unhook()
	if err != nil {
		return err
	}
	s.hooks.restored(s.id, records, time.Since(began))
	s.latest = s.store.Position().Time
	s.loaded(s.store.Position().Next)
	s.heardAt(s.store.Position().Next, began)
	s.serving.Store(s.store)
	at := []changelog.InputPosition{{Topic: s.cfg.Changelog, Partition: s.id, Next: s.store.Position().Next}}
	s.w.tails.assign(at, s.queue, s.blame, s.heard)
	defer s.w.tails.unassign(s.queue)
	for {
		select {
		case <-s.queue.ready:
		case <-s.stop:
			return errStopped
		case <-s.w.hard.Done():
			return errStopped
		}
		for more := true; more && !s.stopping(); {
			if fault := s.fault.Load(); fault != nil {
				return *fault
			}
			if more, err = s.load(); err != nil {
				return err
			}
		}
	}
}

// holdOff waits before all of a state is read, in a process that has run for a
// while: a rolling restart asks for copies that it takes back a few seconds later,
// and reading them would be what the hand-overs of the next process wait for. A
// task that is to come here is not kept waiting.
func (s *standby) holdOff(ctx context.Context) error {
	if time.Since(s.w.began) < s.cfg.Timing.Copy {
		return nil
	}
	until := time.Now().Add(s.cfg.Timing.Copy)
	for !s.w.member.expects(s.id) {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(left, time.Second)) {
			return errStopped
		}
	}
	return nil
}

// cancelOnStop ends a wait for brokers when the standby is asked to stop.
func (s *standby) cancelOnStop(cancel context.CancelFunc) (unhook func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.stop:
			cancel()
		case <-over:
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// load writes what waits into the store and reports whether there was any. It
// ends behind a marker, so that readers never see a part of a commit: what comes
// after the last one is kept until the next has come. Only a commit far above the
// limits of a cycle is written in parts.
func (s *standby) load() (more bool, err error) {
	kept := len(s.pending)
	s.pending = s.queue.take(s.cfg.Limits.CycleRecords, s.cfg.Limits.CycleBytes, s.pending)
	if len(s.pending) == kept {
		return false, nil
	}
	n := 0
	for i := len(s.pending); i > kept && n == 0; i-- {
		if s.pending[i-1].Attrs.IsControl() {
			n = i
		}
	}
	if n == 0 && len(s.pending) > pendingMost*s.cfg.Limits.CycleRecords {
		n = len(s.pending)
	}
	if n == 0 {
		return true, nil
	}
	if s.muts, s.latest, err = changelog.Mutations(s.muts[:0], s.pending[:n], s.latest); err != nil {
		return false, err
	}
	defer clear(s.muts)
	if err := s.failpoint(FailTail); err != nil {
		return false, err
	}
	next := s.pending[n-1].Offset + 1
	if err := s.store.Load(s.muts, statestore.Position{Next: next, Time: s.latest}); err != nil {
		return false, fmt.Errorf("load changelog %s/%d: %w", s.cfg.Changelog, s.id, err)
	}
	s.pending = slices.Delete(s.pending, 0, n)
	s.loaded(next)
	return true, s.failpoint(FailTailed)
}

// pendingMost is how many cycles' worth of records are kept for a marker.
const pendingMost = 4

func (s *standby) failpoint(name string) error {
	err := s.cfg.Failpoint(name, s.id)
	if errors.Is(err, ErrCrash) {
		s.w.fail(err)
	}
	return err
}

// loaded notes the position of the store.
func (s *standby) loaded(next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.next, s.mu.reason = next, ""
	s.mu.end = max(s.mu.end, next)
	s.settleLocked()
}

// heard notes up to where the changelog is committed now.
func (s *standby) heard(end int64) { s.heardAt(end, time.Now()) }

// heardAt notes that the changelog was committed up to end at a time.
func (s *standby) heardAt(end int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.end = max(s.mu.end, end)
	// A mark that is not reached yet is kept: under load the newest end is
	// always a little ahead.
	if s.mu.mark.at.IsZero() {
		s.mu.mark = mark{end: end, at: at}
	}
	s.settleLocked()
}

func (s *standby) settleLocked() {
	if m := s.mu.mark; !m.at.IsZero() && s.mu.next >= m.end {
		s.mu.fresh, s.mu.mark = m.at, mark{}
	}
}

// lag is how far the store is behind; Age counts from the start of time while
// the store has never been up to date.
func (s *standby) lag() Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Lag{Records: max(s.mu.end-s.mu.next, 0), Age: ageUnknown}
	if !s.mu.fresh.IsZero() {
		l.Age = time.Since(s.mu.fresh)
	}
	return l
}

// tailPace is how long the changelogs are left alone after each fetch. A task
// under load commits hundreds of times a second; a standby need not wake up for
// each.
const tailPace = 10 * time.Millisecond

// ageUnknown is the Age of a standby that was never up to date.
const ageUnknown = 1<<63 - 1

// warm reports whether the standby is within the acceptable lag, and otherwise
// what is missing.
func (s *standby) warm() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch lag := s.mu.end - s.mu.next; {
	case s.mu.reason != "":
		return fmt.Errorf("standby of task %d is not getting on: %s", s.id, s.mu.reason)
	case s.mu.fresh.IsZero():
		return fmt.Errorf("standby of task %d is being restored", s.id)
	case lag > s.cfg.Limits.Lag:
		return fmt.Errorf("standby of task %d lacks %d records of its changelog, at most %d are accepted", s.id, lag, s.cfg.Limits.Lag)
	}
	return nil
}

// StandbyInfo says how a standby of this process is doing.
type StandbyInfo struct {
	Task     int32
	Position int64 // in the changelog, that the store has
	Lag      Lag
	Reason   string // why it is not getting on; empty when all is well
}

func (s *standby) info() StandbyInfo {
	lag := s.lag()
	s.mu.Lock()
	defer s.mu.Unlock()
	return StandbyInfo{Task: s.id, Position: s.mu.next, Lag: lag, Reason: s.mu.reason}
}

// held is what the group is told of the standby's store.
func (s *standby) held() balance.Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return balance.Held{Task: s.id, Position: s.mu.next, End: s.mu.end}
}

// watchTails looks every while where the changelogs of the standbys end: a
// consumer hears nothing of a changelog that is idle.
func (w *Worker) watchTails() {
	for {
		select {
		case <-time.After(w.cfg.Timing.Standby):
		case <-w.left:
			return
		case <-w.hard.Done():
			return
		}
		standbys := w.standing()
		if len(standbys) == 0 {
			continue
		}
		asked := time.Now()
		ends, err := kadm.NewClient(w.admin).ListCommittedOffsets(w.hard, w.cfg.Changelog)
		if err != nil {
			w.log.Debug("ends of changelogs cannot be listed", "error", err)
			continue
		}
		for _, s := range standbys {
			if end, ok := ends.Lookup(w.cfg.Changelog, s.id); ok && end.Err == nil {
				s.heardAt(end.Offset, asked)
			}
		}
	}
}
