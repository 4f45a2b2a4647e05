package topology

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkStream is BenchmarkCycle with a built topology that copies each record to four topics.
func BenchmarkStream(b *testing.B) {
	builder := NewBuilder("copy")
	in := From(builder, "in", Bytes())
	for _, topic := range []string{"a", "b", "c", "d"} {
		in.Filter(func(it Item[[]byte]) bool { return len(it.Value) > 0 }).To(topic, Bytes())
	}
	built, err := builder.Build()
	if err != nil {
		b.Fatal(err)
	}
	t := benchTask(b)
	t.processor = built.Processor(0)
	key, value := []byte("card-payment/order-1"), make([]byte, 200)
	const size = 1000
	b.ReportAllocs()
	b.ResetTimer()
	offset := int64(0)
	for done := 0; done < b.N; done += size {
		segment, recs := make([]*kgo.Record, size), make([]kgo.Record, size)
		for i := range segment {
			recs[i] = kgo.Record{Topic: "in", Key: key, Value: value, Offset: offset}
			segment[i] = &recs[i]
			offset++
		}
		t.queue.push(segment)
		if worked, err := t.cycle(b.Context()); err != nil || !worked {
			b.Fatal(worked, err)
		}
	}
}
