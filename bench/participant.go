package bench

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Participant answers every command at once, with 100 bytes: ok, or rejected when the payload says
// that it is to be refused. It keeps no inbox: it measures the engine and not itself.
type Participant struct {
	client *kgo.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// reply is the output of every ok; the fields are those that card-payment keeps.
var reply = []byte(`{"authId":"a-1","captureId":"c-1","reservationId":"r-1","note":"....................................."}`)

// NewParticipant serves the command topics from their ends.
func NewParticipant(opts []kgo.Opt, topics []string) (*Participant, error) {
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1<<20),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Participant{client: cl, cancel: cancel}
	p.ended.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { p.answer(ctx, r) })
		}
	})
	return p, nil
}

func (p *Participant) answer(ctx context.Context, r *kgo.Record) {
	cmd, err := protocol.ParseCommand(headersOf(r))
	if err != nil {
		p.fail(fmt.Errorf("command on %s: %w", r.Topic, err))
		return
	}
	said := protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeOK}
	value := reply
	if cmd.Op == protocol.OpDo && bytes.Contains(r.Value, []byte(refuses)) {
		// Only the last call of a workload is refused: the others do not get the word, or it is undone.
		if cmd.Name == "send" || cmd.Name == "confirm" || cmd.Name == "take" || cmd.Name == "authorise" {
			said.Outcome, said.Code, value = protocol.OutcomeRejected, "REFUSED", nil
		}
	}
	out := &kgo.Record{Topic: cmd.ReplyTo, Partition: cmd.ReplyPartition, Key: r.Key, Value: value}
	for _, h := range said.Headers() {
		out.Headers = append(out.Headers, kgo.RecordHeader(h))
	}
	p.client.Produce(ctx, out, func(_ *kgo.Record, err error) {
		if err != nil && ctx.Err() == nil {
			p.fail(fmt.Errorf("reply: %w", err))
		}
	})
}

func (p *Participant) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// Close ends the participant and returns the first error that it met.
func (p *Participant) Close() error {
	p.cancel()
	p.ended.Wait()
	p.client.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func headersOf(r *kgo.Record) []protocol.Header {
	hs := make([]protocol.Header, len(r.Headers))
	for i, h := range r.Headers {
		hs[i] = protocol.Header(h)
	}
	return hs
}
