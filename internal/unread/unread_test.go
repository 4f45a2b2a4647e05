package unread

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// polled is what a poll brings: a fault, or records.
func polled(err error, records int) kgo.Fetches {
	p := kgo.FetchPartition{Partition: 3, Err: err, Records: make([]*kgo.Record, records)}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t", Partitions: []kgo.FetchPartition{p}}}}}
}

func TestFaultsRestAndAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Faults
		said := 0
		say := func(topic string, partition int32, _ error) {
			if said++; topic != "t" || partition != 3 {
				t.Errorf("%s/%d", topic, partition)
			}
		}
		gone := errors.New("no such topic")
		began := time.Now()
		for range 30 {
			f.After(t.Context(), polled(gone, 0), say)
		}
		if rested := time.Since(began); rested < 2*time.Minute || rested > 3*time.Minute {
			t.Errorf("30 faults took %v", rested)
		}
		if said != 3 { // at the start, and twice a minute later
			t.Errorf("said %d times", said)
		}
		f.After(t.Context(), polled(errors.New("not allowed"), 0), say)
		if said != 4 {
			t.Error("another fault was not said")
		}

		began = time.Now()
		f.After(t.Context(), polled(nil, 5), say)
		f.After(t.Context(), polled(gone, 5), say)
		if took := time.Since(began); took != 0 {
			t.Errorf("records waited for %v", took)
		}
		f.After(t.Context(), polled(gone, 0), say)
		if took := time.Since(began); took != restLeast {
			t.Errorf("the first rest after records is %v", took)
		}
	})
}

func TestRestHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Faults{Most: 150 * time.Millisecond}
		began := time.Now()
		for range 3 {
			f.After(t.Context(), polled(errors.New("gone"), 0), func(string, int32, error) {})
		}
		if took := time.Since(began); took != 400*time.Millisecond {
			t.Errorf("rested %v", took)
		}
	})
}

func TestEndCutsRestShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var f Faults
		began := time.Now()
		f.After(ctx, polled(errors.New("closed"), 0), func(string, int32, error) { t.Error("said after the end") })
		if time.Since(began) != 0 {
			t.Error("it rested after the end")
		}
	})
}
