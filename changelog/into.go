package changelog

import (
	"context"
	"errors"
	"time"

	"github.com/amendsio/amends/statestore"
)

// bulkLeast is how many offsets an empty store must lack before it is filled in
// bulk. Below that there is nothing to gain.
const bulkLeast = 5000

// Into brings a store to the target. It reads on from where the store stands,
// or from r.From when that is further (the log's start, for an empty store).
// It returns how many records it took.
//
// An empty store that lacks much is filled in bulk (statestore.Bulk): it stays
// empty until the target is reached. Any other is loaded fetch by fetch. Both
// make the same store, byte for byte. After an error the store stands where it
// stood, or at a later position that it contains wholly; Into can be called
// again.
//
// Calling it again and again with new targets is what a standby does.
func (r Restore) Into(ctx context.Context, s *statestore.Store) (records int64, err error) {
	pos := s.Position()
	r.From = max(r.From, pos.Next)
	least := r.BulkLeast
	if least == 0 {
		least = bulkLeast
	}
	if pos == (statestore.Position{}) && least > 0 && r.Target-r.From >= least {
		return r.fill(ctx, s)
	}
	_, err = r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		began := time.Now()
		records += int64(len(muts))
		if err := s.Load(muts, statestore.Position{Next: next, Time: recordTime}); err != nil {
			return err
		}
		r.pace(ctx, time.Since(began))
		return nil
	})
	return records, err
}

// fill is Into for an empty store.
func (r Restore) fill(ctx context.Context, s *statestore.Store) (records int64, err error) {
	began := time.Now() // the work that Pace was not told of
	pace := func() {
		if worked := time.Since(began); worked > paceLeast {
			r.pace(ctx, worked)
			began = time.Now()
		}
	}
	bulk, err := s.NewBulk(statestore.BulkOptions{Memory: r.Memory, OnMerge: r.OnMerge, Pace: pace})
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := bulk.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	p := statestore.Position{Next: r.From}
	_, err = r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		records += int64(len(muts))
		p = statestore.Position{Next: next, Time: recordTime}
		began = time.Now()
		if err := bulk.Add(muts); err != nil {
			return err
		}
		pace()
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return records, err
	}
	began = time.Now()
	return records, bulk.Finish(p)
}

// paceLeast is the least work that is worth a word.
const paceLeast = 500 * time.Microsecond

// pace says that some work was done.
func (r *Restore) pace(ctx context.Context, worked time.Duration) {
	if r.Pace != nil {
		r.Pace(ctx, worked)
	}
}
