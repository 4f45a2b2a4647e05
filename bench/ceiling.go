package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Ceiling is what a person would write by hand for the transfer alone, and as fast as this client and
// broker go: a consumer, a map in memory, two transactional producers per lane used in turn, one
// transaction per batch with a progress record. It has no store, no restore, no timers, no checks, no
// other saga, and loses everything when it stops: the limit of what an engine on Kafka can reach, and
// no target. The records that it reads and writes are those that the engine reads and writes, except
// that it publishes only the last fact of a saga and no state.
type Ceiling struct {
	Topics     protocol.Topics
	Namespace  string // of the command topics
	Partitions int32  // of the input topics
	Lanes      int32  // each has the partitions p with p % Lanes == lane, and two producers
	// Gather is how long a batch waits for more records once it has one.
	Gather time.Duration
}

// lane is one goroutine with its partitions and its two transactional clients.
type lane struct {
	c     *Ceiling
	id    int32
	in    chan []*kgo.Record
	turns [2]*kgo.Client
	state map[string]int // steps done, by workflow ID; negative while compensating
	at    map[changelogInput]int64
	out   []*kgo.Record
	count uint64
}

type changelogInput struct {
	topic     string
	partition int32
}

// Run works until ctx ends. It reads from the ends of the input topics: what is there before is not its.
func (c *Ceiling) Run(ctx context.Context, opts []kgo.Opt, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consumed := map[string]map[int32]kgo.Offset{}
	for _, topic := range []string{c.Topics.Intake, c.Topics.Replies} {
		consumed[topic] = map[int32]kgo.Offset{}
		for p := range c.Partitions {
			consumed[topic][p] = kgo.NewOffset().AtEnd()
		}
	}
	consumer, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumePartitions(consumed),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(8<<20),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return err
	}
	defer consumer.Close()

	lanes := make([]*lane, c.Lanes)
	var working sync.WaitGroup
	defer working.Wait()
	for i := range lanes {
		l := &lane{c: c, id: int32(i), in: make(chan []*kgo.Record, 64), state: map[string]int{}, at: map[changelogInput]int64{}}
		for t := range l.turns {
			cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
				kgo.TransactionalID(fmt.Sprintf("%sceiling-%d-%d", protocol.App(c.Namespace), i, t)),
				kgo.TransactionTimeout(10*time.Second),
				kgo.ConcurrentTransactionsBackoff(time.Millisecond),
				kgo.ProducerLinger(0),
				kgo.MaxBufferedRecords(1<<20),
				kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
				kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.DisableClientMetrics(),
			)...)
			if err != nil {
				return err
			}
			defer cl.Close()
			if _, _, err := cl.ProducerID(ctx); err != nil {
				return err
			}
			l.turns[t] = cl
		}
		lanes[i] = l
		working.Go(func() {
			if err := l.work(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("lane %d: %w", l.id, err))
			}
		})
	}
	// The consumer must have found the ends before anybody writes.
	poll, stop := context.WithTimeout(ctx, 2*time.Second)
	c.route(ctx, consumer.PollFetches(poll), lanes)
	stop()
	ready()
	for ctx.Err() == nil {
		c.route(ctx, consumer.PollFetches(ctx), lanes)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (c *Ceiling) route(ctx context.Context, fetches kgo.Fetches, lanes []*lane) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		select {
		case lanes[p.Partition%c.Lanes].in <- p.Records:
		case <-ctx.Done():
		}
	})
}

// work is the loop: gather, advance, commit.
func (l *lane) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case records := <-l.in:
			l.take(records)
		}
		if l.c.Gather > 0 {
			wait := time.NewTimer(l.c.Gather)
			for waiting := true; waiting; {
				select {
				case records := <-l.in:
					l.take(records)
				case <-wait.C:
					waiting = false
				case <-ctx.Done():
					return nil
				}
			}
		}
		for more := true; more; {
			select {
			case records := <-l.in:
				l.take(records)
			default:
				more = false
			}
		}
		if err := l.commit(ctx); err != nil {
			return err
		}
	}
}

// commit sends what the batch made, and a progress record, in one transaction of the next client.
func (l *lane) commit(ctx context.Context) error {
	cl := l.turns[l.count%2]
	l.count++
	progress := changelog.Progress{Time: time.Now().UnixMilli(), Owner: "ceiling", Commit: l.count}
	for in, next := range l.at {
		progress.Inputs = append(progress.Inputs, changelog.InputPosition{Topic: in.topic, Partition: in.partition, Next: next})
	}
	l.out = append(l.out, &kgo.Record{Topic: l.c.Topics.State, Partition: l.id, Key: []byte(changelog.ProgressKey), Value: progress.Append(nil)})
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	var failed error
	var mu sync.Mutex
	for _, rec := range l.out {
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return failed
	}
	clear(l.out)
	l.out = l.out[:0]
	return cl.EndTransaction(ctx, kgo.TryCommit)
}

func (l *lane) take(records []*kgo.Record) {
	for _, r := range records {
		l.at[changelogInput{r.Topic, r.Partition}] = r.Offset + 1
		wid := string(r.Key)
		if r.Topic == l.c.Topics.Intake {
			l.state[wid] = 0
			l.command(wid, r.Value)
			continue
		}
		refused := false
		for i := range r.Headers {
			if r.Headers[i].Key == protocol.HeaderOutcome {
				refused = string(r.Headers[i].Value) != string(protocol.OutcomeOK)
			}
		}
		done, known := l.state[wid]
		if !known {
			continue // of a run before
		}
		if refused {
			done = -done
		} else {
			done++
		}
		l.state[wid] = done
		switch {
		case refused || done < 0:
			l.undo(wid, -done)
		case done == 0:
			l.end(wid, sagas.KindCompensated)
		case done == len(transferSteps):
			l.end(wid, sagas.KindCompleted)
		default:
			l.command(wid, nil)
		}
	}
}

// transferSteps are the calls of the transfer.
var transferSteps = [3]struct{ participant, do, undo, path string }{
	{"bank", "debit", "refund", "debit"}, {"bank", "credit", "reclaim", "credit"}, {"mail", "send", "", "notify"},
}

// command sends the next call. The input is in the start only, and a loop without a store would have to
// keep it: what later calls need of it goes into the map as one bit, whether the call is to be refused.
func (l *lane) command(wid string, start []byte) {
	step := l.state[wid]
	s := transferSteps[step]
	to := accepts
	if start != nil && bytes.Contains(start, []byte(refuses)) {
		l.state[wid+"!"] = 1
	}
	if l.state[wid+"!"] == 1 && step == len(transferSteps)-1 {
		to = refuses
	}
	l.send(wid, s.participant, protocol.OpDo, s.do, s.path, fmt.Appendf(nil, `{"account":%q,"amount":1500}`, to))
}

func (l *lane) undo(wid string, step int) {
	s := transferSteps[step-1]
	l.send(wid, s.participant, protocol.OpUndo, s.undo, s.path, []byte("{}"))
}

func (l *lane) send(wid, participant string, op protocol.Op, name, path string, payload []byte) {
	token := protocol.Token{WorkflowID: wid, Run: 1, Path: path, Op: op, Attempt: 1}
	partition := protocol.Partition([]byte(wid), l.c.Partitions)
	cmd := protocol.Command{
		Token: token.Encode(nil), WorkflowID: wid, Op: op, Name: name, Key: "5fda26b1-5f8c-454a-a698-b9f2f2b7b95b", Attempt: 1,
		ReplyTo: l.c.Topics.Replies, ReplyPartition: partition, Definition: "transfer@1", ContentType: protocol.ContentJSON,
	}
	if op == protocol.OpUndo {
		cmd.ForwardKey = "5fda26b1-5f8c-454a-a698-b9f2f2b7b95b"
	} else {
		cmd.Deadline = time.Now().UnixMilli() + 60_000
	}
	hs := cmd.Headers()
	rec := &kgo.Record{Topic: protocol.CommandTopic(l.c.Namespace + "-" + participant), Partition: partition, Key: []byte(wid), Value: payload}
	rec.Headers = make([]kgo.RecordHeader, len(hs))
	for i := range hs {
		rec.Headers[i] = kgo.RecordHeader(hs[i])
	}
	l.out = append(l.out, rec)
}

func (l *lane) end(wid string, kind sagas.Kind) {
	delete(l.state, wid)
	delete(l.state, wid+"!")
	l.out = append(l.out, &kgo.Record{
		Topic: l.c.Topics.Lifecycle, Partition: protocol.Partition([]byte(wid), l.c.Partitions), Key: []byte(wid),
		Value: []byte(`{"kind":"` + string(kind) + `"}`),
		Headers: []kgo.RecordHeader{
			{Key: protocol.HeaderKind, Value: []byte(kind)},
			{Key: protocol.HeaderSeq, Value: strconv.AppendUint(nil, 9, 10)},
		},
	})
}
