package topology

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

// Errors a caller can ask for with errors.Is. They are classed by who must act.
var (
	// ErrRetry marks what heals by itself: the task drops its batch, backs off
	// and takes over again. A Processor returns it from Process for a record
	// that cannot be handled now and can later: the records before it are
	// committed, those behind it wait, and the reason is in TaskInfo.
	ErrRetry = errors.New("retry")
	// ErrFenced marks that another worker owns the task now.
	ErrFenced = errors.New("fenced by another owner")
	// ErrCorrupt marks a local store that must be wiped and restored.
	ErrCorrupt = errors.New("store is corrupt")
	// ErrHalt marks what one task cannot go on from without a person. The other
	// tasks go on.
	ErrHalt = errors.New("task is halted")
	// ErrFatal marks a configuration or a bug that stops the whole worker.
	ErrFatal = errors.New("fatal")

	// ErrCrash, returned by a Failpoint, stops the whole worker as kill -9
	// would.
	ErrCrash = errors.New("crash of the worker, asked for by a failpoint")

	// ErrMisrouted is what Processor.Poison receives for a record that was
	// forwarded once and is still on the wrong partition.
	ErrMisrouted = errors.New("forwarded record is still on the wrong partition")
	// ErrTimerKept is what Processor.Poison receives when a timer fired and its
	// entry was left as it was.
	ErrTimerKept = errors.New("timer fired and its entry was not changed")
	// ErrTooLarge is what Processor.Poison receives when the outputs of one
	// record alone are refused as too large.
	ErrTooLarge = errors.New("output is too large for Kafka")
	// ErrUndeliverable is what Processor.Poison receives when Kafka refuses the
	// outputs of one record alone for another reason than size.
	ErrUndeliverable = errors.New("output is refused by Kafka")
	// ErrPanic wraps a panic of a Processor.
	ErrPanic = errors.New("processor panicked")

	// ErrNotRunning is returned by a View whose task has been closed.
	ErrNotRunning = errors.New("task is not running here")
)

// class orders what can go wrong with a task by what the task does next.
type class uint8

const (
	classRetry   class = iota + 1 // drop the batch, back off, take over again
	classFenced                   // close without commit; ask the group before coming back
	classCorrupt                  // wipe the store, take over again
	classRecord                   // the broker refuses a record of this batch: smaller batch, then Poison
	classHalt                     // stop this task and say why
	classFatal                    // stop the worker
	classStopped                  // asked to stop; nothing is wrong
	classLane                     // a topic of others held the commit up: its breaker is open now, do the batch again
)

func (c class) String() string {
	switch c {
	case classRetry:
		return "retry"
	case classFenced:
		return "fenced"
	case classCorrupt:
		return "corrupt"
	case classRecord:
		return "record"
	case classHalt:
		return "halt"
	case classFatal:
		return "fatal"
	case classStopped:
		return "stopped"
	case classLane:
		return "destination"
	}
	return "invalid"
}

// errStopped ends a task that was asked to stop.
var errStopped = errors.New("task was asked to stop")

// classify says what the task does about err. What is not known is retried:
// the crash path is correct after every error.
func classify(err error) class {
	var record *recordError
	var lane *laneError
	switch {
	case errors.Is(err, ErrCrash), errors.Is(err, ErrFatal), errors.Is(err, statestore.ErrLocked):
		return classFatal
	case errors.Is(err, errStopped):
		return classStopped
	case errors.Is(err, ErrHalt):
		return classHalt
	case errors.As(err, &record):
		return classRecord
	case errors.As(err, &lane):
		return classLane
	case errors.Is(err, changelog.ErrLost), errors.Is(err, changelog.ErrFatal),
		errors.Is(err, statestore.ErrIdentity), errors.Is(err, statestore.ErrNewerFormat), errors.Is(err, statestore.ErrMisuse):
		return classHalt
	case errors.Is(err, ErrCorrupt), errors.Is(err, statestore.ErrCorrupt), errors.Is(err, changelog.ErrTruncated):
		return classCorrupt
	case errors.Is(err, ErrFenced), isFenced(err):
		return classFenced
	}
	return classRetry
}

// isFenced recognises the answers of a broker to a transactional id that a
// later InitProducerID has taken over. INVALID_PRODUCER_ID_MAPPING is not among
// them: the id has expired, and nobody else owns the task.
func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) ||
		errors.Is(err, kerr.InvalidProducerEpoch)
}

// isRecordFault recognises answers that the same record would get again, while
// other records of the batch may pass. own says that the record was meant for
// the changelog, whose absence is nobody else's fault.
func isRecordFault(err error, own bool) bool {
	for _, k := range []*kerr.Error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp} {
		if errors.Is(err, k) {
			return true
		}
	}
	for _, k := range []*kerr.Error{kerr.InvalidTopicException, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID} {
		if errors.Is(err, k) {
			return !own
		}
	}
	return false
}

// recordError is a produce error that one record of the batch has caused.
type recordError struct {
	topic string
	err   error
	bytes int // of the record
}

func (e *recordError) Error() string { return fmt.Sprintf("produce to %s: %v", e.topic, e.err) }
func (e *recordError) Unwrap() error { return e.err }

// cause is what Poison receives for the record.
func (e *recordError) cause() error {
	kind := ErrUndeliverable
	if errors.Is(e.err, kerr.MessageTooLarge) || errors.Is(e.err, kerr.RecordListTooLarge) {
		kind = ErrTooLarge
	}
	return fmt.Errorf("%w: %w", kind, e)
}

// halt wraps err so that the task stops with it as the reason.
func halt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrHalt, fmt.Errorf(format, args...))
}
