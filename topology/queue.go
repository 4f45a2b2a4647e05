package topology

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queue stands between the shared consumer and one task. The consumer pushes
// what one fetch brought for one partition as one slice; the task takes records
// in the order in which they were pushed. Over its high mark the consumer pauses
// the partitions of the task; under half of it the task asks for more.
//
// The high mark is not a hard bound: one fetch may lie on top of it.
type queue struct {
	highRecords, highBytes int

	ready  chan struct{} // has a token when something was pushed
	resume func()        // called by take when a paused queue is under its low mark
	paused func(bool)    // called by the consumer once it has paused or resumed

	mu struct {
		sync.Mutex
		segments [][]*kgo.Record
		records  int
		bytes    int
		paused   bool
	}
}

func newQueue(l *Limits, resume func(), paused func(bool)) *queue {
	return &queue{
		highRecords: l.QueueRecords, highBytes: l.QueueBytes,
		ready: make(chan struct{}, 1), resume: resume, paused: paused,
	}
}

// push adds records, whose slice the queue keeps, and reports whether the queue
// has just gone over its high mark, so that its partitions must be paused.
func (q *queue) push(records []*kgo.Record) (pause bool) {
	bytes := 0
	for _, rec := range records {
		bytes += recordSize(rec)
	}
	q.mu.Lock()
	q.mu.segments = append(q.mu.segments, records)
	q.mu.records += len(records)
	q.mu.bytes += bytes
	if !q.mu.paused && (q.mu.records > q.highRecords || q.mu.bytes > q.highBytes) {
		q.mu.paused, pause = true, true
	}
	q.mu.Unlock()
	q.wake()
	return pause
}

// wake gives the task a token, if it has none.
func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take appends at most limit records of about maxBytes to dst, at least one if
// there is one and limit allows it.
func (q *queue) take(limit, maxBytes int, dst []*kgo.Record) []*kgo.Record {
	dst = q.look(limit, maxBytes, dst)
	q.settle()
	return dst
}

// settle has a queue that is under its low mark filled again.
func (q *queue) settle() {
	q.mu.Lock()
	resume := q.underLowLocked()
	q.mu.Unlock()
	if resume {
		q.resume()
	}
}

// look is take for records of which some will be put back: settle follows then.
func (q *queue) look(limit, maxBytes int, dst []*kgo.Record) []*kgo.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for len(q.mu.segments) > 0 && n < limit && (n == 0 || bytes < maxBytes) {
		segment := q.mu.segments[0]
		i := 0
		for i < len(segment) && n < limit && (n == 0 || bytes < maxBytes) {
			bytes += recordSize(segment[i])
			dst = append(dst, segment[i])
			segment[i] = nil
			i, n = i+1, n+1
		}
		if i < len(segment) {
			q.mu.segments[0] = segment[i:]
			break
		}
		q.mu.segments[0] = nil
		q.mu.segments = q.mu.segments[1:]
	}
	q.mu.records -= n
	q.mu.bytes -= bytes
	return dst
}

// underLowLocked says, once, that a paused queue may be filled again.
func (q *queue) underLowLocked() bool {
	if !q.mu.paused || q.mu.records > q.highRecords/2 || q.mu.bytes > q.highBytes/2 {
		return false
	}
	q.mu.paused = false
	return true
}

// putBack returns records to the front. The slice stays the caller's.
func (q *queue) putBack(records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	segment := append([]*kgo.Record(nil), records...)
	bytes := 0
	for _, rec := range segment {
		bytes += recordSize(rec)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.segments = append([][]*kgo.Record{segment}, q.mu.segments...)
	q.mu.records += len(segment)
	q.mu.bytes += bytes
}

// len is the number of records waiting.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.records
}

// clear drops everything; the consumer no longer feeds the queue.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.segments, q.mu.records, q.mu.bytes, q.mu.paused = nil, 0, 0, false
}
