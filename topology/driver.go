package topology

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/murmur2"
	"github.com/amendsio/amends/statestore"
)

// Driver runs the tasks of a Config without Kafka: the cycles are the real ones, on stores in memory,
// and a transaction is a list of records that is kept or dropped. It is the engine of package
// topologytest; use that one. One goroutine uses a Driver.
type Driver struct {
	cfg    Config
	w      *Worker
	tasks  []*drivenTask
	ends   map[string][]int64 // next offset by topic and partition
	output []*Record
	round  int32 // partition of the next record without a key

	open    []*Record // produced in the transaction under way
	changes int       // those for the changelog
	refused func(rec *Record) error
}

// drivenTask is a task and what Kafka would keep of it.
type drivenTask struct {
	*task
	log  []*Record // its partition of the changelog, committed
	logs map[string][]*Record
}

// NewDriver makes the tasks and starts them. cfg needs Inputs, Processor and Index; the rest has
// defaults. Clock should be one that the caller moves.
func NewDriver(cfg Config, partitions, tasks int32) (*Driver, error) {
	cfg.App, cfg.Changelog = cmp.Or(cfg.App, "driven."), cmp.Or(cfg.Changelog, "driven.state")
	cfg.Client = []kgo.Opt{kgo.ClientID("driven")} // never used to connect
	cfg.InMemory = true
	cfg.Limits.QueueRecords, cfg.Limits.QueueBytes = 1<<24, 1<<32 // nobody could be paused
	w, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if partitions < 1 || tasks < 1 || tasks > partitions {
		return nil, fmt.Errorf("%w: %d tasks of %d partitions", ErrFatal, tasks, partitions)
	}
	w.layout = &layout{tasks: tasks, partitions: partitions}
	d := &Driver{cfg: w.cfg, w: w, ends: make(map[string][]int64)}
	for id := range tasks {
		d.tasks = append(d.tasks, &drivenTask{task: newTask(newReplica(w, id), nil), logs: make(map[string][]*Record)})
	}
	for _, t := range d.tasks {
		if err := d.start(t); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// start brings a task to where a takeover would: its store has what the changelog has, its inputs go
// on where the progress record says.
func (d *Driver) start(t *drivenTask) error {
	fs := vfs.NewMem()
	store, err := statestore.Open(statestore.Options{Dir: "/task", FS: fs, Index: d.cfg.Index, ObjectBytes: d.cfg.objectBytes(1)})
	if err != nil {
		return err
	}
	t.store = store
	var muts []statestore.Mutation
	for _, rec := range t.log {
		mut, err := changelog.Decode(rec)
		if err != nil {
			return err
		}
		muts = append(muts, mut)
	}
	if len(muts) > 0 {
		at := statestore.Position{Next: int64(len(t.log)), Time: t.log[len(t.log)-1].Timestamp.UnixMilli()}
		if err := store.Load(muts, at); err != nil {
			return err
		}
	}
	var last changelog.Progress
	if value, found, err := store.Get([]byte(changelog.ProgressKey)); err != nil {
		return err
	} else if found {
		if last, err = changelog.DecodeProgress(value); err != nil {
			return err
		}
	}
	t.epoch, t.commits, t.lastTime = last.Epoch+1, last.Commit, max(t.lastTime, last.Time)
	known := positions{all: last.Inputs}
	t.positions = positions{}
	w := t.w
	w.layout.owned(t.cfg, t.id, func(topic string, partition int32) {
		next, _ := known.next(topic, partition)
		t.positions.set(topic, partition, next)
	})
	t.positions.keep(last.Inputs, last.Ahead)
	env := commitEnv{
		begin: func() error {
			d.open, d.changes = d.open[:0], 0
			return nil
		},
		produce: d.produce,
		flush:   func(context.Context) error { return nil },
		end: func(context.Context) error {
			d.commit(t)
			return nil
		},
	}
	t.committer = t.newCommitter([2]commitEnv{env, env})
	t.queue.clear()
	for _, key := range slices.Sorted(mapKeys(t.logs)) {
		t.feed(t.logs[key])
	}
	t.processor = d.cfg.Processor(t.id)
	if s, ok := t.processor.(Starter); ok && s.WakeAtStart() {
		t.woken.Store(true)
	}
	t.current = newCycle(t.task)
	return nil
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// feed queues the records of one partition that the task has not taken yet.
func (t *drivenTask) feed(records []*Record) {
	var fresh []*kgo.Record
	for _, rec := range records {
		if next, ok := t.positions.next(rec.Topic, rec.Partition); ok && rec.Offset >= next {
			fresh = append(fresh, rec)
		}
	}
	if len(fresh) > 0 {
		t.queue.push(fresh)
	}
}

// produce is the broker's part of a commit.
func (d *Driver) produce(_ context.Context, rec *kgo.Record, done func(*kgo.Record, error)) {
	if d.refused != nil && rec.Topic != d.cfg.Changelog {
		if err := d.refused(rec); err != nil {
			done(rec, err)
			return
		}
	}
	// Batch and cycle use their memory again after the commit.
	out := *rec
	out.Key, out.Value, out.Headers = bytes.Clone(rec.Key), bytes.Clone(rec.Value), slices.Clone(rec.Headers)
	for i := range out.Headers {
		out.Headers[i].Value = bytes.Clone(out.Headers[i].Value)
	}
	if rec.Topic == d.cfg.Changelog {
		rec.Offset = int64(len(d.tasks[rec.Partition].log) + d.changes)
		d.changes++
	}
	d.open = append(d.open, &out)
	done(rec, nil)
}

// Refuse has the broker refuse output records for which fn gives an error; nil refuses none.
func (d *Driver) Refuse(fn func(rec *Record) error) { d.refused = fn }

// Input gives a record to the task of its partition: Partition as it is when zero or above, else the
// one of its key. It returns the record as it stands in the log.
func (d *Driver) Input(rec Record) (*Record, error) {
	if !slices.Contains(d.cfg.Inputs, rec.Topic) {
		return nil, fmt.Errorf("%w: no task reads topic %q", ErrFatal, rec.Topic)
	}
	return d.append(rec), nil
}

func (d *Driver) append(rec Record) *Record {
	n := d.w.layout.partitions
	switch {
	case rec.Partition >= 0:
	case rec.Key != nil:
		rec.Partition = murmur2.Partition(rec.Key, n)
	default:
		rec.Partition = d.round
		d.round = (d.round + 1) % n
	}
	ends := d.ends[rec.Topic]
	for int(rec.Partition) >= len(ends) {
		ends = append(ends, 0)
	}
	rec.Offset = ends[rec.Partition]
	ends[rec.Partition]++
	d.ends[rec.Topic] = ends
	kept := &rec
	if slices.Contains(d.cfg.Inputs, rec.Topic) && rec.Partition < n {
		t := d.tasks[rec.Partition%d.w.layout.tasks]
		key := fmt.Sprintf("%s/%d", rec.Topic, rec.Partition)
		t.logs[key] = append(t.logs[key], kept)
		t.feed([]*Record{kept})
	}
	return kept
}

// Cycle runs one cycle of every task and says whether any had something to do. An error is what would
// halt or restart the task; the batch is dropped, and the task is as after Restart.
func (d *Driver) Cycle(ctx context.Context) (worked bool, err error) {
	for _, t := range d.tasks {
		did, err := t.cycle(ctx)
		if err != nil {
			t.hooks.aborted(t.id, classify(err).String(), err)
			var record *recordError
			if errors.As(err, &record) {
				if halted := t.batching.refused(t.current, record); halted == nil {
					err = nil // the next cycle takes less
				} else {
					err = halted
				}
			}
			if again := d.restart(t); again != nil {
				return worked, again
			}
			if err != nil {
				return worked, fmt.Errorf("task %d: %w", t.id, err)
			}
			worked = true
			continue
		}
		worked = worked || did
	}
	return worked, nil
}

// commit makes the records of the transaction visible.
func (d *Driver) commit(t *drivenTask) {
	for _, rec := range d.open {
		if rec.Topic == d.cfg.Changelog {
			rec.Timestamp = d.cfg.Clock()
			t.log = append(t.log, rec)
			continue
		}
		d.output = append(d.output, d.append(*rec))
	}
	d.open = d.open[:0]
}

// Output returns what was committed to other topics since the last call, in order.
func (d *Driver) Output() []*Record {
	out := d.output
	d.output = nil
	return out
}

// Restart drops everything that a process has in memory and on disk and brings the tasks back from the
// changelog, as after the loss of a machine.
func (d *Driver) Restart() error {
	for _, t := range d.tasks {
		if err := d.restart(t); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) restart(t *drivenTask) error {
	t.closeStore()
	return d.start(t)
}

// NextDue is the earliest due time of all tasks in milliseconds since 1970.
func (d *Driver) NextDue() (at int64, ok bool) {
	for _, t := range d.tasks {
		if due, has := t.store.NextDue(); has && (!ok || due < at) {
			at, ok = due, true
		}
	}
	return at, ok
}

// Wake asks a task for a cycle, see Worker.Wake.
func (d *Driver) Wake(task int32) { d.tasks[task].woken.Store(true) }

// View reads the store of a task.
func (d *Driver) View(task int32) View { return View{task: task, store: d.tasks[task].store} }

// TaskOf is the task that a key belongs to.
func (d *Driver) TaskOf(key []byte) int32 {
	return murmur2.Partition(key, d.w.layout.partitions) % d.w.layout.tasks
}

// Tasks is the number of tasks.
func (d *Driver) Tasks() int32 { return int32(len(d.tasks)) }

// Close closes the stores.
func (d *Driver) Close() error {
	for _, t := range d.tasks {
		t.closeStore()
	}
	d.w.kill()
	return nil
}
