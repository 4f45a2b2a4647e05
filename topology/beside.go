package topology

import "time"

// beside decides how many timers a cycle fires when somebody waits for its records. A million timers
// that are due at once must not double the way of everything else, and must end soon all the same.
//
// What counts is how long a cycle takes: a record waits for the one under way and for its own. So it
// knows what cycles take without timers, and lets timers make them half as long again: more as long as
// they do not, fewer when they do. Now and then a cycle fires none, to know what that takes by now.
//
// Somebody waits also in the second after the last record: the next one should not find a long cycle.
type beside struct {
	calm  time.Duration // what a cycle with records takes without timers, averaged
	share int           // timers of the next cycle beside records; 0: not known yet
	turn  int           // cycles with timers since the last without
	seen  time.Time     // when there were records last
}

const (
	besideWindow = time.Second
	besideTurns  = 16 // of so many cycles with records one fires no timers
	besideLeast  = 8  // a share is never below this part of CycleTimers: the timers end
	besideLong   = time.Second
)

// limit is the most timers of a cycle that starts now with that many records.
func (b *beside) limit(records int, now time.Time, most int) int {
	if records > 0 {
		b.seen = now
	}
	if since := now.Sub(b.seen); b.seen.IsZero() || since < 0 || since > besideWindow {
		return most
	}
	if b.share == 0 {
		b.share = (most + 1) / 2
	}
	if records > 0 && (b.calm == 0 || b.turn >= besideTurns) {
		b.turn = 0
		return 0
	}
	b.share = min(max(b.share, b.least(most)), most)
	return b.share
}

func (b *beside) least(most int) int { return max(1, most/besideLeast) }

// committed learns from a cycle: it had that many records, fired that many timers, and took so long.
// due says that more timers are due.
func (b *beside) committed(records, fired int, took time.Duration, due bool, most int) {
	took = min(max(took, 0), besideLong) // a clock that was set says nothing
	switch {
	case records > 0 && fired == 0:
		weight := time.Duration(16)
		if due { // the process is busy with timers: that should not become what is usual
			weight = 256
		}
		if b.calm == 0 {
			b.calm = max(took, 1)
		}
		b.calm = max(1, b.calm+(took-b.calm)/weight)
	case records > 0:
		b.turn++
		if took > b.calm+b.calm/2+time.Millisecond {
			b.share = max(b.least(most), min(b.share, fired)*3/4)
		} else if fired >= b.share {
			b.share = min(most, b.share+b.share/8+1)
		}
	}
}
