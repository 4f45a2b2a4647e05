package topology

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

// Record and Header are Kafka's, under short names for processors.
type (
	Record = kgo.Record
	Header = kgo.RecordHeader
)

// ByKey as the Partition of an emitted record asks for the partition that its
// key hashes to (murmur2, the default of the Java client). Any other negative
// number does the same; zero and above is taken as it is.
const ByKey int32 = -1

// Processor is what a task runs for each record and each due timer. All its
// methods are called from one goroutine, one at a time; a Processor belongs to
// one task and needs no locks.
type Processor interface {
	// Decode reads the record and says which key it belongs to. A nil key
	// keeps the record on this task. Decode cannot fail: msg may describe what
	// is wrong with the record, for Process to act on. It sees no state and may
	// be called again for the same record.
	Decode(rec *Record) (msg any, key []byte)

	// Process handles one record. All that it reads, writes and emits goes
	// through c. After an error or a panic everything it did is undone and
	// Poison is called instead, in the same transaction. After ErrRetry it is
	// called again later.
	Process(c *Cycle, rec *Record, msg any) error

	// Timer is called for a store entry whose due time (as the Indexer reports
	// it) is at or before c.Now(). It must write or delete that entry: a timer
	// that leaves its entry as it was is an error. After ErrRetry it is called
	// again later, and the task does nothing else meanwhile.
	Timer(c *Cycle, key []byte) error

	// Poison is the way out for input that Process or Timer cannot handle: emit
	// a dead letter, set the instance aside. rec is nil for a timer; rec and
	// key are both nil when Wake failed. If Poison panics, or leaves a timer
	// due, the task halts with the reason.
	Poison(c *Cycle, rec *Record, key []byte, err error)
}

// Waker is a Processor that has something to do when Worker.Wake is called.
type Waker interface {
	// Wake runs in a cycle of the task, before its records.
	Wake(c *Cycle) error
}

// Starter is a Waker that may want to be called once when its task begins to run, as if Worker.Wake had
// been called.
type Starter interface {
	Waker
	WakeAtStart() bool
}
