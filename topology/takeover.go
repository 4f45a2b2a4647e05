package topology

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/amendsio/amends/changelog"
)

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
// What comes before 1 makes it short: the store is brought near to the end while
// the former owner still works, so that only a rest is left to read once nobody
// does. A store that a standby kept warm has next to nothing to read at all. Its
// first timer is looked up then as well, so that the store remembers it: a copy never
// looks, and the first look passes over what is left of all timers that have fired.
//
// It is also what a task does after every error: see committer.
func (t *task) takeover(ctx context.Context) error {
	if err := t.failpoint(FailTakeover); err != nil {
		return err
	}
	began := time.Now()
	if err := t.openStore(); err != nil {
		return err
	}
	records, err := t.catchUp(ctx)
	if err != nil {
		return err
	}
	t.store.NextDue()

	fenced := time.Now()
	clients, err := newProducers(ctx, t.cfg, t.w.clientOpts(t.w.hard), t.id)
	if err != nil {
		return err
	}
	t.producers = clients
	t.committer = t.newCommitter(clients.envs())

	if err := t.failpoint(FailRestore); err != nil {
		return err
	}
	ids := time.Now()
	ends, err := changelog.Ends(ctx, t.w.admin, t.cfg.Changelog, t.id)
	if err != nil {
		return fmt.Errorf("ends of changelog: %w", err)
	}
	rest, err := t.restore(ctx, ends)
	if err != nil {
		return err
	}
	if err := t.failpoint(FailRestored); err != nil {
		return err
	}
	if err := t.resume(ctx); err != nil {
		return err
	}
	t.tookOver = time.Now()
	t.hooks.restored(t.id, records+rest, t.tookOver.Sub(began))
	t.log.Info("taken over", "position", t.store.Position().Next, "before", records, "after", rest,
		"warming", fenced.Sub(began), "fencing", ids.Sub(fenced), "reading", time.Since(ids))
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
	if t.cfg.AllowLostInput && len(last.Inputs) > 0 {
		if err := t.skipLost(ctx, &known); err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		if err := t.startFresh(ctx, fresh); err != nil {
			return err
		}
	}
	t.positions.keep(last.Inputs, last.Ahead)
	return nil
}

// skipLost moves positions that are gone from their inputs to the oldest record that is there.
func (t *task) skipLost(ctx context.Context, known *positions) error {
	adm := kadm.NewClient(t.w.admin)
	starts, err := adm.ListStartOffsets(ctx, t.cfg.Inputs...)
	if err != nil {
		return fmt.Errorf("start of inputs: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, t.cfg.Inputs...)
	if err != nil {
		return fmt.Errorf("end of inputs: %w", err)
	}
	t.w.layout.owned(t.cfg, t.id, func(topic string, partition int32) {
		next, ok := known.next(topic, partition)
		start, ok1 := starts.Lookup(topic, partition)
		end, ok2 := ends.Lookup(topic, partition)
		if !ok || !ok1 || !ok2 || start.Err != nil || end.Err != nil || next >= start.Offset && next <= end.Offset {
			return
		}
		t.log.Warn("records of an input are gone before they were read, going on with the oldest", "topic", topic, "partition", partition,
			"position", next, "oldest", start.Offset, "end", end.Offset)
		t.positions.set(topic, partition, start.Offset)
	})
	return nil
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
			if t.cfg.Begin != nil {
				at, err := t.cfg.Begin(ctx, topic, partition, start.Offset)
				if err != nil {
					return fmt.Errorf("begin of input %s/%d: %w", topic, partition, err)
				}
				t.positions.set(topic, partition, max(at, start.Offset))
				continue
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
