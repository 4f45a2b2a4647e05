package topology

import (
	"errors"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// View reads the store of a running task. It sees what is committed and
// applied. Any goroutine may use it; once the task is closed its methods return
// an error.
type View struct {
	task  int32
	store *statestore.Store
}

// Task is the number of the task.
func (v View) Task() int32 { return v.task }

// Get reads one entry. The value belongs to the caller.
func (v View) Get(key []byte) (value []byte, found bool, err error) {
	value, found, err = v.store.Get(key)
	return value, found, running(err)
}

// Scan visits the entries under prefix that come after the key after, in key
// order, until fn returns false. What fn is given is valid only during the call.
func (v View) Scan(prefix, after []byte, fn func(key, value []byte) bool) error {
	return running(v.store.Scan(prefix, after, fn))
}

// ScanAttr visits the keys of the entries that have attr, as Scan does.
func (v View) ScanAttr(attr string, after []byte, fn func(key []byte) bool) error {
	return running(v.store.ScanAttr(attr, after, fn))
}

// GetSorted visits the entries of keys in ascending order, without those that are not there, until fn returns
// false. What fn is given is valid only during the call.
func (v View) GetSorted(keys [][]byte, fn func(key, value []byte) bool) error {
	return running(v.store.GetSorted(keys, fn))
}

// CountAttr counts the entries that have attr.
func (v View) CountAttr(attr string) (int64, error) {
	n, err := v.store.CountAttr(attr)
	return n, running(err)
}

// Counted gives the counts of the attributes that begin with a prefix. Not ok when
// there are so many attributes that their counts are not kept.
func (v View) Counted(prefix string) (n map[string]int64, ok bool, err error) {
	n, ok, err = v.store.Counted(prefix)
	return n, ok, running(err)
}

// Position is what the store contains.
func (v View) Position() statestore.Position { return v.store.Position() }

// Due is the earliest due time in the store in milliseconds since 1970.
func (v View) Due() (int64, bool) { return v.store.NextDue() }

// Dump visits all entries, derived ones included, for comparison of stores.
func (v View) Dump(fn func(kind byte, key, value []byte)) error { return running(v.store.Dump(fn)) }

// Metrics of the store.
func (v View) Metrics() statestore.Metrics { return v.store.Metrics() }

// running names the reason of a closed store.
func running(err error) error {
	if errors.Is(err, statestore.ErrClosed) {
		return ErrNotRunning
	}
	return err
}

// TaskInfo says how a task of this process is doing.
type TaskInfo struct {
	Task   int32
	State  TaskState
	Reason string // why it is halted, closed or waiting; empty when all is well
	Since  int64  // of the state, in milliseconds since 1970

	Queued   int   // records that wait in memory
	Position int64 // in the changelog, after the last commit
	Inputs   []changelog.InputPosition

	RestoreNext, RestoreTarget int64 // of the last restore, in changelog offsets
}
