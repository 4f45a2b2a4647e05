package statestore

import (
	"encoding/hex"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Identity says what a store is a copy of. It is written when the directory is
// made and compared at every Open.
type Identity struct {
	// Format is the version of the values and of the Indexer. Raise it when
	// either changes: a store of a lower format is rebuilt, since its derived
	// keys may not be those that the new Indexer gives.
	Format uint32
	// Cluster, Topic and TopicID name the changelog. Each at most 1 KiB.
	Cluster, Topic string
	TopicID        [16]byte
	// Partition of the changelog, and how many it has.
	Partition  int32
	Partitions int32
}

const identityNameMax = 1 << 10

func (id Identity) String() string {
	return fmt.Sprintf("%s/%d of %d (topic id %s, cluster %s, format %d)",
		id.Topic, id.Partition, id.Partitions, hex.EncodeToString(id.TopicID[:]), id.Cluster, id.Format)
}

func (id Identity) check() error {
	if len(id.Cluster) > identityNameMax || len(id.Topic) > identityNameMax {
		return fmt.Errorf("%w: identity %.80v", ErrLimit, id)
	}
	return nil
}

// claim compares the stored identity with the wanted one, or writes it into a
// store that is empty.
func (s *Store) claim(want Identity) error {
	value, found, err := s.read(keyIdentity)
	if err != nil {
		return err
	}
	if !found {
		empty, err := s.empty()
		if err != nil {
			return err
		}
		if !empty {
			return fmt.Errorf("%w: it has data and no identity", ErrCorrupt)
		}
		return s.db.Set(keyIdentity, appendIdentity(nil, want), pebble.NoSync)
	}
	stored, err := parseIdentity(value)
	switch {
	case err != nil:
		return err
	case stored.Format > want.Format:
		return fmt.Errorf("%w: format %d, this one writes %d", ErrNewerFormat, stored.Format, want.Format)
	case stored != want:
		return &IdentityError{Stored: stored, Want: want}
	}
	return nil
}

func (s *Store) empty() (bool, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false, err
	}
	found := it.First()
	return !found, it.Close()
}
