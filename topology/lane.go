package topology

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A key that has something for a topic that may not be written to waits for it: one reserved entry of
// the store, <waitPrefix><topic>0x00<key>, written in the transaction of the cycle that found the topic
// shut and deleted in the one that released the key. So it survives whatever the state survives, and a
// key is released exactly once for each time that it was made to wait.

const waitPrefix = "\x00wait/"

func waitKey(topic string, key []byte) []byte {
	k := make([]byte, 0, len(waitPrefix)+len(topic)+1+len(key))
	k = append(append(k, waitPrefix...), topic...)
	return append(append(k, 0), key...)
}

// splitWait is the inverse of waitKey.
func splitWait(k []byte) (topic string, key []byte, ok bool) {
	k, ok = bytes.CutPrefix(k, []byte(waitPrefix))
	if !ok {
		return "", nil, false
	}
	at := bytes.IndexByte(k, 0)
	if at <= 0 {
		return "", nil, false
	}
	return string(k[:at]), k[at+1:], true
}

// Releaser is a Processor that asks Cycle.May before it emits to a topic of others, and uses Cycle.Wait.
// For any other one a topic that refuses makes the record poison, and one that stalls stops the task.
type Releaser interface {
	// Release is called for a key that waited for topic, once the topic takes records again. It may
	// let the key wait once more. After an error Poison is called with the key.
	Release(c *Cycle, topic string, key []byte) error
}

// lanes are what the tasks' keys wait for.
type lanes struct {
	waiting map[string]int    // keys per topic, as the last commit left it
	after   map[string][]byte // where the next round of a topic goes on
	changes []laneChange      // of this cycle
	shut    map[string]bool   // topics that this cycle may not write to any more
}

type laneChange struct {
	topic string
	n     int
}

// newLanes reads from the store who waits.
func (t *task) newLanes() (*lanes, error) {
	l := &lanes{waiting: make(map[string]int), after: make(map[string][]byte), shut: make(map[string]bool)}
	bad := false
	err := t.store.Scan([]byte(waitPrefix), nil, func(k, _ []byte) bool {
		topic, _, ok := splitWait(k)
		bad = bad || !ok
		l.waiting[topic]++
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read who waits: %w", err)
	}
	if bad {
		return nil, halt("changelog %s/%d has a waiting entry that cannot be read", t.cfg.Changelog, t.id)
	}
	for topic, n := range l.waiting {
		t.w.destinations.count(topic, n)
	}
	return l, nil
}

// forget takes the keys of a task that leaves this process, or begins anew, out of the counts.
func (l *lanes) forget(d *destinations) {
	for topic, n := range l.waiting {
		d.count(topic, -n)
	}
	clear(l.waiting)
}

func (l *lanes) reset() {
	l.changes = l.changes[:0]
	clear(l.shut)
}

// settle takes over what a committed cycle has changed.
func (l *lanes) settle(d *destinations) {
	for _, ch := range l.changes {
		d.count(ch.topic, ch.n)
		if l.waiting[ch.topic] += ch.n; l.waiting[ch.topic] == 0 {
			delete(l.waiting, ch.topic)
			delete(l.after, ch.topic)
		}
	}
	l.changes = l.changes[:0]
}

// May asks whether a record may be emitted to topic now; again says that it repeats an earlier one. A
// yes counts against the limits of the topic, so ask once for each record. A no holds for the rest of
// the cycle. Own topics are always free.
func (c *Cycle) May(topic string, again bool) bool {
	if c.lanes.shut[topic] && !again {
		return false
	}
	if c.task.w.destinations.admit(topic, again) {
		return true
	}
	if !again {
		c.lanes.shut[topic] = true
	}
	return false
}

// Wait has the processor's Release called for key, in some later cycle, when topic takes records.
// Several calls for one topic and key count once.
func (c *Cycle) Wait(topic string, key []byte) error {
	k := waitKey(topic, key)
	_, found, err := c.batch.Get(k)
	if err != nil || found {
		return err
	}
	c.batch.Put(k, nil)
	c.lanes.changes = append(c.lanes.changes, laneChange{topic, 1})
	return nil
}

// pump releases keys whose topic takes records, at most limit. A topic whose keys do not all fit goes
// on behind the last one in the next cycle, so that none is passed over for ever.
func (c *Cycle) pump(limit int) error {
	t, l := c.task, c.lanes
	if len(l.waiting) == 0 || limit <= 0 {
		return nil
	}
	topics := slices.Sorted(maps.Keys(l.waiting))
	share := max(1, limit/len(topics))
	for _, topic := range topics {
		if c.full() && c.taken+c.fired+c.pumped > 0 {
			return nil
		}
		if t.w.destinations.flows(topic) != 0 {
			continue
		}
		keys, err := c.waiters(topic, share)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if t.w.destinations.flows(topic) != 0 || c.full() && c.taken+c.fired+c.pumped > 0 {
				break
			}
			l.after[topic] = key
			if err := c.release(topic, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// waiters lists keys that wait for topic, behind where the last round ended.
func (c *Cycle) waiters(topic string, limit int) (keys [][]byte, err error) {
	l := c.lanes
	prefix := waitKey(topic, nil)
	take := func(after []byte) error {
		return c.task.store.Scan(prefix, after, func(k, _ []byte) bool {
			if len(keys) < limit {
				keys = append(keys, bytes.Clone(k[len(prefix):]))
			}
			return len(keys) < limit
		})
	}
	if after := l.after[topic]; after != nil {
		if err := take(waitKey(topic, after)); err != nil || len(keys) > 0 {
			return keys, err
		}
		delete(l.after, topic)
	}
	return keys, take(nil)
}

// release lets one key go on.
func (c *Cycle) release(topic string, key []byte) error {
	t := c.task
	k := waitKey(topic, key)
	if _, found, err := c.batch.Get(k); err != nil || !found {
		return err
	}
	c.pumped++
	c.lastPumped = key
	c.batch.Delete(k)
	c.lanes.changes = append(c.lanes.changes, laneChange{topic, -1})
	releaser, ok := t.processor.(Releaser)
	if !ok {
		return halt("keys wait for topic %s and the processor releases none", topic)
	}
	err := t.batching.condemnedRelease(key)
	if err == nil {
		before := c.mark()
		if err = c.call(func() error { return releaser.Release(c, topic, key) }); err == nil || c.crashed != nil {
			return c.crashed
		}
		c.rollback(before)
		if fault := storeFault(err); fault != nil {
			return fault
		}
		if errors.Is(err, ErrRetry) {
			return err
		}
	}
	return c.poison(nil, key, err)
}

// untilFlow is how long a task with nothing to do may sleep before the limits of a topic let another
// key through. A breaker wakes the task by itself.
func (l *lanes) untilFlow(d *destinations) time.Duration {
	wait := never
	for topic := range l.waiting {
		wait = min(wait, d.flows(topic))
	}
	return wait
}
