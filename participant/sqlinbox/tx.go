package sqlinbox

import (
	"context"
	"database/sql"
	"errors"

	"github.com/amendsio/amends/participant"
)

// ErrNoTx is returned by statements outside of a handler's transaction: the handler has returned, it makes an
// external call, or its inbox is another one.
var ErrNoTx = errors.New("there is no transaction of a SQL inbox here")

// Tx runs statements in a handler's transaction. It has neither Commit nor Rollback: the inbox commits when the
// handler returned nil, and rolls back when it returned an error.
type Tx struct{ tx participant.Tx }

// Of gives the transaction of a handler. It is dead once the handler returned.
func Of(tx participant.Tx) Tx { return Tx{tx} }

func (t Tx) native() (*sql.Tx, error) {
	if tx, ok := t.tx.Native().(guarded); ok {
		return tx.tx, nil
	}
	return nil, ErrNoTx
}

// ExecContext is that of sql.Tx.
func (t Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tx, err := t.native()
	if err != nil {
		return nil, err
	}
	return tx.ExecContext(ctx, query, args...)
}

// QueryContext is that of sql.Tx. Close the rows before the handler returns.
func (t Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	tx, err := t.native()
	if err != nil {
		return nil, err
	}
	return tx.QueryContext(ctx, query, args...)
}

// PrepareContext is that of sql.Tx.
func (t Tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	tx, err := t.native()
	if err != nil {
		return nil, err
	}
	return tx.PrepareContext(ctx, query)
}

// QueryRowContext is that of sql.Tx.
func (t Tx) QueryRowContext(ctx context.Context, query string, args ...any) Row {
	tx, err := t.native()
	if err != nil {
		return Row{err: err}
	}
	return Row{row: tx.QueryRowContext(ctx, query, args...)}
}

// Row is the one row that QueryRowContext asks for.
type Row struct {
	row *sql.Row
	err error
}

// Scan is that of sql.Row.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}

// Err is that of sql.Row.
func (r Row) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.row.Err()
}

// guarded keeps the *sql.Tx, which can commit, from handlers that ask for Tx.Native.
type guarded struct{ tx *sql.Tx }
