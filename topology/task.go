package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// TaskState is where a task is in its life:
//
//	          ┌────────────── crash path ──────────────┐
//	          ▼                                        │
//	created ─► restoring ──────────────────────────► running
//	   │         │   ▲ │                             │   │
//	   │         │   │ └──────────► halted ◄─────────┘   │
//	   │         │   └─ still ours ─┐ │                  │
//	   └─────────┴────────────────► closed ◄─────────────┘
//
// Restoring covers the waits between attempts. A fenced task is closed; it goes
// back to restoring only when the group confirms that it is still ours.
type TaskState uint8

// The states of a task.
const (
	TaskCreated   TaskState = iota + 1 // assigned, nothing done yet
	TaskRestoring                      // taking over, or waiting to try again
	TaskRunning                        // reads, commits, serves
	TaskHalted                         // stopped until a person has acted; see its reason
	TaskClosed                         // not ours, or no longer
)

func (s TaskState) String() string {
	switch s {
	case TaskCreated:
		return "created"
	case TaskRestoring:
		return "restoring"
	case TaskRunning:
		return "running"
	case TaskHalted:
		return "halted"
	case TaskClosed:
		return "closed"
	}
	return "invalid"
}

// legal lists the transitions of the picture above.
var legal = map[TaskState][]TaskState{
	TaskCreated:   {TaskRestoring, TaskClosed},
	TaskRestoring: {TaskRestoring, TaskRunning, TaskHalted, TaskClosed},
	TaskRunning:   {TaskRestoring, TaskHalted, TaskClosed},
	TaskHalted:    {TaskClosed},
	TaskClosed:    {TaskRestoring},
}

// task is one unit of ownership: a changelog partition, its input partitions,
// its store, its two transactional ids. One goroutine, run, does everything that
// changes it.
type task struct {
	*replica
	partitions int32

	former holder
	queue  *queue
	woken  atomic.Bool

	// stop is closed to end the task; the flags say how. A revoked one drops its
	// batch; one that moves goes on until its next owner has fenced it; one that is
	// kept leaves the store open for the next holder in this process.
	stop     chan struct{}
	stopOnce sync.Once
	revoked  atomic.Bool
	moving   atomic.Bool
	kept     atomic.Bool
	done     chan struct{} // closed when run has returned, or the task was given away as stuck
	doneOnce sync.Once
	quiet    chan struct{} // closed when no more commits will come

	// Of the goroutine of run.
	processor Processor
	producers *producers
	committer *committer
	current   *Cycle
	batching  batching
	positions positions
	epoch     int64
	commits   uint64
	lastTime  int64
	tookOver  time.Time // when the last takeover was through; zero after the first commit
	scratch   []*kgo.Record
	rest      []*kgo.Record // scratch of pick
	hot       bool          // the last cycle has passed records over
	mutations []*kgo.Record
	due       []timer
	encoded   []byte

	// For other goroutines.
	serving   atomic.Pointer[statestore.Store] // while running
	fault     atomic.Pointer[error]            // an order to halt, from the consumer or the topic watch
	busySince atomic.Int64                     // unix ms; 0 while not in a cycle, or waiting for Kafka
	mu        struct {
		sync.Mutex
		state  TaskState
		since  time.Time
		reason string
		struck bool                      // given away: only closed can follow
		at     []changelog.InputPosition // after the last commit
		next   int64                     // changelog position after the last commit
	}
}

// newTask makes a task that waits for the former holder of its replica, if there
// is one.
func newTask(r *replica, former holder) *task {
	t := &task{
		replica: r, former: former, partitions: r.w.layout.partitions,
		stop: make(chan struct{}), done: make(chan struct{}), quiet: make(chan struct{}),
	}
	t.batching.limits = &t.cfg.Limits
	t.queue = newQueue(&t.cfg.Limits,
		func() { t.w.consumer.resume(t.queue) },
		func(paused bool) { t.hooks.paused(t.id, paused) })
	t.mu.state, t.mu.since = TaskCreated, t.cfg.Clock()
	return t
}

// end asks the task to stop. A revoked one commits nothing more that it has not
// begun to commit.
func (t *task) end(revoked bool) {
	if revoked {
		t.revoked.Store(true)
	}
	t.stopOnce.Do(func() { close(t.stop) })
	t.queue.wake()
}

// move lets the task go on until its next owner has fenced it, or until limit is
// over: nobody else can do its work before. It takes nothing over any more. One
// that does not run ends at once.
func (t *task) move(limit time.Duration) {
	t.moving.Store(true)
	if limit <= 0 {
		t.end(true)
		return
	}
	// The task looks at moving after it has left the state running.
	if t.state() != TaskRunning {
		t.end(true)
		return
	}
	time.AfterFunc(limit, func() { t.end(true) })
	t.queue.wake()
}

// gone is closed when the task no longer touches its replica.
func (t *task) gone() <-chan struct{} { return t.done }

func (t *task) leave() { t.doneOnce.Do(func() { close(t.done) }) }

// works says that a cycle processes now, or that it waits or is over.
func (t *task) works(now bool) {
	if now {
		t.busySince.Store(time.Now().UnixMilli())
	} else {
		t.busySince.Store(0)
	}
}

// busy is how long the present cycle has processed without waiting for Kafka.
func (t *task) busy() time.Duration {
	since := t.busySince.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.UnixMilli(since))
}

func (t *task) state() TaskState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.state
}

// stopping reports whether end was called.
func (t *task) stopping() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// run is the life of the task. It returns when the task was asked to stop, and
// for a graceful stop keeps the store open until the group was left: closing it
// takes longer, and the next owner does not need it.
func (t *task) run() {
	defer t.leave()
	if t.former != nil {
		<-t.former.gone()
		t.former = nil
	}
	t.take(t.blame)
	backoff := newBackoff(&t.cfg.Timing)
	for {
		t.set(TaskRestoring, "")
		if t.moving.Load() {
			break
		}
		began := time.Now()
		err := t.live()
		t.release(err)
		if time.Since(began) > t.cfg.Timing.BackoffMax {
			backoff.reset()
		}
		if t.stopping() || t.moving.Load() {
			if kind := classify(err); kind != classStopped {
				t.log.Info("task dropped its batch while it was ending", "error", err)
				t.hooks.aborted(t.id, kind.String(), err)
			}
			break
		}
		if !t.recover(err, backoff) {
			break
		}
	}
	close(t.quiet)
	if !t.revoked.Load() && !t.moving.Load() {
		select {
		case <-t.w.left:
		case <-t.w.hard.Done():
		}
	}
	if !t.kept.Load() {
		t.closeStore()
	}
	t.set(TaskClosed, "")
}

// live takes the task over and runs it until something ends it.
func (t *task) live() error {
	ctx, cancel := context.WithCancel(t.w.hard)
	defer cancel()
	if err := t.takeoverOrStop(ctx, cancel); err != nil {
		return err
	}
	t.processor = t.cfg.Processor(t.id)
	if s, ok := t.processor.(Starter); ok && s.WakeAtStart() {
		t.woken.Store(true)
	}
	t.current = newCycle(t)
	t.publish(t.store.Position().Next)
	t.serving.Store(t.store)
	t.set(TaskRunning, "")
	t.w.consumer.assign(t.positions.list(), t.queue, t.blame, nil)
	t.firstRecords()
	err := t.loop(ctx)
	t.w.consumer.unassign(t.queue)
	return err
}

// firstRecordsWait is how long a task that begins waits for its inputs.
const firstRecordsWait = 50 * time.Millisecond

// firstRecords waits a moment for the first records. Timers became due while nobody worked on the task, and
// a transaction for them alone would hold up the records that became overdue as well.
func (t *task) firstRecords() {
	timer := time.NewTimer(firstRecordsWait)
	defer timer.Stop()
	select {
	case <-t.queue.ready:
	case <-timer.C:
	case <-t.stop:
	}
}

// takeoverOrStop runs takeover, which waits for brokers, and cuts it off when
// the task is asked to stop.
func (t *task) takeoverOrStop(ctx context.Context, cancel context.CancelFunc) error {
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		defer close(stopped)
		select {
		case <-t.stop:
			cancel()
		case <-finished:
		}
	}()
	return t.takeover(ctx)
}

// loop runs cycles until the task must end.
func (t *task) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if err := t.interrupted(); err != nil {
			return err
		}
		t.works(true)
		worked, err := t.cycle(ctx)
		t.works(false)
		if record := (*recordError)(nil); errors.As(err, &record) {
			if halted := t.batching.refused(t.current, record); halted != nil {
				err = halted
			}
		}
		if err != nil {
			return err
		}
		if worked {
			if wait := t.batching.gather(); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-t.stop:
				}
			}
			continue
		}
		// The next timer ends the wait. It is looked up again at least once a
		// minute, because the clock may be set while we sleep.
		wait := t.untilDue()
		if t.moving.Load() {
			if err := t.taken(ctx); err != nil {
				return err
			}
			wait = min(wait, movingLook)
		}
		timer.Reset(wait)
		select {
		case <-t.queue.ready:
		case <-timer.C:
		case <-t.stop:
		}
	}
}

// movingLook is how often an idle task that moves asks whether its next owner
// has taken it. A busy one learns it from its next commit.
const movingLook = 50 * time.Millisecond

// taken is ErrFenced when somebody has. A coordinator that does not answer says
// nothing.
func (t *task) taken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timing.Transaction)
	defer cancel()
	if taken, err := t.producers.taken(ctx, t.cfg.App, t.id); err == nil && taken {
		return fmt.Errorf("%w: its transactional ids were taken while it had nothing to do", ErrFenced)
	}
	return nil
}

// lookAgain bounds the sleep before a timer.
const lookAgain = time.Minute

// untilDue is how long the task may sleep when nothing arrives.
func (t *task) untilDue() time.Duration {
	flow := t.current.lanes.untilFlow(t.w.destinations)
	due, ok := t.store.NextDue()
	if !ok {
		return min(24*time.Hour, flow)
	}
	wait := due - t.clock()
	if wait >= lookAgain.Milliseconds() {
		return min(lookAgain, flow)
	}
	return min(time.Duration(max(wait, 0))*time.Millisecond, flow)
}

// clock is the time for the next cycle: it never falls.
func (t *task) clock() int64 {
	t.lastTime = max(t.lastTime, t.cfg.Clock().UnixMilli())
	return t.lastTime
}

// interrupted says why the loop must not start another cycle.
func (t *task) interrupted() error {
	if fault := t.fault.Load(); fault != nil {
		return *fault
	}
	if t.w.hard.Err() != nil || t.stopping() {
		return errStopped
	}
	return nil
}

// mayCommit is asked once, when a batch is complete and before its transaction
// begins.
func (t *task) mayCommit() error {
	if t.revoked.Load() || t.w.hard.Err() != nil {
		return errStopped
	}
	return nil
}

// blame halts or restarts the task for something that another goroutine found.
func (t *task) blame(err error) {
	if t.fault.CompareAndSwap(nil, &err) {
		t.queue.wake()
	}
}

// failpoint asks the test's function.
func (t *task) failpoint(name string) error {
	if err := t.cfg.Failpoint(name, t.id); err != nil {
		if errors.Is(err, ErrCrash) {
			t.w.fail(err)
		}
		return fmt.Errorf("failpoint %s: %w", name, err)
	}
	return nil
}

// finished tells everyone about a cycle that is committed and applied.
func (t *task) finished(c *Cycle) {
	t.commits++
	t.lastTime = max(t.lastTime, c.now)
	t.positions.copyFrom(&c.positions)
	clear(t.scratch)
	if !t.tookOver.IsZero() {
		t.log.Info("first commit after the takeover", "resumed", time.Since(t.tookOver), "commit", c.stats.Commit)
		t.tookOver = time.Time{}
	}
	t.batching.committed(c.stats.Commit, t.queue.len())
	next, ok := t.store.NextDue()
	t.batching.beside.committed(c.taken+c.pumped, c.fired, c.stats.Process+c.stats.Commit+c.stats.Apply, ok && next <= c.now, t.cfg.Limits.CycleTimers)
	t.publish(t.store.Position().Next)
	t.hooks.cycle(c.stats)
	if c.stats.Forwarded > 0 {
		t.hooks.forwarded(t.id, c.stats.Forwarded)
	}
}

// hasTaken reports whether the record at an offset of an input is part of what was
// committed and applied.
func (t *task) hasTaken(topic string, partition int32, offset int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.mu.at, func(at changelog.InputPosition) bool {
		return at.Partition == partition && at.Topic == topic && at.Next > offset
	})
}

// publish makes the positions visible to other goroutines.
func (t *task) publish(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.at = append(t.mu.at[:0], t.positions.list()...)
	t.mu.next = next
}

// release lets go of what one life held. The store stays open, unless it is the
// store that failed: a takeover goes on from where it stands.
func (t *task) release(err error) {
	t.serving.Store(nil)
	if t.producers != nil {
		t.producers.close()
		t.producers, t.committer = nil, nil
	}
	if c := t.current; c != nil {
		if c.woke {
			t.woken.Store(true)
		}
		if c.lanes != nil {
			c.lanes.forget(t.w.destinations)
		}
		t.current = nil
	}
	t.fault.Store(nil)
	t.queue.clear()
	if errors.Is(err, statestore.ErrFailed) || errors.Is(err, statestore.ErrClosed) {
		t.closeStore()
	}
}

// recover decides what follows after err, and waits for it. False ends the task.
func (t *task) recover(err error, backoff *backoff) bool {
	if t.w.hard.Err() != nil && !errors.Is(err, ErrCrash) {
		return false
	}
	kind := classify(err)
	if record := (*recordError)(nil); kind == classRecord && errors.As(err, &record) {
		// Narrowed down already by refused, unless nothing was left to narrow.
		t.log.Warn("kafka refuses a record of the batch, trying with less", "error", err)
		t.hooks.aborted(t.id, kind.String(), err)
		return true
	}
	t.hooks.aborted(t.id, kind.String(), err)
	switch kind {
	case classLane:
		t.log.Warn("a topic of others takes no records: what is for it waits, the rest goes on", "error", err)
		return true
	case classFatal:
		t.w.fail(err)
		return false
	case classHalt:
		t.log.Error("task is halted", "reason", err)
		t.set(TaskHalted, err.Error())
		t.closeStore()
		<-t.stop
		return false
	case classCorrupt:
		t.log.Warn("store is corrupt", "error", err)
		t.set(TaskRestoring, err.Error())
		if err := t.wipe(err.Error()); err != nil {
			t.log.Error("store cannot be wiped", "error", err)
		}
	case classFenced:
		t.log.Info("another owner has taken the task", "error", err)
		t.set(TaskClosed, err.Error())
		return t.stillOurs(backoff)
	default:
		t.log.Warn("task drops its batch and takes over again", "error", err)
		t.set(TaskRestoring, err.Error())
	}
	return t.pause(backoff.next())
}

// stillOurs waits until the group has confirmed that a fenced task belongs here
// after all, or until it was taken away. The waits double, so two processes that
// both believe in their ownership do not fence each other in a circle.
func (t *task) stillOurs(backoff *backoff) bool {
	for {
		if !t.pause(max(backoff.next(), 2*t.cfg.Timing.Heartbeat)) {
			return false
		}
		ctx, cancel := context.WithTimeout(t.w.hard, t.cfg.Timing.Session)
		err := t.w.member.confirm(ctx)
		cancel()
		if err == nil && t.w.member.owns(t.id) {
			t.log.Info("the group confirms the task, taking over again")
			return true
		}
	}
}

// pause waits for d, or reports false when the task is asked to stop.
func (t *task) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stop:
		return false
	case <-t.w.hard.Done():
		return false
	}
}

// set moves the task to a state and says so.
func (t *task) set(to TaskState, reason string) {
	t.mu.Lock()
	from := t.mu.state
	if from == to && t.mu.reason == reason || t.mu.struck && to != TaskClosed {
		t.mu.Unlock()
		return
	}
	ok := from == to
	for _, next := range legal[from] {
		ok = ok || next == to
	}
	if !ok {
		t.mu.Unlock()
		panic(fmt.Sprintf("task %d: no way from %v to %v", t.id, from, to))
	}
	t.mu.state, t.mu.since, t.mu.reason = to, t.cfg.Clock(), reason
	t.mu.Unlock()
	t.hooks.taskState(t.id, from, to, reason)
	if from != to {
		t.log.Info("task "+to.String(), "from", from.String())
	}
}

// strike halts a running task from outside, for good. It is false when the task
// does not run any more.
func (t *task) strike(reason string) bool {
	t.mu.Lock()
	if t.mu.state != TaskRunning || t.mu.struck {
		t.mu.Unlock()
		return false
	}
	t.mu.state, t.mu.since, t.mu.reason, t.mu.struck = TaskHalted, t.cfg.Clock(), reason, true
	t.mu.Unlock()
	t.hooks.taskState(t.id, TaskRunning, TaskHalted, reason)
	return true
}

func (t *task) newCommitter(envs [2]commitEnv) *committer {
	return &committer{envs: envs, topic: t.cfg.Changelog, app: t.cfg.App, failpoint: t.failpoint, timeout: t.cfg.Timing.Transaction,
		patience: t.cfg.Destinations.Patience, isOpen: t.w.destinations.isOpen}
}

// backoff doubles its waits.
type backoff struct {
	timing *Timing
	wait   time.Duration
}

func newBackoff(t *Timing) *backoff { return &backoff{timing: t} }

func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, b.timing.Backoff), b.timing.BackoffMax)
	return b.wait
}

func (b *backoff) reset() { b.wait = 0 }
