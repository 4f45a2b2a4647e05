package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
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
	id := p.key(wid)
	if rec, ok := c.Object(id).(*sagas.Record); ok {
		if checkKept != nil {
			checkKept(c, wid, rec)
		}
		return rec, nil
	}
	value, found, err := c.Get(id)
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

// checkKept is set by tests: what is kept must be what is stored.
var checkKept func(c *topology.Cycle, wid string, kept *sagas.Record)

// key is wid as a key, for calls that copy it.
func (p *processor) key(wid string) []byte {
	p.wid = append(p.wid[:0], wid...)
	return p.wid
}

// Memory of an instance beside its texts, of which the stored record is a measure.
var (
	instanceBytes = int(reflect.TypeFor[sagas.Instance]().Size() + reflect.TypeFor[sagas.Record]().Size())
	stepBytes     = int(reflect.TypeFor[sagas.StepState]().Size())
	frameBytes    = int(reflect.TypeFor[sagas.Frame]().Size())
)

// put writes the record of next. The next event finds the instance as it is in memory, unless that may be far:
// it lies in pages, or is at its end.
func (p *processor) put(c *topology.Cycle, wid string, value []byte, next *sagas.Instance) {
	var kept *sagas.Record
	if next.Phase.Active() {
		kept = sagas.KeepRecord(value, next)
	}
	if kept == nil {
		c.Put(p.key(wid), value)
		return
	}
	c.PutObject(p.key(wid), value, kept, 2*len(value)+instanceBytes+len(next.Steps)*stepBytes+len(next.Frames)*frameBytes)
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
		c.Delete(p.key(o.wid))
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
	p.put(c, o.wid, value, next)
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
