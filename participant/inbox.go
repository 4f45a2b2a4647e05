package participant

import (
	"context"

	"github.com/amendsio/amends/protocol"
)

// Inbox is where a participant remembers what it answered, in the same local transactions in which
// its handlers work. It must be safe for concurrent use.
type Inbox interface {
	// Update runs fn in one local transaction and commits it when fn returns nil. When fn returns an
	// error, or the commit fails, nothing of it remains and the error is returned. Transactions are
	// serialisable, or at least those are that touch the same rows and data.
	Update(ctx context.Context, fn func(Store) error) error
}

// Store is one local transaction. It is used by one goroutine.
type Store interface {
	// Insert adds a row unless there is one under key, and returns the one that is there. It is one
	// atomic step: of two transactions that insert the same key at most one ever succeeds. While
	// another one holds the key, Insert waits for its end or returns ErrBusy.
	Insert(key string, row Row) (old Row, inserted bool, err error)
	// Set replaces a row that is there.
	Set(key string, row Row) error

	// Get, Put and Delete are the handler's own data. A database adapter may refuse them and offer
	// its transaction by a method Native() any instead.
	Get(key string) (value []byte, found bool, err error)
	Put(key string, value []byte) error
	Delete(key string) error
}

// Status of a row.
type Status uint8

const (
	Started  Status = iota + 1 // an external call may be under way
	Done                       // ok
	Rejected                   // refused, or a tombstone: it never ran and never will
	Failed                     // failed-fatal
)

// Row is what is remembered of one key.
type Row struct {
	Status  Status
	At      int64    // ms since the epoch: when the row was inserted
	Until   int64    // Started: ms until which the call may be running
	Sum     [32]byte // of operation, command and payload; zero in a tombstone
	Effect  protocol.Effect
	Code    string
	Message string
	Noop    bool
	Undone  bool   // of a do: an undo has reversed it since
	Output  []byte // JSON object; of a call that has not answered: its handle
}

// Forward is what an undo or inquire handler learns of the do.
type Forward struct {
	Key    string // saga-key of the do, the idempotency key of its external calls
	Known  bool   // its answer is known; false = it may or may not have taken effect
	Output []byte // JSON of its output, nil when it is not known
	Handle []byte // JSON of what an external call has last told by Tx.Progress, nil when it is Known
}

// Limits of what a handler may store through its Tx, and of what it may answer.
const (
	MaxDataKey = 1 << 10
	MaxData    = 900 << 10
	MaxOutput  = 900 << 10
)

// Tx is a handler's view of its local transaction. Once the handler returned it is dead.
type Tx struct{ *txState }

type txState struct {
	cmd    protocol.Command
	store  Store // nil for an external call, which runs between two transactions
	inbox  Inbox
	ctx    context.Context
	closed bool
	staged []change // of an external call
}

type change struct {
	key    string
	value  []byte
	delete bool
}

// Key is the idempotency key of this operation (saga-key): the same for every delivery and attempt,
// and fit to be the idempotency key of a call to another service.
func (tx Tx) Key() string { return tx.cmd.Key }

// Command is the envelope that came with the command.
func (tx Tx) Command() protocol.Command { return tx.cmd }

// Native is the adapter's own transaction, e.g. a *sql.Tx; nil when it has none.
func (tx Tx) Native() any {
	if n, ok := tx.store.(interface{ Native() any }); ok && !tx.closed {
		return n.Native()
	}
	return nil
}

// Get reads the handler's own data, with its own writes in view. The value must not be changed.
func (tx Tx) Get(key string) (value []byte, found bool, err error) {
	if err := tx.check(key, nil); err != nil {
		return nil, false, err
	}
	if tx.store != nil {
		return tx.store.Get(key)
	}
	for i := len(tx.staged) - 1; i >= 0; i-- {
		if c := tx.staged[i]; c.key == key {
			return c.value, !c.delete, nil
		}
	}
	err = tx.inbox.Update(tx.ctx, func(s Store) error {
		value, found, err = s.Get(key)
		return err
	})
	return value, found, err
}

// Put writes the handler's own data. The value is copied.
func (tx Tx) Put(key string, value []byte) error {
	if err := tx.check(key, value); err != nil {
		return err
	}
	value = append(make([]byte, 0, len(value)), value...)
	if tx.store != nil {
		return tx.store.Put(key, value)
	}
	tx.staged = append(tx.staged, change{key: key, value: value})
	return nil
}

// Delete removes the handler's own data.
func (tx Tx) Delete(key string) error {
	if err := tx.check(key, nil); err != nil {
		return err
	}
	if tx.store != nil {
		return tx.store.Delete(key)
	}
	tx.staged = append(tx.staged, change{key: key, delete: true})
	return nil
}

func (tx Tx) check(key string, value []byte) error {
	switch {
	case tx.closed:
		return ErrTxClosed
	case key == "" || len(key) > MaxDataKey || len(value) > MaxData:
		return ErrTooLarge
	}
	return nil
}

// apply writes what an external call has staged.
func (tx Tx) apply(s Store) error {
	for _, c := range tx.staged {
		var err error
		if c.delete {
			err = s.Delete(c.key)
		} else {
			err = s.Put(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
