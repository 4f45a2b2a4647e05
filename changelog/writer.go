package changelog

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

// Records appends one record for each key that the batch wrote, in the order
// of the first write; a deletion has a nil value. The records use the batch's
// memory: it must not be reset before each of them has been acknowledged or
// refused. When that is not known, drop the batch instead.
func Records(topic string, partition int32, b *statestore.Batch, dst []*kgo.Record) []*kgo.Record {
	slab := make([]kgo.Record, b.Len())
	i := 0
	for key, value := range b.All() {
		r := &slab[i]
		r.Topic, r.Partition, r.Key, r.Value = topic, partition, key, value
		dst = append(dst, r)
		i++
	}
	return dst
}
