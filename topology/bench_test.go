package topology

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

// BenchmarkCycle measures what a cycle costs without Kafka: queue, routing, a
// small processor, batch, changelog records, store. The broker's share is
// measured elsewhere, on a real one.
func BenchmarkCycle(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			t := benchTask(b)
			keys := make([][]byte, 10_000)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "card-payment/order-%08d", i)
			}
			value := make([]byte, 200)
			b.ReportAllocs()
			b.ResetTimer()
			offset := int64(0)
			for done := 0; done < b.N; done += size {
				segment := make([]*kgo.Record, size)
				recs := make([]kgo.Record, size)
				for i := range segment {
					recs[i] = kgo.Record{Topic: "in", Key: keys[offset%int64(len(keys))], Value: value, Offset: offset}
					segment[i] = &recs[i]
					offset++
				}
				t.queue.push(segment)
				if worked, err := t.cycle(b.Context()); err != nil || !worked {
					b.Fatal(worked, err)
				}
			}
		})
	}
}

// benchTask is a task whose transactions always succeed at once.
func benchTask(b *testing.B) *task {
	cfg := validConfig()
	cfg.FS = vfs.NewMem()
	cfg.Processor = func(int32) Processor { return benchProcessor{} }
	w, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	w.layout = &layout{tasks: 1, partitions: 1}
	t := newTask(newReplica(w, 0), nil)
	if t.store, err = statestore.Open(statestore.Options{Dir: t.dir, FS: cfg.FS, Index: w.cfg.Index}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.closeStore)
	next := int64(0)
	env := commitEnv{
		begin: func() error { return nil },
		produce: func(_ context.Context, rec *kgo.Record, done func(*kgo.Record, error)) {
			rec.Offset = next
			next++
			done(rec, nil)
		},
		flush: func(context.Context) error { return nil },
		end:   func(context.Context) error { return nil },
	}
	t.committer = t.newCommitter([2]commitEnv{env, env})
	t.processor = cfg.Processor(0)
	t.current = &Cycle{task: t, batch: t.store.NewBatch(), hit: make(map[string]bool)}
	t.positions.set("in", 0, 0)
	return t
}

// benchProcessor writes 200 bytes of state and emits one record of 200 bytes.
type benchProcessor struct{}

func (benchProcessor) Decode(rec *Record) (any, []byte) { return nil, rec.Key }
func (benchProcessor) Process(c *Cycle, rec *Record, _ any) error {
	if _, _, err := c.Get(rec.Key); err != nil {
		return err
	}
	c.Put(rec.Key, rec.Value)
	c.Emit(&Record{Topic: "out", Partition: ByKey, Key: rec.Key, Value: rec.Value, Timestamp: time.UnixMilli(c.Now())})
	return nil
}
func (benchProcessor) Timer(*Cycle, []byte) error            { return nil }
func (benchProcessor) Poison(*Cycle, *Record, []byte, error) {}
