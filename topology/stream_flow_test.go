package topology

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestBuiltTopology runs a built topology, with a hop through a topic of its own and a store in memory,
// over crashes of the worker: each key's count is seen once.
func TestBuiltTopology(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 2)
		hop := c.CreateTopic(r.app+"hop", 4, nil)
		build := func() *Topology {
			b := NewBuilder("counts")
			records := From(b, r.in, Bytes())
			byKey := records.KeyBy(func(it Item[[]byte]) []byte { return it.Value }).Through(hop, Bytes())
			Process(byKey, "count", func(int32) Handler[[]byte, string] { return counting{} }, Uses{Stores: []StoreSpec{{Name: "n"}}}).To(r.out, Text())
			built, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			return built
		}
		const words, each = 10, 20
		var recs []*kgo.Record
		for i := range words * each {
			word := fmt.Sprintf("w%d", i%words)
			// Records that have waited for long: their outputs keep their time.
			recs = append(recs, &kgo.Record{Topic: r.in, Value: []byte(word), Timestamp: time.Now().Add(-time.Hour)})
			r.sent[word]++
		}
		for i, point := range []string{FailProduce, FailEnd, FailEnded, FailApplied} {
			c.Produce(recs[i*40 : (i+1)*40]...)
			disk := kafkatest.NewDisk()
			cfg := build().Config(r.config("one", disk))
			cfg.InMemory = true
			cfg.Failpoint = func(name string, _ int32) error {
				if name == point {
					return ErrCrash
				}
				return nil
			}
			p := r.start(cfg, disk)
			<-p.done
		}
		c.Produce(recs[160:]...)
		disk := kafkatest.NewDisk()
		cfg := build().Config(r.config("one", disk))
		cfg.InMemory = true
		r.start(cfg, disk)
		r.check()
	})
}

// counting counts the items of each key.
type counting struct{}

func (counting) Handle(c *Context[string], it Item[[]byte]) error {
	value, _, err := c.Store("n").Get(it.Key)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(value))
	text := strconv.Itoa(n + 1)
	c.Store("n").Put(it.Key, []byte(text))
	return c.Forward(Item[string]{Key: it.Key, Value: text, Time: it.Time})
}
