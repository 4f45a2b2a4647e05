package orchestrator

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// logClients are the Kafka clients that questions read logs with. A client of its own for each question would dial
// the brokers and learn their topics each time, which is most of what a short reading costs.
//
// A client belongs to one reading at a time. It is given back only after a reading that came to its end, and then
// has no partition and nothing buffered; any other is closed, so that no reading meets what another left.
type logClients struct {
	opts  []kgo.Opt
	slots chan struct{} // as many readings at a time

	mu     sync.Mutex
	idle   []*logClient
	opened bool // between open and close clients are kept; else each reading has its own
}

// logClient is a client that is taken.
type logClient struct {
	*kgo.Client
	of    *logClients
	parts map[string][]int32 // what it consumes
	uses  int
}

// maxUses bounds what a client remembers of topics that are gone.
const maxUses = 10_000

func newLogClients(most int, opts ...kgo.Opt) *logClients {
	return &logClients{opts: opts, slots: make(chan struct{}, most)}
}

// open says that clients are worth keeping until close.
func (p *logClients) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = true
}

// close closes what is idle. What is taken is closed when it is given back.
func (p *logClients) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.opened = nil, false
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

// take waits for a slot. The error is that of ctx, or of the configuration.
func (p *logClients) take(ctx context.Context) (*logClient, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	cl, err := kgo.NewClient(p.opts...)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return &logClient{Client: cl, of: p}, nil
}

// consume begins to read. Once per taking.
func (c *logClient) consume(from map[string]map[int32]kgo.Offset) {
	c.parts = make(map[string][]int32, len(from))
	for topic, offsets := range from {
		for partition := range offsets {
			c.parts[topic] = append(c.parts[topic], partition)
		}
	}
	c.ResumeFetchPartitions(c.parts) // an earlier reading has paused those that it was through with
	c.AddConsumePartitions(from)
}

// release gives the client back. clean: the reading came to its end.
func (c *logClient) release(clean bool) {
	defer func() { <-c.of.slots }()
	c.uses++
	if clean && c.uses < maxUses {
		c.RemoveConsumePartitions(c.parts) // drops what is buffered as well
		c.parts = nil
		c.of.mu.Lock()
		if c.of.opened {
			c.of.idle = append(c.of.idle, c)
			c.of.mu.Unlock()
			return
		}
		c.of.mu.Unlock()
	}
	c.Close()
}

// lend takes a client that reads one part of a topic, for package explain.
func (p *logClients) lend(ctx context.Context, topic string, partition int32, from int64) (*kgo.Client, func(clean bool), error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	c.consume(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}})
	return c.Client, c.release, nil
}
