package changelog

import (
	"context"

	"github.com/amendsio/amends/statestore"
)

// Into brings a store to the target. It reads on from where the store stands,
// or from r.From when that is further (the log's start, for an empty store).
// It returns how many records it took. After an error the store stands where
// it stood, or at a later position that it contains wholly; Into can be called
// again.
//
// Calling it again and again with new targets is what a standby does.
func (r Restore) Into(ctx context.Context, s *statestore.Store) (records int64, err error) {
	r.From = max(r.From, s.Position().Next)
	_, err = r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		records += int64(len(muts))
		return s.Load(muts, statestore.Position{Next: next, Time: recordTime})
	})
	return records, err
}
