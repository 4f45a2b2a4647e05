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
