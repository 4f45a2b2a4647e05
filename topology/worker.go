package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/murmur2"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology/balance"
)

// Worker is one process's share of the work: a member of the group, one
// consumer, and the tasks that the group has given to it.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	hooks hooks

	// hard ends when everything must be dropped: on a crash, or when a graceful
	// stop has taken too long. Every client and wait depends on it.
	hard context.Context
	kill context.CancelFunc

	started  atomic.Bool
	began    time.Time // of Run
	layout   *layout   // set once by Run, before running is closed
	ready    chan struct{}
	admin    *kgo.Client
	shared   *statestore.Shared
	consumer *consumer // of inputs, for the active tasks
	tails    *consumer // of changelogs, for the standbys
	member   *member
	owners   *owners
	restores chan struct{} // one token per restore under way
	pacer    pacer
	progress RestoreProgress
	left     chan struct{} // closed when the group was left
	lives    sync.WaitGroup

	destinations *destinations

	mu struct {
		sync.Mutex
		replicas map[int32]*replica
		tasks    map[int32]*task
		standbys map[int32]*standby
		former   map[int32]holder    // the last holder of a replica; perhaps not gone yet
		away     map[int32]time.Time // tasks that were stuck here: not before that time
		draining bool
		stopping bool
		fatal    error
	}
	tailing   sync.Once     // the first standby begins watchTails
	settled   chan struct{} // has a token when a holder has gone
	restless  chan struct{} // has a token when reconcile has something to do, whatever the group says
	watchedAt atomic.Int64  // unix ms, by the watchdog
	failed    chan struct{} // closed with the first fatal error
}

// New checks the configuration. It talks to no broker.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger,
		ready: make(chan struct{}), left: make(chan struct{}), failed: make(chan struct{}),
		restores: make(chan struct{}, cfg.Limits.Restores), settled: make(chan struct{}, 1), restless: make(chan struct{}, 1),
	}
	w.pacer.share, w.pacer.restores = cfg.Limits.RestoreShare, func() int { return len(w.restores) }
	w.hooks = hooks{Tee(cfg.Hooks, w.pacer.hooks(), w.progress.hooks(cfg.Logger))}
	w.hard, w.kill = context.WithCancel(context.Background())
	w.owners = newOwners(w)
	w.destinations = newDestinations(&w.cfg, &w.hooks)
	w.destinations.wake = w.wakeAll
	w.destinations.spawn = func(fn func(stop <-chan struct{})) { w.lives.Go(func() { fn(w.left) }) }
	w.mu.replicas, w.mu.former = make(map[int32]*replica), make(map[int32]holder)
	w.mu.away = make(map[int32]time.Time)
	w.mu.tasks, w.mu.standbys = make(map[int32]*task), make(map[int32]*standby)
	return w, nil
}

// Run works until ctx ends or something fatal happens. When ctx ends it stops
// gracefully and returns nil: each task finishes and commits the batch it has,
// the process leaves the group so that the tasks move on, the stores are closed.
// A Worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	if !w.started.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: a worker runs only once", ErrFatal)
	}
	defer w.kill()
	w.began = time.Now()
	if err := w.start(ctx); err != nil {
		w.release()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var watching sync.WaitGroup
	watch, unwatch := context.WithCancel(w.hard)
	watching.Go(func() { w.watchTopics(watch) })
	watching.Go(func() { w.publishOffsets(watch) })
	watching.Go(func() { w.watchTasks(watch) })

	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-w.failed:
			done = true
		case <-w.member.changed:
			w.reconcile()
		case <-w.restless:
			w.reconcile()
		}
	}
	w.drain()
	unwatch()
	w.stop()
	watching.Wait()
	w.release()
	return w.fatal()
}

// clientOpts are the options of every client; ctx ends it at once.
func (w *Worker) clientOpts(ctx context.Context) []kgo.Opt {
	// Brokers may ask clients for metrics. Three clients and two per task would
	// each push theirs; ours come from Hooks.
	opts := append([]kgo.Opt{kgo.DisableClientMetrics(), kgo.MetadataMinAge(metadataMinAge)}, w.cfg.Client...)
	if w.cfg.Advertise != "" {
		opts = append(opts, kgo.ClientID(clientPrefix+w.cfg.Advertise))
	}
	return append(opts, kgo.WithContext(ctx))
}

// metadataMinAge is how long a client waits between two looks at the topics. It
// does not produce to a partition that has refused it, for whatever reason, before
// it has looked again; one of the reasons is that the markers of the transaction
// before are late, which passes in milliseconds. With the client's own 5 s each of
// them would stop the task for so long.
const metadataMinAge = 50 * time.Millisecond

// start connects and joins the group.
func (w *Worker) start(ctx context.Context) error {
	admin, err := kgo.NewClient(w.clientOpts(w.hard)...)
	if err != nil {
		return fmt.Errorf("%w: client: %w", ErrFatal, err)
	}
	w.admin = admin
	layout, err := awaitLayout(ctx, admin, &w.cfg)
	if err != nil {
		return err
	}
	w.layout = layout
	w.cfg.divide(layout.tasks)
	w.shared = statestore.NewShared(w.cfg.CacheBytes, storeFiles)
	if w.cfg.Memory > 0 {
		w.shared.Divide(w.cfg.unflushed(), int(layout.tasks))
	}
	if w.consumer, err = newConsumer(&w.cfg, "input", w.clientOpts(w.hard)); err != nil {
		return err
	}
	go w.consumer.run()
	// Markers are kept: they are the last that a changelog has, and the position
	// must come behind them.
	if w.tails, err = newConsumer(&w.cfg, "changelog", w.clientOpts(w.hard), kgo.KeepControlRecords()); err != nil {
		return err
	}
	w.tails.pace = tailPace
	go w.tails.run()
	w.mu.Lock()
	for id := range layout.tasks {
		if readNote(w.cfg.FS, storeDir(&w.cfg, id)) > 0 {
			w.replicaLocked(id)
		}
	}
	w.mu.Unlock()
	if w.member, err = newMember(&w.cfg, w.clientOpts(w.hard), w.held); err != nil {
		return err
	}
	close(w.ready)
	prober := newProber(&w.cfg, w.clientOpts(w.hard))
	w.destinations.probe = func(f laneFault) error { return prober.probe(w.hard, f) }
	w.log.Info("joining the group", "group", group(w.cfg.App), "tasks", layout.tasks, "partitions", layout.partitions)
	return nil
}

// storeFiles is the size of the file cache that all stores share.
const storeFiles = 1000

// release closes what start has opened.
func (w *Worker) release() {
	for _, c := range []*consumer{w.consumer, w.tails} {
		if c != nil {
			c.close()
		}
	}
	if w.shared != nil {
		w.shared.Close()
	}
	if w.admin != nil {
		w.admin.Close()
	}
}

// reconcile makes the holders of replicas what the group wants them to be. A
// replica goes from one to the next as it is; see replica.
func (w *Worker) reconcile() {
	active, assigned, revoked := w.member.owned()
	standing := w.member.standbys()
	w.hooks.rebalance(assigned, revoked)
	w.owners.forget()

	w.mu.Lock()
	defer w.mu.Unlock()
	away := func(id int32) bool { _, ok := w.mu.away[id]; return ok }
	active, standing = slices.DeleteFunc(active, away), slices.DeleteFunc(standing, away)
	for id, t := range w.mu.tasks {
		if !slices.Contains(active, id) {
			t.kept.Store(slices.Contains(standing, id))
			t.move(w.cfg.Timing.Drain)
			w.mu.former[id] = t
			delete(w.mu.tasks, id)
		}
	}
	for id, s := range w.mu.standbys {
		if soon := slices.Contains(active, id); soon || !slices.Contains(standing, id) {
			s.end(soon)
			w.mu.former[id] = s
			delete(w.mu.standbys, id)
		}
	}
	for _, id := range active {
		if w.mu.tasks[id] == nil {
			if t, ok := w.mu.former[id].(*task); ok {
				t.kept.Store(true) // it came back before anybody else had it
				t.end(true)
			}
			t := newTask(w.replicaLocked(id), w.mu.former[id])
			delete(w.mu.former, id)
			w.mu.tasks[id] = t
			w.live(t, t.run)
		}
	}
	for _, id := range standing {
		if w.mu.standbys[id] == nil && w.mu.tasks[id] == nil {
			s := newStandby(w.replicaLocked(id), w.mu.former[id])
			delete(w.mu.former, id)
			w.mu.standbys[id] = s
			w.live(s, s.run)
			w.tailing.Do(func() { w.lives.Go(w.watchTails) })
		}
	}
}

// again has reconcile run once more.
func (w *Worker) again() {
	select {
	case w.restless <- struct{}{}:
	default:
	}
}

func (w *Worker) replicaLocked(id int32) *replica {
	r := w.mu.replicas[id]
	if r == nil {
		r = newReplica(w, id)
		w.mu.replicas[id] = r
	}
	return r
}

// live runs a holder and says so when it has gone.
func (w *Worker) live(h holder, run func()) {
	w.lives.Go(func() {
		<-h.gone()
		select {
		case w.settled <- struct{}{}:
		default:
		}
	})
	go run()
}

// stop ends all tasks, leaves the group and waits for the stores to be closed.
func (w *Worker) stop() {
	cut := time.AfterFunc(w.cfg.Timing.Stop, w.kill)
	defer cut.Stop()
	w.mu.Lock()
	w.mu.stopping = true
	var tasks []*task
	for _, t := range w.mu.tasks {
		tasks = append(tasks, t)
	}
	for _, h := range w.mu.former {
		if t, ok := h.(*task); ok {
			tasks = append(tasks, t)
		}
	}
	standbys := make([]*standby, 0, len(w.mu.standbys))
	for _, s := range w.mu.standbys {
		standbys = append(standbys, s)
	}
	w.mu.Unlock()
	for _, t := range tasks {
		t.end(false)
	}
	for _, t := range tasks {
		select {
		case <-t.quiet:
		case <-t.gone(): // given away as stuck
		}
	}
	w.member.leave()
	close(w.left)
	for _, s := range standbys {
		s.end(false)
	}
	w.lives.Wait()
	w.log.Info("worker stopped")
}

// fail stops the worker with err; the first one counts. A crash stops it as
// kill -9 would.
func (w *Worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.fatal != nil {
		return
	}
	w.mu.fatal = err
	close(w.failed)
	if errors.Is(err, ErrCrash) {
		w.kill()
	}
}

func (w *Worker) fatal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.fatal
}

// watchTopics halts all tasks when the topics no longer are what they were at
// the start. A difference must be seen twice: metadata may lag.
func (w *Worker) watchTopics(ctx context.Context) {
	if w.cfg.Timing.Topics < 0 {
		return
	}
	seen := false
	for sleep(ctx, w.cfg.Timing.Topics) {
		now, err := readLayout(ctx, w.admin, &w.cfg)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errLayout):
			err = halt("%w", err)
		case err != nil:
			w.log.Warn("topics cannot be checked", "error", err)
			continue
		default:
			err = w.layout.changed(now, &w.cfg)
		}
		if err != nil && seen {
			for _, t := range w.running() {
				t.blame(err)
			}
		}
		seen = err != nil
	}
}

// publishOffsets writes the positions of all tasks as plain group offsets, for
// people's lag tools. Nothing reads them back.
func (w *Worker) publishOffsets(ctx context.Context) {
	if w.cfg.Timing.Offsets < 0 {
		return
	}
	var last []changelog.InputPosition
	for sleep(ctx, w.cfg.Timing.Offsets) {
		var all positions
		for _, t := range w.running() {
			t.mu.Lock()
			for _, at := range t.mu.at {
				all.set(at.Topic, at.Partition, at.Next)
			}
			t.mu.Unlock()
		}
		if slices.Equal(all.list(), last) {
			continue
		}
		if err := w.member.commit(ctx, all.list(), w.layout.inputs); err != nil {
			w.log.Debug("offsets for lag tools were not written", "error", err)
			continue
		}
		last = all.list()
	}
}

// standing lists the standbys of this process.
func (w *Worker) standing() []*standby {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*standby, 0, len(w.mu.standbys))
	for _, s := range w.mu.standbys {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *standby) int { return int(a.id - b.id) })
	return list
}

// wakeAll has every task look at what waits.
func (w *Worker) wakeAll() {
	for _, t := range w.running() {
		t.queue.wake()
	}
}

// Destinations describes the topics of others that take no records now, or that keys of this process
// wait for, by topic.
func (w *Worker) Destinations() []DestinationInfo { return w.destinations.list() }

// running lists the tasks of this process.
func (w *Worker) running() []*task {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*task, 0, len(w.mu.tasks))
	for _, t := range w.mu.tasks {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *task) int { return int(a.id - b.id) })
	return list
}

// find gives one task of this process, or nil. One that was given to another
// process is still found: it works until that one has fenced it.
func (w *Worker) find(task int32) *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.mu.tasks[task]
	if t == nil {
		t = w.movingLocked(task)
	}
	return t
}

func (w *Worker) movingLocked(id int32) *task {
	if t, ok := w.mu.former[id].(*task); ok && t.serving.Load() != nil {
		return t
	}
	return nil
}

// Standbys describes the standbys of this process, by number of the task.
func (w *Worker) Standbys() []StandbyInfo {
	var list []StandbyInfo
	for _, s := range w.standing() {
		list = append(list, s.info())
	}
	return list
}

// StaleView gives access to the store of a standby in this process, and says how
// far it may be behind. It shows whole commits.
func (w *Worker) StaleView(task int32) (View, Lag, bool) {
	w.mu.Lock()
	s := w.mu.standbys[task]
	w.mu.Unlock()
	if s == nil {
		return View{}, Lag{}, false
	}
	lag, store := s.lag(), s.serving.Load()
	return View{task: task, store: store}, lag, store != nil
}

// Tasks describes the tasks of this process, by number.
func (w *Worker) Tasks() []TaskInfo {
	var list []TaskInfo
	for _, t := range w.running() {
		list = append(list, t.info())
	}
	return list
}

func (t *task) info() TaskInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TaskInfo{
		Task: t.id, State: t.mu.state, Reason: t.mu.reason, Since: t.mu.since.UnixMilli(),
		Queued: t.queue.len(), Position: t.mu.next, Inputs: slices.Clone(t.mu.at),
		RestoreNext: t.restoring.next.Load(), RestoreTarget: t.restoring.target.Load(),
	}
}

// Ready is nil when this process is a member of the group, all its tasks run
// and its standbys are within Limits.Lag. Otherwise the error says what is
// missing.
func (w *Worker) Ready() error {
	select {
	case <-w.ready:
	default:
		return errors.New("not connected yet")
	}
	if w.Draining() {
		return errors.New("stopping")
	}
	if !w.member.joined() {
		return errors.New("not a member of the group yet")
	}
	for _, id := range w.member.peek() {
		t := w.find(id)
		if t == nil {
			return fmt.Errorf("task %d is not started yet", id)
		}
		if info := t.info(); info.State != TaskRunning {
			return fmt.Errorf("task %d is %v: %s", id, info.State, info.Reason)
		}
	}
	for _, id := range w.member.standbys() {
		w.mu.Lock()
		s := w.mu.standbys[id]
		w.mu.Unlock()
		if s == nil {
			return fmt.Errorf("standby of task %d is not started yet", id)
		}
		if err := s.warm(); err != nil {
			return err
		}
	}
	return nil
}

// Draining reports whether this process is stopping: it gives its tasks away and
// takes no new ones.
func (w *Worker) Draining() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.draining || w.mu.stopping
}

// Partition is the input partition of a key, or -1 before the worker knows how
// many there are.
func (w *Worker) Partition(key []byte) int32 {
	select {
	case <-w.ready:
		return murmur2.Partition(key, w.layout.partitions)
	default:
		return -1
	}
}

// TaskOf is the task that a key belongs to, or -1 as Partition.
func (w *Worker) TaskOf(key []byte) int32 {
	if p := w.Partition(key); p >= 0 {
		return p % w.layout.tasks
	}
	return -1
}

// View gives access to the store of a task that runs in this process.
func (w *Worker) View(task int32) (View, bool) {
	t := w.find(task)
	if t == nil {
		return View{}, false
	}
	store := t.serving.Load()
	return View{task: task, store: store}, store != nil
}

// Owner tells which process runs a task: its advertised address, and whether it
// is this one. The address is empty when the group has given the task to
// nobody, or to a process that advertises none.
func (w *Worker) Owner(ctx context.Context, task int32) (address string, self bool, err error) {
	select {
	case <-w.ready:
	default:
		return "", false, errors.New("not connected yet")
	}
	if t := w.find(task); t != nil && (w.member.owns(task) || t.serving.Load() != nil) {
		return w.cfg.Advertise, true, nil
	}
	if active, _, ok := w.member.route(task); ok && active != "" && active != w.cfg.Advertise && w.member.joined() {
		return active, false, nil
	}
	address, err = w.owners.find(ctx, task)
	return address, false, err
}

// Copies are the addresses of the processes that keep a copy of a task's state
// without running it, as the group's last plan said.
func (w *Worker) Copies(task int32) []string {
	select {
	case <-w.ready:
	default:
		return nil
	}
	_, standbys, _ := w.member.route(task)
	return standbys
}

// Addresses are those of all processes of the group that told one, this one included, as the group's
// last plan said; nil when it said nothing.
func (w *Worker) Addresses() []string {
	select {
	case <-w.ready:
		return w.member.addresses()
	default:
		return nil
	}
}

// awaitEvery is how often Await looks.
const awaitEvery = 2 * time.Millisecond

// Await waits until a task that runs in this process has taken the record at an
// offset of an input: what it changed is then in the store. It returns
// ErrNotRunning when the task does not run here, or stops meanwhile, and the
// error of ctx when that ends first.
func (w *Worker) Await(ctx context.Context, topic string, partition int32, offset int64) error {
	select {
	case <-w.ready:
	default:
		return ErrNotRunning
	}
	if partition < 0 || partition >= w.layout.partitions || offset < 0 {
		return fmt.Errorf("%w: no position %s/%d@%d", ErrNotRunning, topic, partition, offset)
	}
	task := partition % w.layout.tasks
	var tick *time.Ticker
	for {
		t := w.find(task)
		if t == nil || t.serving.Load() == nil {
			return ErrNotRunning
		}
		if t.hasTaken(topic, partition, offset) {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(awaitEvery)
			defer tick.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// MemberID is the id of this process in the group, "" before it has one. It is a new one after each
// start, and after the process was put out of the group.
func (w *Worker) MemberID() string {
	select {
	case <-w.ready:
		id, _ := w.member.cl.GroupMetadata()
		return id
	default:
		return ""
	}
}

// Wake asks a task for a cycle, also without input. A Processor that is a Waker
// is called in it. Calls before the task has come to it count once.
func (w *Worker) Wake(task int32) {
	if t := w.find(task); t != nil {
		t.woken.Store(true)
		t.queue.wake()
	}
}

// held tells the group what this process has: the stores of its tasks, which
// lack nothing, those of its standbys, and those that nobody uses now, or not yet,
// of which it does not know what they lack.
func (w *Worker) held() []balance.Held {
	var list []balance.Held
	told := make(map[int32]bool)
	add := func(h balance.Held) { list, told[h.Task] = append(list, h), true }
	for _, t := range w.running() {
		if t.serving.Load() == nil {
			continue
		}
		t.mu.Lock()
		add(balance.Held{Task: t.id, Position: t.mu.next, End: t.mu.next})
		t.mu.Unlock()
	}
	for _, s := range w.standing() {
		if s.serving.Load() != nil {
			add(s.held())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, r := range w.mu.replicas {
		if at := r.has.Load(); at > 0 && !told[id] {
			list = append(list, balance.Held{Task: id, Position: at, End: -1})
		}
	}
	return list
}
