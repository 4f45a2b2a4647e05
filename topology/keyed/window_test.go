package keyed

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// TestWindow compares a window with the plainest one: a list of offsets, each done or not.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		type entry struct {
			offset int64
			number uint64
			bytes  int
			done   bool
		}
		var model []entry
		first, offset := 0, int64(0) // of those not below the commit
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			open := []int{}
			for i := first; i < len(model); i++ {
				if !model[i].done {
					open = append(open, i)
				}
			}
			if len(open) == 0 || rapid.IntRange(0, 2).Draw(t, "what") > 0 && len(open) < 50 {
				offset += rapid.Int64Range(1, 3).Draw(t, "gap") // control and compacted records leave gaps
				n := rapid.IntRange(1, 9).Draw(t, "bytes")
				number := w.add(&kgo.Record{Offset: offset, LeaderEpoch: 5}, n)
				model = append(model, entry{offset: offset, number: number, bytes: n})
			} else {
				i := rapid.SampledFrom(open).Draw(t, "done")
				model[i].done = true
				w.done(model[i].number)
			}
			for first < len(model) && model[first].done {
				first++
			}
			bytes := 0
			for _, e := range model[first:] {
				bytes += e.bytes
			}
			if w.len() != len(model)-first || w.bytes != bytes {
				t.Fatalf("%d records of %d bytes, want %d of %d", w.len(), w.bytes, len(model)-first, bytes)
			}
			if w.moved != (first > 0) {
				t.Fatalf("moved is %v", w.moved)
			}
			if first > 0 && (w.next.Offset != model[first-1].offset+1 || w.next.Epoch != 5) {
				t.Fatalf("commits %v, the prefix ends at %d", w.next, model[first-1].offset)
			}
		}
	})
}
