// Package changelog is the compacted topic behind a state store: how a write
// becomes a record, how a task's position travels with it, and how a store is
// brought to the topic's end again.
//
// A task's changelog is one partition. Each commit of the task is one Kafka
// transaction that holds the mutations of its batch ([Records]) and one
// progress record ([Progress]) that says how far the inputs were read. Because
// both are in one transaction, state and positions cannot disagree.
//
// Restoring (restore.go) reads the partition with raw fetches, because only
// those say where the reading stands: markers and holes take offsets and are
// never delivered as records. A consumer that waits for the record before the
// end would wait for ever.
//
// # Invariants
//
// Each is named with the test that holds it.
//
//  1. A mutation survives the way into a record and back: key, value, and the
//     difference between an empty value and a deletion. (FuzzRecordCodec)
//  2. A progress record has one encoding; anything else is refused.
//     (FuzzDecodeProgress)
//  3. A restored store holds exactly the committed mutations up to the
//     returned position: nothing of aborted or open transactions. Whether it
//     was filled in bulk or loaded fetch by fetch shows in no byte.
//     (TestRestoreProperty, TestRestoreBothWays)
//  4. Restore ends on every log: markers last, compacted tails, aborted
//     transactions, empty partitions. (TestRestoreShapes)
//  5. Restore does not end before the target: an open transaction below it is
//     waited for. (TestRestoreWaitsForOpenTransaction)
//  6. What the log no longer has is an error, never a gap: a position below
//     the start is ErrTruncated, one above the end is ErrLost.
//     (TestRestoreTruncated, TestRestoreBeyondEnd)
//
// The client passed in must not be cancelled with the task: only the context
// ends a call.
package changelog
