package changelog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/statestore/storetest"
)

// dump is everything in a store, derived keys included.
func dump(t testing.TB, s *statestore.Store) (lines []string) {
	t.Helper()
	if err := s.Dump(func(kind byte, key, value []byte) {
		lines = append(lines, fmt.Sprintf("%c %q %q", kind, key, value))
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestRestoreBothWays restores one log in bulk, fetch by fetch, and in bulk up
// to the middle and fetch by fetch from there: three stores with the same
// bytes, with timers and attributes that moved many times.
func TestRestoreBothWays(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	rng := rand.New(rand.NewPCG(3, 1))
	owners := []*owner{newOwner(t, c, "a"), newOwner(t, c, "b")}
	ctx, cancel := c.Context()
	defer cancel()
	middle := int64(0)
	for txn := range 60 {
		o := owners[txn%2]
		o.begin()
		var records []*kgo.Record
		for range 1 + rng.IntN(40) {
			r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", rng.IntN(150))}
			if rng.IntN(5) > 0 {
				r.Value = []byte{byte(rng.IntN(10)), 'a' + byte(rng.IntN(27)), 'a' + byte(rng.IntN(27))}
			}
			records = append(records, r)
		}
		if err := o.cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		o.end(txn%7 != 3)
		if txn == 30 {
			middle = settled(t, c, topic).End
		}
	}
	end := settled(t, c, topic).End
	into := func(s *statestore.Store, least, target int64) {
		t.Helper()
		r := changelog.Restore{Client: c.Client(), Topic: topic, Target: target, BulkLeast: least, MaxBytes: 2000}
		if _, err := r.Into(ctx, s); err != nil {
			t.Fatal(err)
		}
		if s.Position().Next < target { // a fetch may bring more
			t.Fatalf("position %d of %d", s.Position().Next, target)
		}
	}
	var dumps []string
	for _, restore := range []func(*statestore.Store){
		func(s *statestore.Store) { into(s, -1, end) },
		func(s *statestore.Store) { into(s, 1, end) },
		func(s *statestore.Store) { into(s, 1, middle); into(s, 1, end) },
	} {
		s, err := statestore.Open(statestore.Options{Dir: "task", FS: vfs.NewMem(), Index: storetest.Index, Identity: statestore.Identity{Format: 1}})
		if err != nil {
			t.Fatal(err)
		}
		restore(s)
		lines := dump(t, s)
		if len(lines) < 300 {
			t.Fatalf("%d entries only", len(lines))
		}
		dumps = append(dumps, fmt.Sprint(lines, s.Position()))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if dumps[0] != dumps[1] || dumps[0] != dumps[2] {
		t.Errorf("the stores differ:\n%s\n%s\n%s", dumps[0], dumps[1], dumps[2])
	}
}

// TestIntoStops ends the context during a restore in bulk: the store stays
// empty, and can be restored again.
func TestIntoStops(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	a := newOwner(t, c, "a")
	a.commit(topic, "k=1", "l=1", "m=1")
	end := settled(t, c, topic).End
	all, cancel := c.Context()
	defer cancel()
	for _, at := range []string{"reading", "merging"} {
		t.Run(at, func(t *testing.T) {
			why := errors.New("task was closed")
			ctx, stop := context.WithCancelCause(all)
			defer stop(nil)
			s := openStore(t)
			r := changelog.Restore{Client: c.Client(), Topic: topic, Target: end, BulkLeast: 1, MaxBytes: 1}
			r.OnProgress = func(next int64) {
				if at == "reading" || next == end {
					stop(why)
				}
			}
			if _, err := r.Into(ctx, s); !errors.Is(err, why) {
				t.Fatal(err)
			}
			if s.Position() != (statestore.Position{}) {
				t.Fatalf("position %+v", s.Position())
			}
			wantData(t, s)
			var paced atomic.Int32
			r.OnProgress, r.Pace = nil, func(_ context.Context, worked time.Duration) {
				if worked < 0 {
					t.Errorf("worked for %v", worked)
				}
				paced.Add(1)
			}
			if _, err := r.Into(all, s); err != nil {
				t.Fatal(err)
			}
			wantData(t, s, "k=1", "l=1", "m=1")
			if paced.Load() == 0 {
				t.Error("Pace was never told")
			}
		})
	}
}
