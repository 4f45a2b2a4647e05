package blackbox

import (
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestKafkaTenThousand runs ten thousand card payments through three
// processes that are killed with -9 at random, one or two at a time, and wants
// every one of them all done or all undone.
func TestKafkaTenThousand(t *testing.T) {
	c := kafkatest.Real(t)
	sagas := 10_000
	const kills = 12
	if testing.Short() {
		sagas = 500
	}
	w := newWorld(t, c)
	processes := startProcesses(t, c, 3)
	w.apply(3*time.Second, 10, 5)
	w.follow()

	began := time.Now()
	published := w.begin(sagas, 90*time.Second)
	killed := 0
	for killed < kills || !closed(published) {
		w.between(500*time.Millisecond, 5*time.Second)
		n := 1
		if w.rng.IntN(4) == 0 {
			n = 2
		}
		down := w.rng.Perm(len(processes))[:n]
		for _, i := range down {
			processes[i].alive()
			processes[i].kill()
			killed++
		}
		t.Logf("%5.1fs: killed %d of 3, %d of %d instances have ended", time.Since(began).Seconds(), n, w.endedCount(), sagas)
		w.between(0, 4*time.Second)
		for _, i := range down {
			processes[i].start()
		}
	}
	for _, p := range processes {
		p.waitReady(time.Minute)
	}
	t.Logf("%5.1fs: %d kills, all started again, %d of %d instances have ended", time.Since(began).Seconds(), killed, w.endedCount(), sagas)
	w.waitEnded(sagas, 90*time.Second)
	t.Logf("%5.1fs: all have ended after %d kills", time.Since(began).Seconds(), killed)
	w.check(processes)
	for _, p := range processes {
		p.terminate(30 * time.Second)
	}
}

// between waits for a random time.
func (w *world) between(low, high time.Duration) {
	time.Sleep(low + time.Duration(w.rng.Int64N(int64(high-low))))
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
