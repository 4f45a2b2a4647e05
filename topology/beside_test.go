package topology

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimersBesideRecords plays a storm of timers beside records on a machine where a cycle takes base, and
// more for each timer. Cycles become about half as long again, whatever a timer costs, unless the least
// share does that alone; when the records end, timers have the cycles for themselves.
func TestTimersBesideRecords(t *testing.T) {
	const most = 500
	for _, c := range []struct {
		base, timer time.Duration
	}{
		{10 * time.Millisecond, 10 * time.Microsecond},
		{10 * time.Millisecond, 40 * time.Microsecond},
		{40 * time.Millisecond, 100 * time.Microsecond},
		{5 * time.Millisecond, 200 * time.Microsecond}, // the least share is too much already
		{200 * time.Millisecond, 10 * time.Microsecond},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		var b beside
		now := time.Unix(1_800_000_000, 0)
		cycle := func(records int, due bool) (fired int, took time.Duration) {
			limit := b.limit(records, now, most)
			if due {
				fired = limit
			}
			took = c.base*time.Duration(80+rng.IntN(40))/100 + c.timer*time.Duration(fired)
			b.committed(records, fired, took, due, most)
			now = now.Add(took)
			return fired, took
		}
		for range 200 {
			cycle(5, false)
		}
		var took time.Duration
		var fired int
		const cycles = 2000
		for range cycles {
			f, d := cycle(5, true)
			fired, took = fired+f, took+d
		}
		mean, timers := took/cycles, fired/cycles
		if mean > c.base*8/5+time.Millisecond && timers > most/besideLeast+5 {
			t.Errorf("%+v: a cycle takes %v with %d timers", c, mean, timers)
		}
		if room := c.base/2 > c.timer*most; room && timers < most*8/10 || timers < most/besideLeast*9/10 {
			t.Errorf("%+v: %d timers in a cycle", c, timers)
		}
		if f, _ := cycle(0, true); f > most*9/10 && c.timer >= 40*time.Microsecond {
			t.Errorf("%+v: %d timers right after the last record", c, f)
		}
		now = now.Add(2 * besideWindow)
		if f, _ := cycle(0, true); f != most {
			t.Errorf("%+v: %d timers when nobody waits", c, f)
		}
	}
}
