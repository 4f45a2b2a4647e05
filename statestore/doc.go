// Package statestore holds the state of one task: a Pebble store in one
// directory, and the batch in which one cycle of the task gathers its writes.
//
// The store is a copy. Its truth is the task's partition of a compacted
// changelog topic; the store can be wiped at any time and rebuilt from there.
// That is why it never waits for the disk: the write-ahead log is on, without
// sync. A crash may lose the newest writes, never anything in the middle, and
// the position says where to take up the changelog.
//
// What the store holds, by the first byte of a key (keys.go):
//
//	d<key>                 data: exactly the changelog's latest values
//	t<due><key>            derived: one entry per key that has a due time
//	x<attribute>0x00<key>  derived: one entry per key and attribute
//	m<name>                local: identity, position, counts, chain; never dumped
//
// A caller's key whose first byte is 0x00 is reserved for records of the
// runtime (its progress). It is stored like any other, but never indexed, and
// never visited by Scan unless the prefix asks for it.
//
// # Promises
//
// One goroutine writes: NewBatch, the batch's methods, Prepare, Apply, Load,
// NewBulk and the Bulk's methods, Due, Flush. Every other method may be called from any goroutine, also while
// the store is being closed: then it reports ErrClosed.
//
// No panic leaves this package. Each error has a class by who must act; see
// errors.go.
//
// # Invariants
//
// Each is named with the test that holds it.
//
//  1. No uncommitted write is in the store. A batch is memory only; the store
//     changes in Apply, Load and Bulk.Finish, and nowhere else.
//     (TestBatchTouchesNothing)
//  2. Data, derived index and position move in one Pebble write: all of a
//     batch is there after a crash, or nothing of it. (TestCrashPrefix)
//  3. After a crash the store is an exact prefix of what was applied: its
//     position and its data agree, and replaying the changelog from
//     Position.Next gives the same bytes. (TestCrashPrefix)
//  4. Derived keys never disagree with data: they are always those that the
//     Indexer gives for the value stored. (TestConformance, TestDerivedAgree)
//  5. A write that the disk refuses stops the store, not the process, and
//     leaves an exact prefix. (TestDiskFull)
//  6. A damaged file ends in ErrCorrupt or in an exact prefix. It never gives
//     another answer, and never a panic. (TestDamage, TestMissingLog)
//  7. The position never moves backwards. (TestPositionNeverFalls)
//  8. No timer key is below the remembered lower bound. (TestConformance,
//     TestTimerBound)
//  9. A store that was filled in bulk has the bytes that Load would have given
//     it. After a crash it is empty or has all of them. (TestBulkIsLoad,
//     TestBulkCrash)
//  10. The counts of attributes are those that a walk would find.
//     (TestConformance, TestBulkIsLoad, TestCountsOfAnotherRelease)
//  11. What was read from a batch, and what All yields, stays unchanged until
//     Reset. (TestBatchMemory)
//  12. What was kept by PutObject is given back only with the value that it was
//     put with: what was rolled back, dropped, or written over leaves nothing
//     behind, and NewBatch forgets all of it. (TestConformance)
package statestore
