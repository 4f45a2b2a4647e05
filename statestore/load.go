package statestore

// Mutation is one record of the changelog: a nil Value is a deletion.
type Mutation struct{ Key, Value []byte }

// Load applies mutations as they are read from the changelog, in their order,
// with the position behind them. Within the slice only the last mutation of a
// key counts. It keeps no reference to the slices. Calling it with nothing but
// a position is allowed: a changelog may end in records that carry no data.
//
// Loading a part again that is already in the store does no harm as long as
// the load goes on to the old position: that is what a restart does.
func (s *Store) Load(muts []Mutation, p Position) (err error) {
	defer s.contain(&err, nil)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.checkPosition(p); err != nil {
		return err
	}
	if s.loading == nil {
		s.loading = s.NewBatch()
	}
	b := s.loading
	b.Reset()
	for _, m := range muts {
		if m.Value == nil {
			b.Delete(m.Key)
		} else {
			b.Put(m.Key, m.Value)
		}
	}
	if b.err != nil {
		return b.err
	}
	if err := s.prepare(b); err != nil {
		return err
	}
	return s.write(b, p)
}
