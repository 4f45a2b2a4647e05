package changelog

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

// ProgressKey is the key of the progress record. Its first byte is 0x00, which
// no user's key has: the store neither indexes nor lists it.
const ProgressKey = "\x00progress"

// Decode turns a record into the mutation it stands for. The slices are those
// of the record. An error says that no task wrote it.
func Decode(r *kgo.Record) (statestore.Mutation, error) {
	switch {
	case len(r.Key) == 0:
		return statestore.Mutation{}, fmt.Errorf("%w: record at offset %d has no key", ErrFatal, r.Offset)
	case len(r.Key) > statestore.KeyMax:
		return statestore.Mutation{}, fmt.Errorf("%w: key of %d bytes at offset %d, at most %d", ErrFatal, len(r.Key), r.Offset, statestore.KeyMax)
	case len(r.Value) > statestore.ValueMax:
		return statestore.Mutation{}, fmt.Errorf("%w: value of %d bytes at offset %d, at most %d", ErrFatal, len(r.Value), r.Offset, statestore.ValueMax)
	}
	return statestore.Mutation{Key: r.Key, Value: r.Value}, nil
}
