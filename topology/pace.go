package topology

import (
	"context"
	"sync/atomic"
	"time"
)

// pacer slows restores down while tasks of the same process have work to do,
// so that these keep their latency. It knows no rates: a restore that has
// worked for a while rests for so long that all restores together take at most
// a share of one processor. While no task of the process works, nobody waits.
type pacer struct {
	restores func() int // under way
	share    int        // percent of one processor
	cycled   atomic.Int64
}

const (
	paceRecent = time.Second            // after a cycle the tasks count as busy
	paceMost   = 100 * time.Millisecond // of one rest
	// paceSides is how many goroutines a restore has: one fetches and decodes,
	// one loads.
	paceSides = 2
)

// hooks notices the cycles of the tasks.
func (p *pacer) hooks() Hooks {
	return Hooks{Cycle: func(CycleStats) { p.cycled.Store(time.Now().UnixNano()) }}
}

// pace is called by a restore that has worked for a while.
func (p *pacer) pace(ctx context.Context, worked time.Duration) {
	if last := p.cycled.Load(); last == 0 || time.Now().UnixNano()-last > paceRecent.Nanoseconds() {
		return
	}
	sleep(ctx, p.rest(worked))
}

// rest is how long to rest after some work.
func (p *pacer) rest(worked time.Duration) time.Duration {
	sides := time.Duration(max(1, p.restores()) * paceSides)
	share := time.Duration(p.share)
	return min(paceMost, max(0, worked*(100*sides-share)/share))
}
