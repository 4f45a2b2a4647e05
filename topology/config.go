package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

// Config is what a Worker needs. The zero value of every optional field is its
// default. New reports all faults of a Config together.
type Config struct {
	// App is the prefix of the consumer group (App + "engine") and of the
	// transactional ids (App + "task-<t>-a" and "-b"), for example
	// "payments.saga.". Required. Two deployments with one App share the work.
	App string

	// Inputs are the topics a task reads. They all have the same number of
	// partitions. Required, at most 64.
	Inputs []string

	// Changelog is the compacted topic that holds the state. Its partition
	// count is the number of tasks, at most that of the inputs. Required.
	Changelog string

	// Processor makes the processor of one task. Called once per takeover.
	// Required.
	Processor func(task int32) Processor

	// Index derives due times and attributes from a store entry. It must be a
	// pure function. Default: no entry is due, none has attributes.
	Index statestore.Indexer

	// IndexVersion is raised when Index gives other results for the same entries
	// than in the release before: local stores are then rebuilt. At most 65535.
	IndexVersion uint16

	// DataDir is the directory of the stores, one sub-directory per task.
	// Required. Two processes must not share it.
	DataDir string

	// FS is the file system of the stores. Default: the operating system's.
	FS vfs.FS

	// InMemory keeps the stores in memory and writes no file; DataDir and FS are not needed. The
	// changelog is their truth as ever: each takeover restores all of it. For small states, and
	// for work without any.
	InMemory bool

	// Memory is what this worker may hold, in bytes, at least 64 MiB: it is
	// divided among cache, stores, restores and queues (memory.go), as upper
	// bounds. The Go runtime's own limit (GOMEMLIMIT) is for the program to
	// set. Default: none, and each part has its own default.
	Memory int64

	// CacheBytes is the block cache that all stores of this worker share.
	// Default 64 MiB, or a quarter of Memory.
	CacheBytes int64

	// Client are the options that every Kafka client of this worker starts
	// from: seed brokers, TLS, SASL, dialer, logger. Required.
	Client []kgo.Opt

	// Advertise is the host:port under which other processes reach this one.
	// It travels in the client id, from where Worker.Owner reads it. Default:
	// empty, and Owner reports no address for this process.
	Advertise string

	// InstanceID makes the group membership static. Default: dynamic, so that
	// a stopped process hands its tasks over at once.
	InstanceID string

	// Zone is where this process is: a rack, an availability zone. A copy of a
	// task is kept in another zone than the task where that can be. Default:
	// empty, nobody knows.
	Zone string

	// Standbys is the number of copies of each task's state that other
	// processes keep warm, at most 8. All processes should agree; the leader of
	// the group decides. Default 1; -1 for none.
	Standbys int

	// GroupProtocols are the names under which this process offers its way of
	// sharing tasks to the group, best first. The coordinator admits only
	// members that have one in common with all others, so processes that must
	// not work together are kept apart by names. Default: DefaultGroupProtocol.
	GroupProtocols []string

	// Origins are the inputs in which a record with HeaderOrigin is taken once for each position of its
	// source: when a stage lost its own positions and writes everything again, nothing happens
	// twice. Whoever may write to such an input can claim any position, so keep it to those who may.
	// Default: none.
	Origins []string

	// AllowTruncatedInput lets a task without any state start at the earliest
	// offset of an input although that is not 0. What was before it is lost.
	AllowTruncatedInput bool

	// Begin says where a task begins in a partition of an input that it has no
	// position of; first is the oldest offset there is. It is called at every
	// takeover until a position is committed, so give the same answer each time.
	// An answer below first counts as first. Default: at the first offset, see
	// AllowTruncatedInput.
	Begin func(ctx context.Context, topic string, partition int32, first int64) (int64, error)

	// AllowLostInput lets a task whose position is gone from an input, because
	// Kafka has deleted the records or the topic was made anew, go on at the
	// oldest record that is there, with a word in the log. For topics of others,
	// whose retention nobody here decides. Default: the task halts.
	AllowLostInput bool

	// Compression of what tasks produce, best first. Default: lz4, then none.
	Compression []kgo.CompressionCodec

	// Limits bound memory, batches and concurrency.
	Limits Limits

	// Timing holds intervals and timeouts.
	Timing Timing

	// Destinations say when to stop writing to topics of others, and how fast
	// to write to them.
	Destinations Destinations

	// Clock tells the time of timers and records. Default time.Now.
	Clock func() time.Time

	// Logger receives the life of tasks. Default: silent.
	Logger *slog.Logger

	// Hooks are called as things happen.
	Hooks Hooks

	// Failpoint, for tests, is called at each named point; see failpoint.go.
	Failpoint func(name string, task int32) error
}

// Limits bound what a worker holds and does at once.
type Limits struct {
	// CycleRecords is the most records one cycle takes. Default 2000.
	CycleRecords int
	// KeyRecords is the most records of one key that a cycle takes while others
	// wait behind them. With it, order holds per key and no longer over all keys
	// of a partition. Progress records that older releases cannot read are
	// written while a key is hot. Default 0: the order of the partition.
	KeyRecords int
	// CycleTimers is the most due timers one cycle fires. While there are records
	// it is as many as do not make the cycle half as long again, an eighth of this
	// at least (beside.go). Default 500.
	CycleTimers int
	// CycleBytes ends a cycle once its inputs, writes and outputs are that
	// large. Default 4 MiB.
	CycleBytes int
	// CycleTime ends a cycle that has processed for that long. Default 100 ms.
	CycleTime time.Duration
	// Gather is the longest a loaded task waits for more records before it
	// starts the next cycle: only when its commits take longer than they
	// need to. Default 50 ms; negative for never.
	Gather time.Duration
	// QueueRecords and QueueBytes are the high marks of a task's queue: over
	// either, its partitions are paused until it is below half of both.
	// Defaults 8192 and 8 MiB.
	QueueRecords int
	QueueBytes   int
	// FetchBytes and FetchPartitionBytes are the most that one fetch asks for.
	// Defaults 8 MiB and 1 MiB.
	FetchBytes          int32
	FetchPartitionBytes int32
	// Restores is the number of tasks that restore at the same time.
	// Default: the number of processors, at least 2.
	Restores int
	// RestoreFetchBytes is the most that one fetch of a restore asks for.
	// Default 1 MiB.
	RestoreFetchBytes int32
	// RestoreMemory is how many bytes each of them gathers before it goes to
	// disk. Default 64 MiB, or an eighth of Memory over Restores.
	RestoreMemory int
	// RestoreShare is how much of one processor all restores together may take
	// while tasks of this worker have work to do, in percent. Default 50.
	RestoreShare int
	// Lag is how many changelog records a copy may lack for its process to
	// take the task over at once. Default 10 000.
	Lag int64
	// WarmUps is the number of copies beyond the standbys that are made at the
	// same time in the whole group, for tasks that are to move. Default 2; -1
	// lets tasks move without a copy.
	WarmUps int
}

// Timing holds the intervals and timeouts of a worker.
type Timing struct {
	// Heartbeat of the group member. Default 500 ms, at most 10 minutes.
	Heartbeat time.Duration
	// Session after which the group declares this process dead. Default 6 s,
	// the least that a broker accepts unless told otherwise, or three heartbeats
	// when that is more.
	Session time.Duration
	// Transaction is the transaction timeout. Default 10 s.
	Transaction time.Duration
	// FetchMaxWait is how long a fetch may wait at the broker for records.
	// Default 5 s.
	FetchMaxWait time.Duration
	// Offsets is the interval of the plain group offsets, written for lag
	// tools only. Default 5 s; negative for never.
	Offsets time.Duration
	// Topics is the interval at which the partition counts and ids of the
	// topics are checked. Default 60 s; negative for never.
	Topics time.Duration
	// Start is how long Run waits for the topics to exist. Default 30 s.
	Start time.Duration
	// Stop is how long a graceful stop may take before tasks are cut off.
	// Default 20 s.
	Stop time.Duration
	// Drain is how long a process that stops waits for others to take its tasks
	// over, and how long a task that the group gave to another goes on here until
	// that one has fenced it. Default 10 s; negative for not at all.
	Drain time.Duration
	// Stuck is how long one cycle of a task may process before the task is given
	// away. Default 30 s.
	Stuck time.Duration
	// Away is how long a task that was given away as stuck stays away. Default
	// 5 minutes.
	Away time.Duration
	// Standby is the interval at which the changelogs of standbys are asked where
	// they end. Default 1 s.
	Standby time.Duration
	// Copy is how long a process waits before it reads the state of a standby that
	// it has nothing of: whoever left is often back by then, with a store that lacks
	// little. A process that has run for less than that, and one that is to get the
	// task, does not wait. Default 30 s; negative for not at all.
	Copy time.Duration
	// Stall is how long a task may have records waiting without finishing a
	// cycle before Live reports it. Default 60 s.
	Stall time.Duration
	// Backoff is the first wait before a task is taken over again; it doubles
	// up to BackoffMax. Defaults 250 ms and 10 s.
	Backoff    time.Duration
	BackoffMax time.Duration
	// Probe is how long the leader of the group waits before it looks again
	// whether a task that is to move has a warm copy. Default 30 s, or a
	// heartbeat when that is more.
	Probe time.Duration
	// OwnerCache is how long Worker.Owner believes what the group said.
	// Default 10 s.
	OwnerCache time.Duration
	// DeleteRetention is the changelog's delete.retention.ms: a store that has
	// not been written for half of it is rebuilt. Default 24 h.
	DeleteRetention time.Duration
}

const (
	inputsMax    = 64
	heartbeatMax = 10 * time.Minute
)

// withDefaults returns c with every optional field filled in.
func (c Config) withDefaults() Config {
	if c.Index == nil {
		c.Index = func(_, _ []byte) statestore.Entry { return statestore.Entry{} }
	}
	if c.InMemory {
		c.FS, c.DataDir = vfs.NewMem(), "/memory"
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Memory > 0 {
		def(&c.CacheBytes, max(1<<20, c.Memory/4))
	}
	def(&c.CacheBytes, 64<<20)
	def(&c.Standbys, 1)
	if len(c.Compression) == 0 {
		c.Compression = []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.NoCompression()}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string, int32) error { return nil }
	}

	l := &c.Limits
	def(&l.CycleRecords, 2000)
	def(&l.CycleTimers, 500)
	def(&l.CycleBytes, 4<<20)
	def(&l.CycleTime, 100*time.Millisecond)
	def(&l.Gather, 50*time.Millisecond)
	def(&l.QueueRecords, 8192)
	def(&l.QueueBytes, 8<<20)
	def(&l.FetchBytes, 8<<20)
	def(&l.FetchPartitionBytes, 1<<20)
	def(&l.Restores, max(2, runtime.GOMAXPROCS(0)))
	def(&l.RestoreFetchBytes, 1<<20)
	if c.Memory > 0 {
		def(&l.RestoreMemory, int(min(restoreMemoryMost, max(restoreMemoryLeast, c.Memory/8/int64(max(1, l.Restores))))))
	}
	def(&l.RestoreMemory, 64<<20)
	def(&l.RestoreShare, 50)
	def(&l.Lag, 10_000)
	def(&l.WarmUps, 2)

	t := &c.Timing
	def(&t.Heartbeat, 500*time.Millisecond)
	def(&t.Session, max(6*time.Second, 3*t.Heartbeat))
	def(&t.Transaction, 10*time.Second)
	def(&t.FetchMaxWait, 5*time.Second)
	def(&t.Offsets, 5*time.Second)
	def(&t.Topics, time.Minute)
	def(&t.Start, 30*time.Second)
	def(&t.Stop, 20*time.Second)
	def(&t.Drain, 10*time.Second)
	def(&t.Stuck, 30*time.Second)
	def(&t.Away, 5*time.Minute)
	def(&t.Standby, time.Second)
	def(&t.Copy, 30*time.Second)
	def(&t.Stall, time.Minute)
	def(&t.Backoff, 250*time.Millisecond)
	def(&t.BackoffMax, 10*time.Second)
	def(&t.OwnerCache, 10*time.Second)
	def(&t.Probe, max(30*time.Second, t.Heartbeat))
	def(&t.DeleteRetention, 24*time.Hour)

	d := &c.Destinations
	def(&d.Patience, time.Second)
	def(&d.Probe, 500*time.Millisecond)
	def(&d.ProbeMax, max(10*time.Second, d.Probe))
	def(&d.HalfOpen, 64)
	return c
}

// def sets a zero value to its default.
func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// validate reports all faults of a Config that has its defaults.
func (c *Config) validate() error {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}

	if c.App == "" {
		bad("App", "is required; it names the consumer group and the transactional ids")
	}
	if len(c.Inputs) == 0 {
		bad("Inputs", "at least one topic is required")
	}
	if len(c.Inputs) > inputsMax {
		bad("Inputs", "%d topics, at most %d", len(c.Inputs), inputsMax)
	}
	seen := make(map[string]bool)
	for _, topic := range c.Inputs {
		switch {
		case topic == "":
			bad("Inputs", "a topic has no name")
		case topic == c.Changelog:
			bad("Inputs", "%s is the changelog; it cannot be an input as well", topic)
		case seen[topic]:
			bad("Inputs", "%s is listed twice", topic)
		}
		seen[topic] = true
	}
	for _, topic := range c.Origins {
		if !seen[topic] {
			bad("Origins", "%s is not an input", topic)
		}
	}
	if c.Changelog == "" {
		bad("Changelog", "is required")
	}
	if c.Processor == nil {
		bad("Processor", "is required")
	}
	if c.DataDir == "" {
		bad("DataDir", "is required")
	}
	if len(c.Client) == 0 {
		bad("Client", "is required; it holds at least the seed brokers")
	}
	if strings.ContainsAny(c.Advertise, " /\t\n") {
		bad("Advertise", "%q is not host:port", c.Advertise)
	}

	if len(c.Advertise) > maxTextBytes {
		bad("Advertise", "%d bytes, at most %d", len(c.Advertise), maxTextBytes)
	}
	if len(c.Zone) > maxTextBytes {
		bad("Zone", "%d bytes, at most %d", len(c.Zone), maxTextBytes)
	}

	number := func(field string, v, least, most int64) {
		if v < least || v > most {
			bad(field, "%d, want %d to %d", v, least, most)
		}
	}
	if c.Memory != 0 {
		number("Memory", c.Memory, memoryLeast, 1<<44)
	}
	number("CacheBytes", c.CacheBytes, 1<<20, 1<<40)
	number("Standbys", int64(c.Standbys), -1, 8)
	l := &c.Limits
	number("Limits.CycleRecords", int64(l.CycleRecords), 1, 1<<20)
	number("Limits.KeyRecords", int64(l.KeyRecords), 0, 1<<20)
	number("Limits.CycleTimers", int64(l.CycleTimers), 1, 1<<20)
	number("Limits.CycleBytes", int64(l.CycleBytes), 1, 1<<30)
	number("Limits.QueueRecords", int64(l.QueueRecords), 1, 1<<24)
	number("Limits.QueueBytes", int64(l.QueueBytes), 1, 1<<32)
	number("Limits.FetchBytes", int64(l.FetchBytes), 1<<10, math.MaxInt32)
	number("Limits.FetchPartitionBytes", int64(l.FetchPartitionBytes), 1<<10, int64(l.FetchBytes))
	number("Limits.Restores", int64(l.Restores), 1, 1<<10)
	number("Limits.RestoreFetchBytes", int64(l.RestoreFetchBytes), 1<<10, math.MaxInt32)
	number("Limits.RestoreMemory", int64(l.RestoreMemory), restoreMemoryLeast, 1<<40)
	number("Limits.RestoreShare", int64(l.RestoreShare), 1, 100)
	number("Limits.Lag", l.Lag, 0, math.MaxInt64)
	number("Limits.WarmUps", int64(l.WarmUps), -1, 1<<10)

	length := func(field string, v, least, most time.Duration) {
		if v < least || v > most {
			bad(field, "%v, want %v to %v", v, least, most)
		}
	}
	const day = 24 * time.Hour
	length("Limits.CycleTime", l.CycleTime, time.Millisecond, 5*time.Second)
	length("Limits.Gather", l.Gather, math.MinInt64, time.Second)
	t := &c.Timing
	length("Timing.Heartbeat", t.Heartbeat, 10*time.Millisecond, heartbeatMax)
	length("Timing.Session", t.Session, 2*t.Heartbeat, day)
	length("Timing.Transaction", t.Transaction, time.Second, 15*time.Minute)
	length("Timing.FetchMaxWait", t.FetchMaxWait, time.Millisecond, day)
	length("Timing.Offsets", t.Offsets, math.MinInt64, day)
	length("Timing.Topics", t.Topics, math.MinInt64, day)
	length("Timing.Start", t.Start, time.Millisecond, day)
	length("Timing.Stop", t.Stop, time.Millisecond, day)
	length("Timing.Drain", t.Drain, math.MinInt64, day)
	length("Timing.Stuck", t.Stuck, 100*time.Millisecond, day)
	length("Timing.Away", t.Away, time.Millisecond, day)
	length("Timing.Standby", t.Standby, time.Millisecond, day)
	length("Timing.Stall", t.Stall, time.Second, day)
	length("Timing.Backoff", t.Backoff, time.Millisecond, t.BackoffMax)
	length("Timing.BackoffMax", t.BackoffMax, time.Millisecond, day)
	length("Timing.Probe", t.Probe, t.Heartbeat, day)
	length("Timing.OwnerCache", t.OwnerCache, time.Millisecond, day)
	length("Timing.DeleteRetention", t.DeleteRetention, time.Second, 3650*day)

	d := &c.Destinations
	length("Destinations.Patience", d.Patience, 10*time.Millisecond, t.Transaction)
	length("Destinations.Probe", d.Probe, time.Millisecond, d.ProbeMax)
	length("Destinations.ProbeMax", d.ProbeMax, time.Millisecond, day)
	number("Destinations.HalfOpen", int64(d.HalfOpen), 1, 1<<20)
	lane := func(field string, l Lane) {
		if !(l.Rate >= 0 && l.Rate <= 1e9) || l.Burst < 0 || !(l.Retries >= 0 && l.Retries <= 1e6) || !(l.RetriesMin >= 0 && l.RetriesMin <= 1e9) {
			bad(field, "%+v has a limit that is negative or no number", l)
		}
	}
	lane("Destinations.All", d.All)
	for topic, l := range d.Topics {
		if strings.HasPrefix(topic, c.App) {
			bad("Destinations.Topics", "%s is a topic of our own", topic)
		}
		lane("Destinations.Topics["+topic+"]", l)
	}

	if len(faults) > 0 {
		return fmt.Errorf("topology config: %w", errors.Join(faults...))
	}
	return nil
}

// originsOf says that origins count in a topic. There are few of them.
func (c *Config) originsOf(topic string) bool {
	for _, t := range c.Origins {
		if t == topic {
			return true
		}
	}
	return false
}
