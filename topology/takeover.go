package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// storeFormat is the version of what this package writes under a task's
// directory by itself.
const storeFormat = 1

// takeover makes this task the owner of its partition and brings its store to
// the end of the changelog. The order is what makes it safe:
//
//  1. InitProducerID on both transactional ids. From here on no commit of a
//     former owner can succeed; what it had open is aborted, what it had
//     decided is in the log.
//  2. The end of the changelog, read uncommitted: nothing can be added to it
//     any more but by this task, and a marker that lags does not hide the last
//     commit, as the last stable offset would.
//  3. Restore to that end, read committed.
//  4. The progress record in the store says where the inputs go on.
//
// It is also what a task does after every error: see committer.
func (t *task) takeover(ctx context.Context) error {
	if err := t.failpoint(FailTakeover); err != nil {
		return err
	}
	if err := t.openStore(); err != nil {
		return err
	}
	clients, err := newProducers(ctx, t.cfg, t.w.clientOpts(t.w.hard), t.id)
	if err != nil {
		return err
	}
	t.producers = clients
	t.committer = t.newCommitter(clients.envs())

	if err := t.failpoint(FailRestore); err != nil {
		return err
	}
	if err := t.restore(ctx); err != nil {
		return err
	}
	if err := t.failpoint(FailRestored); err != nil {
		return err
	}
	return t.resume(ctx)
}

// openStore opens the store, unless it is still open from the last takeover. A
// store that is of no use is wiped, because the changelog has it all.
func (t *task) openStore() error {
	if t.store != nil {
		return nil
	}
	store, err := t.open()
	var identity *statestore.IdentityError
	if errors.Is(err, statestore.ErrCorrupt) || errors.As(err, &identity) && identity.Rebuild() {
		if err := t.wipe(err.Error()); err != nil {
			return err
		}
		store, err = t.open()
	}
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	t.store = store
	return nil
}

func (t *task) open() (*statestore.Store, error) {
	return statestore.Open(statestore.Options{
		Dir: t.dir, FS: t.cfg.FS, Shared: t.w.shared, Index: t.cfg.Index, Logger: t.log, OnFailure: t.blame,
		Identity: statestore.Identity{
			Format: storeFormat, Cluster: t.w.layout.cluster, Topic: t.cfg.Changelog, TopicID: t.w.layout.changelog,
			Partition: t.id, Partitions: t.tasks,
		},
	})
}

// wipe throws the local copy away.
func (t *task) wipe(reason string) error {
	t.closeStore()
	t.log.Warn("local store is thrown away and rebuilt from the changelog", "reason", reason)
	t.hooks.wiped(t.id, reason)
	if err := statestore.Wipe(t.cfg.FS, t.dir); err != nil {
		return fmt.Errorf("wipe store: %w", err)
	}
	return nil
}

// restore brings the store to the end of the changelog.
func (t *task) restore(ctx context.Context) error {
	select {
	case t.w.restores <- struct{}{}:
		defer func() { <-t.w.restores }()
	case <-ctx.Done():
		return errStopped
	}
	ends, err := changelog.Ends(ctx, t.w.admin, t.cfg.Changelog, t.id)
	if err != nil {
		return fmt.Errorf("ends of changelog: %w", err)
	}
	retention := t.w.layout.deleteRetention
	if retention == 0 {
		retention = t.cfg.Timing.DeleteRetention
	}
	verdict, reason := changelog.Trust(t.store.Position(), ends, t.cfg.Clock().UnixMilli(), retention.Milliseconds())
	from := t.store.Position().Next
	switch verdict {
	case changelog.TrustTail:
	case changelog.Rebuild:
		from = ends.Start
		if err := t.wipe(reason); err != nil {
			return err
		}
		if err := t.openStore(); err != nil {
			return err
		}
	default:
		return halt("changelog %s/%d cannot be the one this store was made from: %s", t.cfg.Changelog, t.id, reason)
	}

	began := time.Now()
	t.restoring.target.Store(ends.End)
	r := changelog.Restore{
		Client: t.w.admin, Topic: t.cfg.Changelog, Partition: t.id,
		From: from, Target: ends.End, MaxBytes: t.cfg.Limits.RestoreFetchBytes,
		OnProgress: func(next int64) {
			t.restoring.next.Store(next)
			t.hooks.restore(t.id, next, ends.End)
		},
	}
	records, err := r.Into(ctx, t.store)
	if err != nil {
		return fmt.Errorf("restore %s/%d: %w", t.cfg.Changelog, t.id, err)
	}
	t.hooks.restored(t.id, records, time.Since(began))
	t.log.Info("restored", "records", records, "position", t.store.Position().Next, "took", time.Since(began))
	return nil
}

// resume finds out from the store where the inputs go on.
func (t *task) resume(ctx context.Context) error {
	value, found, err := t.store.Get([]byte(changelog.ProgressKey))
	if err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	var last changelog.Progress
	if found {
		if last, err = changelog.DecodeProgress(value); err != nil {
			return halt("progress record in changelog %s/%d: %w", t.cfg.Changelog, t.id, err)
		}
	} else if empty, err := t.storeIsEmpty(); err != nil {
		return err
	} else if !empty {
		return halt("changelog %s/%d has state and no progress record", t.cfg.Changelog, t.id)
	}
	t.epoch, t.commits = last.Epoch+1, last.Commit
	t.lastTime = max(t.lastTime, last.Time, t.store.Position().Time)

	known := positions{all: last.Inputs}
	t.positions = positions{}
	fresh := make(map[string][]int32)
	t.w.layout.owned(t.cfg, t.id, func(topic string, partition int32) {
		if next, ok := known.next(topic, partition); ok {
			t.positions.set(topic, partition, next)
		} else {
			fresh[topic] = append(fresh[topic], partition)
		}
	})
	if len(fresh) == 0 {
		return nil
	}
	return t.startFresh(ctx, fresh)
}

// startFresh begins partitions that were never read at their first offset. When
// that is not 0 there may have been a state that this task knows nothing of.
func (t *task) startFresh(ctx context.Context, fresh map[string][]int32) error {
	starts, err := kadm.NewClient(t.w.admin).ListStartOffsets(ctx, keys(fresh)...)
	if err != nil {
		return fmt.Errorf("start of inputs: %w", err)
	}
	for topic, partitions := range fresh {
		for _, partition := range partitions {
			start, ok := starts.Lookup(topic, partition)
			if !ok {
				return fmt.Errorf("start of input %s/%d: no answer", topic, partition)
			}
			if start.Err != nil {
				return fmt.Errorf("start of input %s/%d: %w", topic, partition, start.Err)
			}
			if start.Offset != 0 && !t.cfg.AllowTruncatedInput {
				return halt("input %s/%d starts at offset %d and changelog %s/%d knows no position for it: "+
					"its first records are lost, or the changelog is; AllowTruncatedInput goes on from there",
					topic, partition, start.Offset, t.cfg.Changelog, t.id)
			}
			t.positions.set(topic, partition, start.Offset)
		}
	}
	return nil
}

func (t *task) storeIsEmpty() (bool, error) {
	empty := true
	err := t.store.Scan(nil, nil, func(_, _ []byte) bool {
		empty = false
		return false
	})
	return empty, err
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}
