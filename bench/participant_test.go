package bench

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

// answerAtOnce runs a participant that says ok, with 100 bytes, to every command on the topics. It
// keeps no inbox: it measures the engine and not itself.
func answerAtOnce(b *testing.B, c *kafkatest.Cluster, topics ...string) (stop func()) {
	cl, err := kgo.NewClient(c.Opts(
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1<<20),
	)...)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		output := []byte(`{"note":"................................................................................"}`)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				cmd, err := protocol.ParseCommand(headersOf(r))
				if err != nil {
					b.Errorf("command: %v", err)
					return
				}
				reply := protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeOK}
				out := &kgo.Record{Topic: cmd.ReplyTo, Partition: cmd.ReplyPartition, Key: r.Key, Value: output}
				for _, h := range reply.Headers() {
					out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
				}
				cl.Produce(ctx, out, func(_ *kgo.Record, err error) {
					if err != nil && ctx.Err() == nil {
						b.Errorf("reply: %v", err)
					}
				})
			})
		}
	})
	return func() {
		cancel()
		wg.Wait()
		cl.Close()
	}
}

func headersOf(r *kgo.Record) []protocol.Header {
	hs := make([]protocol.Header, len(r.Headers))
	for i, h := range r.Headers {
		hs[i] = protocol.Header{Key: h.Key, Value: h.Value}
	}
	return hs
}
