package topology

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBisectionCondemnsTheRightInput plays the crash path: a broker that
// refuses any batch with a bad record, and a queue that starts again from the
// last commit. Exactly the bad ones are condemned, everything else passes.
func TestBisectionCondemnsTheRightInput(t *testing.T) {
	limits := Limits{CycleRecords: 64, CycleTimers: 16}
	bad := map[int64]bool{0: true, 17: true, 18: true, 99: true}
	b := batching{limits: &limits}
	var condemned []int64
	cycles := 0
	for at := int64(0); at < 100; {
		if cycles++; cycles > 200 {
			t.Fatal("no end")
		}
		b.doomed.seen = false
		n := min(int64(b.records()), 100-at)
		c := &Cycle{task: &task{}, taken: int(n)}
		refused := false
		var poisoned []int64
		for o := at; o < at+n; o++ {
			r := &kgo.Record{Topic: "in", Offset: o}
			c.lastTaken = r
			if err := b.condemned(r); err != nil {
				if !errors.Is(err, ErrTooLarge) {
					t.Fatal(err)
				}
				poisoned = append(poisoned, o)
			} else if bad[o] {
				refused = true
			}
		}
		if refused {
			if err := b.refused(c, &recordError{topic: "out", err: kerr.MessageTooLarge}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b.committed(time.Millisecond, 0)
		condemned = append(condemned, poisoned...)
		at += n
	}
	if len(condemned) != len(bad) {
		t.Fatalf("condemned %v", condemned)
	}
	for _, o := range condemned {
		if !bad[o] {
			t.Fatalf("condemned %v", condemned)
		}
	}
	if b.limit == 1 {
		t.Error("the limit has not grown again")
	}
}

// TestBisectionEndsInHalt: when even what Poison emits is refused, the task
// halts instead of trying for ever.
func TestBisectionEndsInHalt(t *testing.T) {
	b := batching{limits: &Limits{CycleRecords: 64, CycleTimers: 16}}
	r := &kgo.Record{Topic: "in", Offset: 3}
	c := &Cycle{task: &task{}, lastTaken: r, taken: 1}
	if err := b.refused(c, &recordError{topic: "out", err: kerr.MessageTooLarge}); err != nil {
		t.Fatal(err)
	}
	if b.condemned(r) == nil {
		t.Fatal("not condemned")
	}
	err := b.refused(c, &recordError{topic: "dlq", err: kerr.UnknownTopicOrPartition})
	if classify(err) != classHalt {
		t.Fatalf("class %v of %v", classify(err), err)
	}
}

func TestGather(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name          string
		arrived       int
		took, fastest time.Duration
		want          time.Duration
	}{
		{"idle", 0, 5 * ms, 3 * ms, 0},
		{"a trickle", 3, 5 * ms, 3 * ms, 0},
		{"a stream, and commits that are slowed down", 200, 5 * ms, 3 * ms, 4 * ms},
		{"at most Gather", 200, 50 * ms, 3 * ms, 20 * ms},
		{"a stream that nothing slows down", 200, 3 * ms, 3 * ms, 0},
		{"batch is large already", 1500, 5 * ms, 3 * ms, 0},
		{"no time has passed", 500, 0, 0, 0},
	} {
		b := batching{limits: &Limits{CycleRecords: 2000, Gather: 20 * ms}, arrived: tc.arrived, took: tc.took, fastest: tc.fastest}
		if got := b.gather(); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestFastest: the fastest commit counts at once, and is forgotten when none has been as fast for minutes.
func TestFastest(t *testing.T) {
	b := batching{limits: &Limits{CycleRecords: 2000, Gather: 20 * time.Millisecond}}
	for _, took := range []time.Duration{9, 3, 12} {
		b.committed(took*time.Millisecond, 100)
	}
	if got := b.fastest.Round(time.Millisecond); got != 3*time.Millisecond {
		t.Errorf("fastest %v, want 3ms", got)
	}
	for range 60 * 60 * 100 { // an hour of it
		b.committed(10*time.Millisecond, 100)
	}
	if b.fastest != 10*time.Millisecond || b.gather() != 0 {
		t.Errorf("fastest %v, gather %v after an hour of commits of 10ms", b.fastest, b.gather())
	}
}
