package changelog

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

// Records appends one record for each key that the batch wrote, in the order
// of the first write; a deletion has a nil value. The records use the batch's
// memory: it must not be reset before each of them has been acknowledged or
// refused. When that is not known, drop the batch instead. empty gives the memory
// of a record.
func Records(topic string, partition int32, b *statestore.Batch, dst []*kgo.Record, empty func() *kgo.Record) []*kgo.Record {
	for key, value := range b.All() {
		r := empty()
		r.Topic, r.Partition, r.Key, r.Value = topic, partition, key, value
		dst = append(dst, r)
	}
	return dst
}
