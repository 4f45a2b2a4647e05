package durable

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/statestore"
)

// Keys of the store begin with what they are.
const (
	rowPrefix     = 'i' // + saga-key: row of the inbox
	dataPrefix    = 'd' // + key: what a handler has put
	pendingPrefix = 'p' // + saga-key: external call that was started and is to be made
)

// State is the part of a topology.Cycle that an inbox needs.
type State interface {
	Get(key []byte) (value []byte, found bool, err error)
	Put(key, value []byte)
	Delete(key []byte)
}

// Inbox is the participant.Inbox of one cycle, also for processors of one's own. A local transaction becomes durable with the cycle,
// after Answer has returned, so external calls are deferred to the next one.
type Inbox struct {
	state State
	fault error // the first failure of state: not for an answer, but for the runtime to act on
}

// NewInbox makes the inbox of a cycle.
func NewInbox(s State) *Inbox { return &Inbox{state: s} }

// Fault is the first failure of the state that an answer may have hidden. A processor returns it.
func (b *Inbox) Fault() error { return b.fault }

// RowKey is the key of the store under which the row of a saga-key lies, as participant.Row.Append has
// written it.
func RowKey(sagaKey string) []byte { return []byte(key(rowPrefix, sagaKey)) }

// Update implements participant.Inbox. What fn writes reaches the cycle only when fn succeeds.
func (b *Inbox) Update(_ context.Context, fn func(participant.Store) error) error {
	tx := &tx{inbox: b, writes: map[string]write{}}
	if err := fn(tx); err != nil {
		return err
	}
	if b.fault != nil {
		return b.fault
	}
	for _, key := range tx.order {
		if w := tx.writes[key]; w.delete {
			b.state.Delete([]byte(key))
		} else {
			b.state.Put([]byte(key), w.value)
		}
	}
	return nil
}

// Defer implements participant.Deferrer: the command is kept, and due in the next cycle.
func (*Inbox) Defer(s participant.Store, cmd protocol.Command, payload []byte) error {
	t, ok := s.(*tx)
	if !ok {
		return fmt.Errorf("defer: %T is not a transaction of this inbox", s)
	}
	t.put(key(pendingPrefix, cmd.Key), appendCommand(nil, cmd, payload))
	return nil
}

// tx is one local transaction.
type tx struct {
	inbox  *Inbox
	writes map[string]write
	order  []string // keys of writes as they came, so that the changelog does not depend on map order
}

type write struct {
	value  []byte
	delete bool
}

func (t *tx) get(key string) ([]byte, bool, error) {
	if w, found := t.writes[key]; found {
		return w.value, !w.delete, nil
	}
	value, found, err := t.inbox.state.Get([]byte(key))
	if err != nil && t.inbox.fault == nil {
		t.inbox.fault = err
	}
	return value, found, err
}

func (t *tx) put(key string, value []byte) { t.write(key, write{value: value}) }

func (t *tx) write(key string, w write) {
	if _, found := t.writes[key]; !found {
		t.order = append(t.order, key)
	}
	t.writes[key] = w
}

// Insert implements participant.Store. One goroutine owns the task, so the check and the insert
// cannot be separated.
func (t *tx) Insert(sagaKey string, row participant.Row) (participant.Row, bool, error) {
	k := key(rowPrefix, sagaKey)
	b, found, err := t.get(k)
	if err != nil {
		return participant.Row{}, false, err
	}
	if found {
		old, err := participant.DecodeRow(b)
		if err != nil {
			return participant.Row{}, false, fmt.Errorf("row of %s: %w", sagaKey, err)
		}
		return old, false, nil
	}
	t.put(k, row.Append(nil))
	return participant.Row{}, true, nil
}

// Set implements participant.Store.
func (t *tx) Set(sagaKey string, row participant.Row) error {
	t.put(key(rowPrefix, sagaKey), row.Append(nil))
	return nil
}

// Get implements participant.Store.
func (t *tx) Get(k string) ([]byte, bool, error) { return t.get(key(dataPrefix, k)) }

// Put implements participant.Store.
func (t *tx) Put(k string, value []byte) error {
	t.put(key(dataPrefix, k), value)
	return nil
}

// Delete implements participant.Store.
func (t *tx) Delete(k string) error {
	t.write(key(dataPrefix, k), write{delete: true})
	return nil
}

func key(prefix byte, s string) string { return string(prefix) + s }

// Index derives when an entry is due: a row when its retention ends, a pending call at once.
func Index(retention time.Duration) statestore.Indexer {
	keep := retention.Milliseconds()
	return func(key, value []byte) statestore.Entry {
		if len(key) == 0 {
			return statestore.Entry{}
		}
		switch key[0] {
		case rowPrefix:
			return statestore.Entry{Due: participant.RowTime(value) + keep}
		case pendingPrefix:
			return statestore.Entry{Due: 1}
		}
		return statestore.Entry{}
	}
}

// pendingFormat is the first byte of a pending command.
const pendingFormat = 1

var errPending = errors.New("not a pending command")

// appendCommand writes a command as its headers and payload.
func appendCommand(dst []byte, cmd protocol.Command, payload []byte) []byte {
	headers := cmd.Headers()
	dst = append(dst, pendingFormat)
	dst = binary.AppendUvarint(dst, uint64(len(headers)))
	for _, h := range headers {
		dst = binary.AppendUvarint(dst, uint64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = binary.AppendUvarint(dst, uint64(len(h.Value)))
		dst = append(dst, h.Value...)
	}
	return append(dst, payload...)
}

// decodeCommand reads what appendCommand wrote. Nothing aliases b.
func decodeCommand(b []byte) (protocol.Command, []byte, error) {
	if len(b) == 0 || b[0] != pendingFormat {
		return protocol.Command{}, nil, errPending
	}
	rest := b[1:]
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > protocol.MaxHeaders {
		return protocol.Command{}, nil, errPending
	}
	rest = rest[size:]
	headers := make([]protocol.Header, n)
	for i := range headers {
		name, after, ok := cut(rest)
		if !ok {
			return protocol.Command{}, nil, errPending
		}
		value, after, ok := cut(after)
		if !ok {
			return protocol.Command{}, nil, errPending
		}
		headers[i], rest = protocol.Header{Key: string(name), Value: value}, after
	}
	cmd, err := protocol.ParseCommand(headers)
	if err != nil {
		return protocol.Command{}, nil, fmt.Errorf("%w: %w", errPending, err)
	}
	return cmd, append([]byte(nil), rest...), nil
}

// cut takes a text with its length in front.
func cut(b []byte) (text, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n], b[n:], true
}
