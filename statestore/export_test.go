package statestore

import "github.com/cockroachdb/pebble/v2"

// PassedByNextDue forgets the first timer, looks for it again, and returns how
// many keys, deleted ones among them, that took.
func (s *Store) PassedByNextDue() (int, error) {
	s.timers.mu.Lock()
	defer s.timers.mu.Unlock()
	low := s.timers.low
	if len(low) == 0 {
		low = []byte{KindTimer}
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{KindTimer + 1}})
	if err != nil {
		return 0, err
	}
	it.First()
	passed := it.Stats().ForwardStepCount[pebble.InternalIterCall]
	return passed, it.Close()
}

// ForgetTimers makes the next look start from nothing, as after a restart.
func (s *Store) ForgetTimers() {
	s.timers.mu.Lock()
	defer s.timers.mu.Unlock()
	s.timers.low, s.timers.first, s.timers.exact = nil, nil, false
}

// NoCompactions keeps the stores of s from compacting.
func NoCompactions(s *Shared) { s.compactions.limit = 0 }

// Starve gives a Bulk less memory than NewBulk allows, so that it needs runs.
func (b *Bulk) Starve(memory int) { b.o.Memory, b.data.limit = memory, memory/2 }

// Runs is how many runs the data of b has made.
func (b *Bulk) Runs() int { return b.data.made }

// CountsKept says whether the store knows its counts without walking.
func (s *Store) CountsKept() bool { return s.counts.n != nil }

// ForgetCounts makes the counts those of an older batch, as a release leaves
// them that does not keep them.
func (s *Store) ForgetCounts() error {
	return s.db.Set(keyCounts, appendCounts(nil, map[string]int64{"s/a": 99}, s.appliedCount()-1), nil)
}
