package topology

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestProbeCompression: readers of a topic get the batches of a probe too, though its records are aborted, and one
// that knows lz4 only would fail on another codec for ever.
func TestProbeCompression(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Name("probed"), 1, nil)
		r := newRig(t, c, 1, 1)
		cfg := r.config("a", kafkatest.NewDisk()).withDefaults()
		ctx, cancel := c.Context()
		defer cancel()
		fault := laneFault{topic: topic, sample: []*kgo.Record{{Topic: topic, Partition: ByKey, Key: []byte("k"), Value: bytes.Repeat([]byte("text "), 1000)}}}
		if err := newProber(&cfg, c.Opts()).probe(ctx, fault); err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(c.Opts(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		records := cl.PollFetches(ctx).Records()
		if len(records) != 1 {
			t.Fatalf("%d records", len(records))
		}
		if codec := records[0].Attrs.CompressionType(); codec != 0 && codec != 3 { // none, as under the race detector, or lz4
			t.Errorf("the probe wrote with the codec %d", codec)
		}
	})
}
