package sqlinbox

import (
	"context"
	"time"
)

// Sweep forgets rows that are older than the retention at the given time, at most Config.SweepRows of them, and
// says how many. Rows that a transaction holds are left for the next time where the database can pass them over.
func (b *Inbox) Sweep(ctx context.Context, now time.Time) (rows int, err error) {
	res, err := b.cfg.DB.ExecContext(ctx, b.text.sweep, now.Add(-b.cfg.Retention).UnixMilli(), b.cfg.SweepRows)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// sweepIfDue sweeps every hundredth of the retention, and soon again while there is more to forget. now is the
// time of the row that was just written, so a clock that is set wrong here forgets nothing that others need.
func (b *Inbox) sweepIfDue(ctx context.Context, now int64) {
	due := b.due.Load()
	if now == 0 || now < due || !b.due.CompareAndSwap(due, now+b.cfg.Retention.Milliseconds()/100+1) {
		return
	}
	rows, err := b.Sweep(ctx, time.UnixMilli(now))
	if err == nil && rows == b.cfg.SweepRows {
		b.due.Store(now + 100)
	}
	if b.cfg.Swept != nil {
		b.cfg.Swept(rows, err)
	}
}
