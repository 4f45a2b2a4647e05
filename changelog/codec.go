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

// Mutations decodes fetched records behind dst, as a store loads them. Markers
// are passed over. latest is the largest timestamp of a record in milliseconds, at
// least the one given.
func Mutations(dst []statestore.Mutation, records []*kgo.Record, latest int64) ([]statestore.Mutation, int64, error) {
	for _, record := range records {
		if record.Attrs.IsControl() {
			continue
		}
		m, err := Decode(record)
		if err != nil {
			return dst, latest, err
		}
		dst = append(dst, m)
		latest = max(latest, record.Timestamp.UnixMilli())
	}
	return dst, latest, nil
}
