// Package keyed calls a handler for each record of a topic, at least once, many at a time: in order
// for each key, in any order across keys. It is for side effects on other systems (a call over HTTP, a
// mail), where a partition that waits for one slow call at a time would be idle. What changes state in
// Kafka belongs into package topology, which is exactly once.
//
//	p, err := keyed.New(keyed.Config{
//		Group:  "mail.receipts",
//		Topics: []string{"shop.receipts"},
//		Client: []kgo.Opt{kgo.SeedBrokers("kafka:9092")},
//		Handle: func(ctx context.Context, rec *kgo.Record) error { return send(ctx, rec) },
//	})
//	…
//	err = p.Run(ctx)
//
// # Promises
//
// Every record is handled at least once. Records of one partition with the same key are handled one
// after another, in the order of the partition; a record is tried again until Handle succeeds, or
// until Attempts is spent and SetAside has taken it. A record without a key has no order and stands
// alone.
//
// What is committed is the contiguous prefix: the offset before which every record of the partition
// is done. After a crash what was done behind it is done again, at most Pending records of each
// partition.
//
// A record that takes long holds up its key. The others go on until the window of its partition is
// full: Pending records or PendingBytes that were read and are not below the prefix. Then the
// partition is paused; the other partitions go on. Processors share nothing: each has its own group,
// client and windows, so one that stands still does not hold up another on the same topic. Within a
// processor Concurrency is shared: keep it above the number of calls that may hang, or leave it at
// its default.
//
// # Invariants
//
// Each is named with the test that holds it.
//
//  1. A commit never passes a record that is not done. (TestWindow)
//  2. Records of a key are never handled at the same time nor out of order. (TestOrder)
//  3. The window is bounded by count and by bytes, up to one fetch of one partition, which waits
//     without being begun. (TestWindowIsBounded)
//  4. Before a partition is given away, what runs is waited for, no longer than Drain, and the prefix
//     is committed; what ends later commits nothing. (TestRebalance)
//  5. A stalled key holds up its key only, a stalled processor itself only. (TestStalledKey,
//     TestStalledProcessor)
package keyed
