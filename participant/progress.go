package participant

import (
	"context"
	"errors"

	"github.com/amendsio/amends/protocol"
)

// ErrNoProgress is returned by Tx.Progress where nobody can be told: not in a do, or by a runtime whose replies are
// part of its own transactions (package durable).
var ErrNoProgress = errors.New("progress cannot be told here")

type progressKey struct{}

// WithProgress gives handlers under ctx a way to tell their progress: tell sends a progress reply with a handle, a JSON
// object or nil. Participant.Run does this; it is for runtimes and tests of their own.
func WithProgress(ctx context.Context, tell func(ctx context.Context, handle []byte) error) context.Context {
	return context.WithValue(ctx, progressKey{}, tell)
}

// Progress tells the saga that this do is still working: a sign of life, and more time for the attempt. handle is nil or
// gives a JSON object: what an undo may use even when the do never answers, for example the other side's id of a
// transfer that has begun. Of an external call the handle is kept in the inbox too, for Forward.Handle; it replaces
// the handle before it.
//
// It is no answer. What a handler changes in its transaction stays invisible until it returns, so a handle must name
// something that exists: outside, or not at all.
func (tx Tx) Progress(handle any) error {
	tell, ok := tx.ctx.Value(progressKey{}).(func(context.Context, []byte) error)
	switch {
	case tx.closed:
		return ErrTxClosed
	case !ok || tx.cmd.Op != protocol.OpDo:
		return ErrNoProgress
	}
	var b []byte
	if handle != nil {
		var err error
		if b, err = encodeOutput(handle); err != nil {
			return err
		}
		if tx.store == nil { // between two transactions: the row is there
			if err := tx.keepHandle(b); err != nil {
				return err
			}
		}
	}
	return tell(tx.ctx, b)
}

// keepHandle puts a handle into the row of a started call.
func (tx Tx) keepHandle(handle []byte) error {
	return tx.inbox.Update(tx.ctx, func(s Store) error {
		row, inserted, err := s.Insert(tx.cmd.Key, Row{Status: Started})
		switch {
		case err != nil:
			return err
		case inserted || row.Status != Started:
			return ErrTxClosed // an undo has given up on this call
		}
		row.Output = handle
		return s.Set(tx.cmd.Key, row)
	})
}
