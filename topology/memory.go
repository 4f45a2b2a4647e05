package topology

// The memory of a worker, when Config.Memory is set, is divided so:
//
//	1/4  block cache of the stores (unless CacheBytes is set)
//	1/8  writes that are not flushed yet, over the stores
//	1/8  restores that fill empty stores, over those at the same time
//	1/8  records that wait in the queues of tasks
//	1/16 fetches under way
//	1/32 what processors keep of entries that they wrote (Cycle.PutObject), at most 32 MiB
//
// What is left is for batches (Limits.CycleBytes, per task), clients, and the
// collector. Each limit that a Config sets itself stays an upper bound.
const (
	memoryLeast        = 64 << 20
	restoreMemoryLeast = 8 << 20
	restoreMemoryMost  = 256 << 20
	queueBytesLeast    = 256 << 10
	fetchBytesLeast    = 1 << 20
	objectBytesMost    = 32 << 20
)

// divide sets what depends on the number of tasks that this process may have
// to run: all of them, when it is the last one.
func (c *Config) divide(tasks int32) {
	if c.Memory == 0 {
		return
	}
	l := &c.Limits
	l.QueueBytes = min(l.QueueBytes, int(max(queueBytesLeast, c.Memory/8/int64(max(1, tasks)))))
	l.FetchBytes = min(l.FetchBytes, int32(min(1<<30, max(fetchBytesLeast, c.Memory/16))))
	l.FetchPartitionBytes = min(l.FetchPartitionBytes, l.FetchBytes)
}

// unflushed is the memory for writes that are not flushed yet, 0 for the
// default of the stores.
func (c *Config) unflushed() int64 { return c.Memory / 8 }

// objectBytes is the memory of one task for Cycle.PutObject.
func (c *Config) objectBytes(tasks int32) int {
	most := int64(objectBytesMost)
	if c.Memory > 0 {
		most = min(most, c.Memory/32)
	}
	return int(most / int64(max(1, tasks)))
}
