package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// storeFormat is the version of what this package writes under a task's
// directory by itself.
const storeFormat = 1

// StoreFormat is the format of the stores of a worker whose Config has that
// IndexVersion, for tools that make stores.
func StoreFormat(indexVersion uint16) uint32 { return storeFormat | uint32(indexVersion)<<16 }

// replica is what this process has of a task's state: the store in the task's
// directory, and how it is brought up to date from the changelog. There is one
// per task and process. It belongs to one holder at a time, the task while it is
// active here or its standby; the next holder waits until the former is done and
// finds the store as that one left it, open or closed.
type replica struct {
	w     *Worker
	cfg   *Config
	log   *slog.Logger
	hooks *hooks

	id, tasks int32
	dir       string

	store     *statestore.Store           // of the holder's goroutine; nil while closed
	has       atomic.Int64                // position that the store has at least, open or closed; 0 for nothing
	faulted   atomic.Pointer[func(error)] // of the holder: what to do when the store fails
	restoring struct{ next, target atomic.Int64 }
}

// holder is who has a replica.
type holder interface {
	// gone is closed when the holder no longer touches the replica.
	gone() <-chan struct{}
}

// storeDir is the directory of a task's store.
func storeDir(cfg *Config, id int32) string {
	return cfg.FS.PathJoin(cfg.DataDir, fmt.Sprintf("task-%d", id))
}

func newReplica(w *Worker, id int32) *replica {
	r := &replica{
		w: w, cfg: &w.cfg, log: w.log.With("task", id), hooks: &w.hooks,
		id: id, tasks: w.layout.tasks,
		dir: storeDir(&w.cfg, id),
	}
	r.has.Store(readNote(w.cfg.FS, r.dir))
	return r
}

// take makes fault the one that hears of a failed store.
func (r *replica) take(fault func(error)) { r.faulted.Store(&fault) }

// openStore opens the store, unless it is still open from its last use. A store
// that is of no use is wiped, because the changelog has it all.
func (r *replica) openStore() error {
	if r.store != nil {
		return nil
	}
	store, err := r.open()
	var identity *statestore.IdentityError
	if errors.Is(err, statestore.ErrCorrupt) || errors.As(err, &identity) && identity.Rebuild() {
		if err := r.wipe(err.Error()); err != nil {
			return err
		}
		store, err = r.open()
	}
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	r.store = store
	r.has.Store(store.Position().Next)
	return nil
}

func (r *replica) open() (*statestore.Store, error) {
	return statestore.Open(statestore.Options{
		Dir: r.dir, FS: r.cfg.FS, Shared: r.w.shared, Index: r.cfg.Index, Logger: r.log,
		ObjectBytes: r.cfg.objectBytes(r.tasks),
		OnFailure:   func(err error) { (*r.faulted.Load())(err) },
		Identity: statestore.Identity{
			Format: StoreFormat(r.cfg.IndexVersion), Cluster: r.w.layout.cluster, Topic: r.cfg.Changelog, TopicID: r.w.layout.changelog,
			Partition: r.id, Partitions: r.tasks,
		},
	})
}

// closeStore closes the store, if it is open.
func (r *replica) closeStore() {
	if r.store == nil {
		return
	}
	next := r.store.Position().Next
	if err := r.store.Close(); err != nil {
		r.log.Warn("store was not closed cleanly", "error", err)
	}
	r.store = nil
	r.has.Store(next)
	if err := writeNote(r.cfg.FS, r.dir, next); err != nil {
		r.log.Debug("no note of the store's position was left", "error", err)
	}
}

// wipe throws the local copy away.
func (r *replica) wipe(reason string) error {
	r.closeStore()
	r.has.Store(0)
	r.log.Warn("local store is thrown away and rebuilt from the changelog", "reason", reason)
	r.hooks.wiped(r.id, reason)
	if err := statestore.Wipe(r.cfg.FS, r.dir); err != nil {
		return fmt.Errorf("wipe store: %w", err)
	}
	return nil
}

// catchUpRounds bounds how often catchUp reads what was committed while it read,
// and catchUpNear is how near is near enough, in offsets.
const (
	catchUpRounds = 5
	catchUpNear   = 1000
)

// catchUp brings the store near to what is committed now, without taking the
// task away from whoever owns it: it reads to the last stable offset, again and
// again while the owner commits. So the owner stands still only while the rest
// is read, whether the store was empty or warm.
func (r *replica) catchUp(ctx context.Context) (records int64, err error) {
	for range catchUpRounds {
		stable, err := changelog.StableEnds(ctx, r.w.admin, r.cfg.Changelog, r.id)
		if err != nil {
			return records, fmt.Errorf("ends of changelog: %w", err)
		}
		// The marker of the last commit that the store contains may be late.
		if r.store.Position().Next >= stable.End {
			return records, nil
		}
		n, err := r.restore(ctx, stable)
		records += n
		if err != nil || n < catchUpNear {
			return records, err
		}
	}
	return records, nil
}

// merging writes a line every few seconds while a restore that has read all puts
// its keys in order, which takes a large store a while.
func (r *replica) merging() func(keys int64) {
	var began, logged time.Time
	return func(keys int64) {
		now := time.Now()
		if began.IsZero() {
			began, logged = now, now
		}
		if now.Sub(logged) >= logEvery {
			logged = now
			r.log.Info("restored, putting in order", "keys", keys, "took", now.Sub(began))
		}
	}
}

// restore brings the store to an end of the changelog, or wipes it first when it
// cannot be trusted.
func (r *replica) restore(ctx context.Context, ends changelog.Range) (records int64, err error) {
	retention := r.w.layout.deleteRetention
	if retention == 0 {
		retention = r.cfg.Timing.DeleteRetention
	}
	verdict, reason := changelog.Trust(r.store.Position(), ends, r.cfg.Clock().UnixMilli(), retention.Milliseconds())
	from := r.store.Position().Next
	switch verdict {
	case changelog.TrustTail:
	case changelog.Rebuild:
		from = ends.Start
		if err := r.wipe(reason); err != nil {
			return 0, err
		}
		if err := r.openStore(); err != nil {
			return 0, err
		}
	default:
		return 0, halt("changelog %s/%d cannot be the one this store was made from: %s", r.cfg.Changelog, r.id, reason)
	}
	// A short tail is read at once: it must not wait for those that restore everything.
	if ends.End-from > catchUpNear {
		select {
		case r.w.restores <- struct{}{}:
			defer func() { <-r.w.restores }()
		case <-ctx.Done():
			return 0, errStopped
		}
	}

	began := time.Now()
	r.restoring.target.Store(ends.End)
	reading := changelog.Restore{
		Client: r.w.admin, Topic: r.cfg.Changelog, Partition: r.id,
		From: from, Target: ends.End, MaxBytes: r.cfg.Limits.RestoreFetchBytes,
		Memory: r.cfg.Limits.RestoreMemory, Pace: r.w.pacer.pace,
		OnProgress: func(next int64) {
			r.restoring.next.Store(next)
			r.hooks.restore(r.id, next, ends.End)
		},
		OnMerge: r.merging(),
	}
	records, err = reading.Into(ctx, r.store)
	if err != nil {
		return records, fmt.Errorf("restore %s/%d: %w", r.cfg.Changelog, r.id, err)
	}
	if records > 0 {
		r.log.Info("restored", "records", records, "position", r.store.Position().Next, "took", time.Since(began))
	}
	return records, nil
}
