package statestore

import (
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Shared is what the stores of one process share: the block cache, the open
// files, and the limit on concurrent compactions. Close it after the stores.
type Shared struct {
	cache       *pebble.Cache
	files       *pebble.FileCache
	compactions *compactions
	memTable    uint64 // of a store that names no size; 0: its default
	close       sync.Once
}

// NewShared makes a block cache of cacheBytes (default 64 MiB) and a cache of
// that many open files (default 1000). At most a quarter of the processors,
// and at least one, compact at the same time.
func NewShared(cacheBytes int64, files int) *Shared {
	if cacheBytes <= 0 {
		cacheBytes = 64 << 20
	}
	if files <= 0 {
		files = 1000
	}
	return &Shared{
		cache:       pebble.NewCache(cacheBytes),
		files:       pebble.NewFileCache(runtime.GOMAXPROCS(0), files),
		compactions: newCompactions(max(1, runtime.GOMAXPROCS(0)/4)),
	}
}

// Divide sets the memory for writes that are not flushed yet, of this many
// stores together: it is the MemTableSize of each that names none. Call it
// before they are opened.
func (s *Shared) Divide(budget int64, stores int) { s.memTable = MemTableSize(budget, stores) }

// Close gives the caches back. Stores that are still open keep them alive.
func (s *Shared) Close() {
	s.close.Do(func() {
		s.files.Unref()
		s.cache.Unref()
	})
}

// MemTableSize divides a memory budget for unflushed writes among the stores
// of a process: a store may hold 2.5 memtables for a while.
func MemTableSize(budget int64, stores int) uint64 {
	size := budget * 2 / 5 / int64(max(1, stores))
	return uint64(min(max(size, 1<<20), 8<<20))
}
