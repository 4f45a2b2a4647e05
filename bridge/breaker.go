package bridge

import (
	"sync"
	"time"
)

// breaker leaves a destination alone for a while after failures in a row. Then one call tries; the
// others are let through when that one has had an answer.
type breaker struct {
	failures int // 0 = never opens
	pause    time.Duration

	mu struct {
		sync.Mutex
		row    int
		until  time.Time
		trying bool
	}
}

// allow says whether a call may be made now, and if not how long to wait.
func (b *breaker) allow(now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 || b.mu.row < b.failures {
		return 0, true
	}
	if left := b.mu.until.Sub(now); left > 0 {
		return left, false
	}
	if b.mu.trying {
		return b.pause, false
	}
	b.mu.trying = true
	return 0, true
}

// heard ends a call that allow has let through. It reports whether the breaker has changed, and whether
// it is open now.
func (b *breaker) heard(ok bool, now time.Time) (changed, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.failures > 0 && b.mu.row >= b.failures
	b.mu.trying = false
	if ok {
		b.mu.row = 0
		return was, false
	}
	b.mu.row++
	open = b.failures > 0 && b.mu.row >= b.failures
	if open {
		b.mu.until = now.Add(b.pause)
	}
	return open != was, open
}

// pacer spaces calls out: rate per second, and burst at once after a silence.
type pacer struct {
	every time.Duration // 0 = no limit
	ahead time.Duration // by how much the next may come before its time

	mu struct {
		sync.Mutex
		next time.Time
	}
}

func newPacer(rate, burst int) *pacer {
	if rate == 0 {
		return &pacer{}
	}
	every := time.Second / time.Duration(rate)
	return &pacer{every: every, ahead: every * time.Duration(burst-1)}
}

// reserve takes the next place and says how long to wait for it.
func (p *pacer) reserve(now time.Time) time.Duration {
	if p.every == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if least := now.Add(-p.ahead); p.mu.next.Before(least) {
		p.mu.next = least
	}
	wait := max(0, p.mu.next.Sub(now))
	p.mu.next = p.mu.next.Add(p.every)
	return wait
}
