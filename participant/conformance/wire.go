package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

const replyPartitions = 6

// asOrchestrator compresses as the orchestrator does: a client without this codec would else be noticed only later.
var asOrchestrator = kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression())

// wire sends commands and gathers replies.
type wire struct {
	cfg      Config
	run      string // names this run
	kafka    *kgo.Client
	reader   *kgo.Client
	commands int32 // partitions of the command topic
	replies  int32 // partitions of the reply topic
	own      bool  // the reply topic was made for this run
	ended    chan struct{}

	mu struct {
		sync.Mutex
		sent      int
		open      map[string]*delivery // by token
		misplaced []string             // what is wrong with where replies were sent
		strange   int                  // replies that answer nothing of ours
	}
}

// delivery is one record of the command topic and what was answered to it.
type delivery struct {
	cmd     protocol.Command
	answers chan answer
}

// answer is a reply, or what is wrong with it.
type answer struct {
	protocol.Reply
	output string
	none   string // why there is no answer
}

func (a answer) String() string {
	if a.none != "" {
		return a.none
	}
	s := strings.TrimSpace(string(a.Outcome) + " " + a.Code)
	if a.Noop {
		s += " noop"
	}
	if a.Effect != a.Outcome.DefaultEffect() {
		s += " effect " + string(a.Effect)
	}
	return s
}

func (a answer) is(outcome, code string) bool {
	return a.none == "" && string(a.Outcome) == outcome && (code == "" || a.Code == code)
}

func connect(ctx context.Context, cfg Config) (*wire, error) {
	w := &wire{cfg: cfg, run: strings.ToLower(rand.Text()[:10]), ended: make(chan struct{})}
	w.mu.open = map[string]*delivery{}
	fresh := []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond)}
	var err error
	w.kafka, err = kgo.NewClient(append(append(fresh, cfg.Client...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		asOrchestrator)...)
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(w.kafka)
	if w.commands, err = partitions(ctx, admin, cfg.Topic); err != nil {
		w.kafka.Close()
		return nil, err
	}
	if w.cfg.ReplyTopic == "" {
		w.cfg.ReplyTopic, w.own, w.replies = "conformance."+cfg.Participant+"."+w.run, true, replyPartitions
		if _, err := admin.CreateTopic(ctx, replyPartitions, -1, nil, w.cfg.ReplyTopic); err != nil {
			w.kafka.Close()
			return nil, fmt.Errorf("make the topic %s for replies: %w", w.cfg.ReplyTopic, err)
		}
	} else if w.replies, err = partitions(ctx, admin, w.cfg.ReplyTopic); err != nil {
		w.kafka.Close()
		return nil, err
	}
	w.reader, err = kgo.NewClient(append(append(fresh, cfg.Client...), kgo.ConsumeTopics(w.cfg.ReplyTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(250*time.Millisecond))...)
	if err != nil {
		w.kafka.Close()
		return nil, err
	}
	go w.read()
	return w, nil
}

func partitions(ctx context.Context, admin *kadm.Client, topic string) (int32, error) {
	// Metadata shows a topic that was just made late, and may show it without partitions first.
	for began := time.Now(); ; {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return 0, err
		}
		t := topics[topic]
		if t.Err == nil && len(t.Partitions) > 0 {
			return int32(len(t.Partitions)), nil
		}
		if time.Since(began) > 3*time.Second {
			if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
				return 0, fmt.Errorf("there is no topic %s", topic)
			}
			return 0, fmt.Errorf("topic %s: %w", topic, t.Err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (w *wire) close() {
	w.reader.Close()
	<-w.ended
	if w.own {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = kadm.NewClient(w.kafka).DeleteTopic(ctx, w.cfg.ReplyTopic) // what is left is small and has the run's name
	}
	w.kafka.Close()
}

func (w *wire) read() {
	defer close(w.ended)
	for {
		fetches := w.reader.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachRecord(w.take)
	}
}

// take files a reply under its delivery.
func (w *wire) take(rec *kgo.Record) {
	headers := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = protocol.Header(h)
	}
	reply, err := protocol.ParseReply(headers)
	w.mu.Lock()
	d := w.mu.open[reply.Token]
	if d == nil {
		w.mu.strange++
		w.mu.Unlock()
		return
	}
	wrong := func(format string, args ...any) {
		if len(w.mu.misplaced) < 5 {
			w.mu.misplaced = append(w.mu.misplaced, fmt.Sprintf(format, args...))
		}
	}
	if rec.Partition != d.cmd.ReplyPartition {
		wrong("the reply to %s %s is on partition %d, saga-reply-partition was %d", d.cmd.Op, d.cmd.Key, rec.Partition, d.cmd.ReplyPartition)
	}
	if string(rec.Key) != d.cmd.WorkflowID {
		wrong("the reply to %s %s has the key %q, saga-wid was %q", d.cmd.Op, d.cmd.Key, rec.Key, d.cmd.WorkflowID)
	}
	w.mu.Unlock()
	a := answer{Reply: reply, output: string(rec.Value)}
	if err != nil {
		a.none = "a reply that breaks the protocol: " + err.Error()
	}
	select {
	case d.answers <- a:
	default: // more answers to one delivery than anybody waits for
	}
}

// operation is a command and its attempts.
type operation struct {
	p   *played
	cmd protocol.Command
	// payload of the next attempts
	payload []byte
	// partition of the command topic, -1 for that of the key
	partition int32
}

// operation makes a command of a case; forward is the do of an undo or inquire.
func (p *played) operation(op protocol.Op, payload []byte, forward *operation) *operation {
	p.mu.Lock()
	p.mu.sent++
	n := p.mu.sent
	p.mu.Unlock()
	cmd := protocol.Command{Op: op, Key: uuid(), Attempt: 0, ReplyTo: p.cfg.ReplyTopic, Definition: "conformance@1", ContentType: protocol.ContentJSON,
		WorkflowID: fmt.Sprintf("conformance/%s-%d", p.run, n)}
	switch op {
	case protocol.OpDo:
		cmd.Name = p.cfg.Do
	case protocol.OpUndo:
		cmd.Name = p.cfg.Undo
	default:
		cmd.Name = p.cfg.Inquire
	}
	if forward != nil {
		cmd.ForwardKey, cmd.WorkflowID = forward.cmd.Key, forward.cmd.WorkflowID
	}
	cmd.ReplyPartition = p.elsewhere(cmd.WorkflowID)
	return &operation{p: p, cmd: cmd, payload: payload, partition: -1}
}

func (p *played) do(payload []byte) *operation { return p.operation(protocol.OpDo, payload, nil) }
func (p *played) undo(forward *operation) *operation {
	return p.operation(protocol.OpUndo, forward.payload, forward)
}

// elsewhere is a partition for replies to which neither of the usual partitioners would send the key.
func (w *wire) elsewhere(wid string) int32 {
	for i := range w.replies {
		n := (int32(len(wid)) + i) % w.replies
		if n != protocol.Partition([]byte(wid), w.replies) && n != int32(crc32.ChecksumIEEE([]byte(wid))%uint32(w.replies)) {
			return n
		}
	}
	return 0
}

// send delivers the next attempt.
func (o *operation) send() *delivery {
	o.cmd.Attempt++
	if o.cmd.Op != protocol.OpUndo && o.cmd.Deadline == 0 {
		o.cmd.Deadline = time.Now().Add(o.p.cfg.Wait + o.p.cfg.Ready).UnixMilli()
	}
	return o.deliver(o.p.kafka, o.cmd)
}

// deliver produces a command as it is.
func (o *operation) deliver(cl *kgo.Client, cmd protocol.Command) *delivery {
	w := o.p.wire
	w.mu.Lock()
	w.mu.sent++
	cmd.Token = protocol.Token{WorkflowID: cmd.WorkflowID, Run: 1, Path: "conformance", Op: cmd.Op, Round: 1, Attempt: uint32(w.mu.sent)}.Encode(nil)
	d := &delivery{cmd: cmd, answers: make(chan answer, 16)}
	w.mu.open[cmd.Token] = d
	w.mu.Unlock()
	rec := &kgo.Record{Topic: w.cfg.Topic, Key: []byte(cmd.WorkflowID), Value: o.payload, Partition: o.partition}
	if rec.Partition < 0 {
		rec.Partition = protocol.Partition(rec.Key, w.commands)
	}
	for _, h := range cmd.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	if err := cl.ProduceSync(o.p.ctx, rec).FirstErr(); err != nil {
		o.p.fault("a command could not be written: %v", err)
	}
	return d
}

// wait gives the next answer to a delivery.
func (o *operation) wait(d *delivery, patience time.Duration) answer {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-d.answers:
		return a
	case <-timer.C:
	case <-o.p.ctx.Done():
	}
	return answer{none: fmt.Sprintf("no answer within %v", patience.Round(time.Millisecond))}
}

// once delivers the command once and gives its answer.
func (o *operation) once() answer { return o.wait(o.send(), o.p.cfg.Wait) }

// settle waits for the answer to a delivery, and goes on as the orchestrator would while it is asked for another
// attempt.
func (o *operation) settle(d *delivery) answer {
	until := time.Now().Add(o.p.cfg.Wait)
	for {
		a := o.wait(d, max(time.Until(until), time.Second))
		if a.none != "" || a.Outcome != protocol.OutcomeFailedRetriable || time.Now().After(until) || o.p.ctx.Err() != nil {
			return a
		}
		pause := min(max(time.Duration(a.RetryAfter)*time.Millisecond, 100*time.Millisecond), time.Until(until))
		select {
		case <-time.After(pause):
		case <-o.p.ctx.Done():
			return a
		}
		d = o.send()
	}
}

func (o *operation) final() answer { return o.settle(o.send()) }

// awake waits until the participant answers at all. A consumer that begins at the end of its topic misses what was
// written before, so the command is written again and again.
func (w *wire) awake(ctx context.Context) error {
	p := &played{wire: w, ctx: ctx}
	o := p.do(w.cfg.Accept)
	for began := time.Now(); time.Since(began) < w.cfg.Ready; {
		a := o.wait(o.send(), 3*time.Second)
		if len(p.result.Faults) > 0 {
			return errors.New(p.result.Faults[0])
		}
		if a.none == "" {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%w: nothing came from %s within %v", ErrSilent, w.cfg.Topic, w.cfg.Ready)
}

// uuid is a key as the orchestrator makes them.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
