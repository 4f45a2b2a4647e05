package statestore

import "time"

// Metrics of one store. Sum them over the stores of a process; the block cache
// is shared and shows the same in each.
type Metrics struct {
	Applied int64 // batches written since the store was made

	DiskBytes     uint64 // tables, logs, and what waits to be deleted
	TableBytes    int64
	LogBytes      uint64
	MemTableBytes uint64
	ZombieBytes   uint64 // tables kept alive by iterators

	CacheBytes  int64
	CacheHits   int64
	CacheMisses int64

	ReadAmp            int    // tables that a read may have to look at
	Tombstones         uint64 // deletions not yet compacted away
	CompactionDebt     uint64 // bytes
	CompactionsRunning int64
	Compactions        int64
	CompactionTime     time.Duration
	Flushes            int64
	WriteStalls        int64

	BackgroundErrors int64
	AttrsRefused     int64 // attributes that the index cannot hold; a bug of the Indexer
	Failed           bool  // the store takes no more work
}

// Metrics reads the store's counters. A store that failed or was closed
// reports only those of its own.
func (s *Store) Metrics() (m Metrics) {
	var err error
	defer s.contain(&err, nil)
	m = Metrics{
		Applied:          int64(s.appliedCount()),
		Flushes:          s.flushes.Load(),
		WriteStalls:      s.stalls.Load(),
		BackgroundErrors: s.backgroundErrs.Load(),
		AttrsRefused:     s.attrsRefused.Load(),
		Failed:           s.failure() != nil,
	}
	if s.enter() != nil {
		return m
	}
	defer s.leave()
	p := s.db.Metrics()
	m.DiskBytes = p.DiskSpaceUsage()
	for _, level := range p.Levels {
		m.TableBytes += level.TablesSize
	}
	m.LogBytes = p.WAL.Size
	m.MemTableBytes = p.MemTable.Size
	m.ZombieBytes = p.Table.ZombieSize
	m.CacheBytes, m.CacheHits, m.CacheMisses = p.BlockCache.Size, p.BlockCache.Hits, p.BlockCache.Misses
	m.ReadAmp = p.ReadAmp()
	m.Tombstones = p.Keys.TombstoneCount
	m.CompactionDebt = p.Compact.EstimatedDebt
	m.CompactionsRunning = p.Compact.NumInProgress
	m.Compactions = p.Compact.Count
	m.CompactionTime = p.Compact.Duration
	return m
}
