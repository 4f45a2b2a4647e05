package topology

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: a restore rests while tasks work, so much that all restores stay
// within their share of one processor, and not at all when no task works.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		restores := 1
		p := pacer{share: 50, restores: func() int { return restores }}
		rests := func() time.Duration {
			began := time.Now()
			p.pace(t.Context(), time.Millisecond)
			return time.Since(began)
		}
		if d := rests(); d != 0 {
			t.Errorf("no task ever worked, and it rests %v", d)
		}
		p.hooks().Cycle(CycleStats{})
		// Two goroutines at 1 ms of 4 are half a processor.
		if d := rests(); d != 3*time.Millisecond {
			t.Errorf("one restore rests %v", d)
		}
		restores = 3
		if d := rests(); d != 11*time.Millisecond {
			t.Errorf("one of three restores rests %v", d)
		}
		restores = 1000
		if d := rests(); d != paceMost {
			t.Errorf("one of many restores rests %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		p.pace(ctx, time.Second)
		if d := time.Since(began); d != 0 {
			t.Errorf("it rests %v after it was cancelled", d)
		}
		time.Sleep(2 * paceRecent)
		if d := rests(); d != 0 {
			t.Errorf("the tasks are idle, and it rests %v", d)
		}
	})
}

func TestRestoreProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p RestoreProgress
		if s := p.At(1, 1000, 10_000); s.Left() >= 0 || s.Rate() != 0 {
			t.Errorf("at the first word: %v left at %v/s", s.Left(), s.Rate())
		}
		time.Sleep(2 * time.Second)
		if s := p.At(1, 5000, 10_000); s.Rate() != 2000 || s.Left() != 2500*time.Millisecond {
			t.Errorf("%v left at %v/s", s.Left(), s.Rate())
		}
		p.At(2, 0, 100)
		if done, all, left := p.Total(); done != 4000 || all != 9100 || left != -1 {
			t.Errorf("total: %d of %d, %v left", done, all, left)
		}
		p.Done(2)
		if s := p.At(1, 200, 10_000); s.First != 200 || s.Rate() != 0 {
			t.Errorf("it began again: %+v", s)
		}
		p.Done(1)
		if done, all, left := p.Total(); done != 0 || all != 0 || left != 0 {
			t.Errorf("nothing under way: %d of %d, %v left", done, all, left)
		}
	})
}

// TestDivide: the parts of a memory budget fit into it, whatever it is and
// however many tasks there are.
func TestDivide(t *testing.T) {
	for _, memory := range []int64{memoryLeast, 256 << 20, 2 << 30, 64 << 30} {
		for _, tasks := range []int32{1, 12, 64} {
			c := Config{Memory: memory}.withDefaults()
			c.divide(tasks)
			l := &c.Limits
			sum := c.CacheBytes + c.unflushed() + int64(l.Restores*l.RestoreMemory) + int64(l.QueueBytes)*int64(tasks) + int64(l.FetchBytes)
			if most := memory * 3 / 4; memory >= 256<<20 && sum > most {
				t.Errorf("%d MiB, %d tasks: the parts are %d MiB", memory>>20, tasks, sum>>20)
			}
			if l.QueueBytes > 8<<20 || l.FetchBytes > 8<<20 || l.FetchPartitionBytes > l.FetchBytes {
				t.Errorf("%d MiB, %d tasks: above the defaults: %+v", memory>>20, tasks, l)
			}
		}
	}
	c := Config{}.withDefaults()
	before := c.Limits
	if c.divide(12); c.Limits != before || c.CacheBytes != 64<<20 {
		t.Errorf("without a budget the limits change: %+v", c.Limits)
	}
	own := Config{Memory: 1 << 30, CacheBytes: 5 << 20, Limits: Limits{QueueBytes: 1000}}.withDefaults()
	if own.divide(1); own.CacheBytes != 5<<20 || own.Limits.QueueBytes != 1000 {
		t.Errorf("own limits change: %d %+v", own.CacheBytes, own.Limits)
	}
}
