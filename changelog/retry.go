package changelog

import (
	"context"
	"errors"
	"time"
)

// How often and how long a broker is asked before the caller is told.
const (
	backoffMin = 20 * time.Millisecond
	backoffMax = time.Second
	patience   = 15 * time.Second // of errors without an answer in between
)

// retry calls fn until it succeeds, the patience is over, or the error is not
// one that waiting can mend.
func retry(ctx context.Context, fn func() error, mend func(error) bool) error {
	var p pause
	for {
		err := fn()
		if err == nil || !errors.Is(err, ErrRetry) || !mend(err) {
			return err
		}
		if !p.wait(ctx) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// pause waits longer and longer, and notices when it has been for too long.
type pause struct {
	next  time.Duration
	since time.Time
}

// wait is false when the context ended or the patience is over.
func (p *pause) wait(ctx context.Context) bool {
	now := time.Now()
	if p.since.IsZero() {
		p.since, p.next = now, backoffMin
	}
	if now.Sub(p.since) > patience {
		return false
	}
	d := p.next
	p.next = min(2*p.next, backoffMax)
	return sleep(ctx, d)
}

func (p *pause) reset() { *p = pause{} }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
