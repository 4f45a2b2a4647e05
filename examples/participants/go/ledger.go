package main

import (
	"context"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/sqlinbox"
)

// The business of this example: a ledger with a line per effect.

type order struct {
	Amount  int64 `json:"amount"`
	SleepMs int64 `json:"sleepMs"`
}

type booked struct {
	ID string `json:"id"`
}

// execute is the business of a do.
func execute(ctx context.Context, tx participant.Tx, in order) (out booked, err error) {
	if in.Amount > 1_000_000 {
		return out, participant.Reject("OVER_LIMIT", "")
	}
	time.Sleep(time.Duration(in.SleepMs) * time.Millisecond)
	err = sqlinbox.Of(tx).QueryRowContext(ctx, "insert into ledger(wid, command, k, amount) values($1, $2, $3, $4) returning id::text",
		tx.Command().WorkflowID, tx.Command().Name, tx.Key(), in.Amount).Scan(&out.ID)
	return out, err
}

// reverse is that of an undo: a line that takes the first one back.
func reverse(ctx context.Context, tx participant.Tx, _ order, fwd participant.Forward) error {
	_, err := sqlinbox.Of(tx).ExecContext(ctx, "insert into ledger(wid, command, k, fwd, amount) select wid, $1, $2, k, -amount from ledger where k = $3",
		tx.Command().Name, tx.Key(), fwd.Key)
	return err
}
