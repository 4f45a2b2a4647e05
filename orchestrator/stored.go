package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// An instance is stored under its workflow ID; one with many items has pages beside that, under keys that
// begin with the workflow ID and go on with a zero byte, which no workflow ID has. All of it is written in
// the transaction of the event, and only the record under the workflow ID has timers and attributes.

// isPage says whether a key is that of a page.
func isPage(key []byte) bool { return bytes.IndexByte(key, 0) >= 0 }

func appendPageKey(dst []byte, wid string, page sagas.PageKey) []byte {
	return append(append(dst, wid...), page...)
}

// open reads the instance as this cycle leaves it, nil when there is none. Its pages are read as they
// are asked for.
func (p *processor) open(c *topology.Cycle, wid string) (*sagas.Record, error) {
	value, found, err := c.Get([]byte(wid))
	if err != nil || !found {
		return nil, err
	}
	var key []byte
	rec, err := sagas.OpenRecord(value, func(page sagas.PageKey) ([]byte, error) {
		key = appendPageKey(key[:0], wid, page)
		value, _, err := c.Get(key)
		return value, err
	})
	return rec, unreadable(wid, err)
}

// unreadable marks the errors that say that a stored instance cannot be read.
func unreadable(wid string, err error) error {
	if errors.Is(err, sagas.ErrCorrupt) || errors.Is(err, sagas.ErrNewerFormat) {
		return fmt.Errorf("%w: %s: %w", errInstanceUnreadable, wid, err)
	}
	return err
}

// encodedMost is the largest buffer for encoding that a processor keeps.
const encodedMost = 64 << 10

// store writes the next state, nothing when it is unchanged. Of an instance in pages it writes those that
// changed.
func (p *processor) store(c *topology.Cycle, o *origin, next *sagas.Instance) error {
	if next == o.before {
		return nil
	}
	largest := 0
	var key []byte
	put := func(page sagas.PageKey, value []byte) {
		key = appendPageKey(key[:0], o.wid, page)
		if value == nil {
			c.Delete(key)
			return
		}
		largest = max(largest, len(value))
		c.Put(key, value)
	}
	if next == nil {
		o.stored.Drop(put)
		c.Delete([]byte(o.wid))
		return nil
	}
	value := o.stored.Write(p.encoded[:0], next, put)
	if p.encoded = value; cap(value) > encodedMost {
		p.encoded = nil // one large instance must not hold the memory for all that follow
	}
	if largest = max(largest, len(value)); largest > sagas.MaxRecordBytes {
		return fmt.Errorf("%w: %d bytes", errInstanceTooLarge, largest)
	}
	if value[0] > firstFormat && p.definitions.current.Load().Level() < levelFull {
		return fmt.Errorf("%w: record format %d", errAboveLevel, value[0])
	}
	c.Put([]byte(o.wid), value)
	return nil
}

// readWhole reads all of an instance out of a store that others write to: in one scan, which sees one
// moment. nil: there is none.
func readWhole(view topology.View, wid string) (*sagas.Instance, error) {
	if wid == "" || strings.IndexByte(wid, 0) >= 0 {
		return nil, nil
	}
	var head []byte
	pages := map[sagas.PageKey][]byte{}
	err := view.Scan([]byte(wid), nil, func(key, value []byte) bool {
		switch rest := key[len(wid):]; {
		case len(rest) == 0:
			head = bytes.Clone(value)
		case rest[0] == 0:
			pages[sagas.PageKey(rest)] = bytes.Clone(value)
		default: // another instance, whose ID begins with this one
			return false
		}
		return head != nil
	})
	if err != nil || head == nil {
		return nil, err
	}
	rec, err := sagas.OpenRecord(head, func(page sagas.PageKey) ([]byte, error) { return pages[page], nil })
	if err != nil {
		return nil, err
	}
	return rec.Instance()
}
