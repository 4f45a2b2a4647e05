package participant

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Config is what a Participant needs. The zero value of every optional field is its default.
type Config struct {
	// Name of the participant, as definitions call it. Required.
	Name string

	// Client are the options of the Kafka client: seed brokers, TLS, SASL. Required. What the
	// contract fixes (read committed, acknowledgement by all, offsets by hand, the group) is set here
	// and cannot be changed.
	Client []kgo.Opt

	// Inbox remembers what was answered. Required. Processes that share a group must share it too.
	Inbox Inbox

	// Topic of the commands. Default cmd.<Name>.
	Topic string

	// Group of the consumers. Default Name.
	Group string

	// Claims brings back what commands carry by reference, and puts away what answers could not carry.
	// Default: none.
	Claims Claims

	// Concurrency is how many commands with different keys are handled at once. Default 8, at most
	// 1024.
	Concurrency int

	// HandlerTimeout is how long a handler may run; a command's deadline can shorten it. Default 30 s.
	// Keep it well under the group's rebalance timeout (60 s by default).
	HandlerTimeout time.Duration

	// Clock tells the time. Default time.Now.
	Clock func() time.Time

	// Logger. Default: silent.
	Logger *slog.Logger

	// Hooks are called as things happen.
	Hooks Hooks
}

// Hooks are callbacks for counters. Each may be nil. They are called from several goroutines.
type Hooks struct {
	// Answered: a command was answered, after took.
	Answered func(cmd protocol.Command, reply protocol.Reply, took time.Duration)
	// Skipped: a record of the command topic was passed over, because it cannot be read and there is
	// nobody to tell (BAD_COMMAND), or because Kafka refuses its reply (BAD_REPLY_ADDRESS).
	Skipped func(reason string, topic string, partition int32, offset int64)
}

// Reasons of Hooks.Skipped.
const (
	SkippedBadCommand      = "BAD_COMMAND"
	SkippedBadReplyAddress = "BAD_REPLY_ADDRESS"
)

// Participant executes the commands of one topic with the handlers that were registered.
type Participant struct {
	*Handlers
	cfg  Config
	seed maphash.Seed
}

// New checks cfg. It does not connect; Run does.
func New(cfg Config) (*Participant, error) {
	var faults []error
	if err := protocol.ValidateParticipant(cfg.Name); err != nil {
		faults = append(faults, fmt.Errorf("Name: %w", err))
	}
	if len(cfg.Client) == 0 {
		faults = append(faults, errors.New("Client: is required; it holds at least the seed brokers"))
	}
	if cfg.Inbox == nil {
		faults = append(faults, errors.New("Inbox: is required; NewMemory makes one for tests"))
	}
	if cfg.Concurrency < 0 || cfg.Concurrency > 1024 {
		faults = append(faults, fmt.Errorf("Concurrency: %d, want 1 to 1024", cfg.Concurrency))
	}
	if cfg.HandlerTimeout < 0 {
		faults = append(faults, fmt.Errorf("HandlerTimeout: %v, want a positive duration", cfg.HandlerTimeout))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("participant config: %w", errors.Join(faults...))
	}
	if cfg.Topic == "" {
		cfg.Topic = protocol.CommandTopic(cfg.Name)
	}
	if cfg.Group == "" {
		cfg.Group = cfg.Name
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 8
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := NewHandlers(cfg.Logger, cfg.HandlerTimeout)
	h.UseClaims(cfg.Claims)
	return &Participant{Handlers: h, cfg: cfg, seed: maphash.MakeSeed()}, nil
}

// metadataMinAge bounds the pause between two looks at the metadata. A reply that a broker refuses waits for the next
// look, so a restart of a broker would hold up all commands behind it for the client's default of 5 s.
const metadataMinAge = 100 * time.Millisecond

// Run executes commands until ctx ends; then it finishes the commands that are being handled, sends
// their replies, commits their offsets and returns nil. Any error it returns needs a person: the
// configuration, or rights at the brokers.
func (p *Participant) Run(ctx context.Context) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	opts := append(append([]kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(metadataMinAge)}, p.cfg.Client...),
		kgo.ConsumerGroup(p.cfg.Group),
		kgo.ConsumeTopics(p.cfg.Topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		// A partition cannot move to another process while its commands are being handled here.
		kgo.BlockRebalanceOnPoll(),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("participant %s: client: %w", p.cfg.Name, err)
	}
	defer cl.CloseAllowingRebalance()
	p.cfg.Logger.Info("participant started", "topic", p.cfg.Topic, "group", p.cfg.Group)
	for {
		fetches := cl.PollRecords(ctx, 16*p.cfg.Concurrency)
		if ctx.Err() != nil {
			p.cfg.Logger.Info("participant stopped", "topic", p.cfg.Topic)
			return nil
		}
		var fatal error
		fetches.EachError(func(topic string, partition int32, err error) {
			if isFatal(err) {
				fatal = err
			}
			p.cfg.Logger.Warn("fetch failed", "topic", topic, "partition", partition, "error", err)
		})
		if fatal == nil {
			fatal = p.batch(ctx, cl, fetches.Records())
		}
		cl.AllowRebalance()
		if fatal != nil {
			return fmt.Errorf("participant %s: %w", p.cfg.Name, fatal)
		}
	}
}

// batch handles records, waits for the acknowledgements of the replies and commits the offsets: of
// each partition as far as everything before is answered.
func (p *Participant) batch(ctx context.Context, cl *kgo.Client, recs []*kgo.Record) error {
	if len(recs) == 0 {
		return nil
	}
	lanes := make([][]int, p.cfg.Concurrency)
	for i, r := range recs {
		lane := maphash.Bytes(p.seed, r.Key) % uint64(len(lanes))
		lanes[lane] = append(lanes[lane], i)
	}
	// What has begun is finished, so handlers do not see the end of ctx: they have their own timeout.
	work := context.WithoutCancel(ctx)
	answered := make([]bool, len(recs))
	var refused refusal
	var lives sync.WaitGroup
	for _, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		lives.Go(func() {
			for _, i := range lane {
				if ctx.Err() != nil {
					return
				}
				if reply := p.handle(work, recs[i]); reply != nil {
					cl.Produce(work, reply, func(_ *kgo.Record, err error) {
						if err != nil {
							p.refused(recs[i], reply, err, &refused)
						}
					})
				}
				answered[i] = true
			}
		})
	}
	lives.Wait()
	if err := cl.Flush(work); err != nil {
		return fmt.Errorf("send replies: %w", err)
	}
	if err := refused.get(); err != nil {
		return err
	}
	if err := cl.CommitRecords(work, settled(recs, answered)...); err != nil {
		// The commands come again, here or at another process, and hear the same answers.
		p.cfg.Logger.Warn("offsets were not committed", "topic", p.cfg.Topic, "error", err)
	}
	return nil
}

// settled returns the last record of each partition before which all are answered.
func settled(recs []*kgo.Record, answered []bool) []*kgo.Record {
	last := map[int32]*kgo.Record{}
	open := map[int32]bool{}
	for i, r := range recs {
		open[r.Partition] = open[r.Partition] || !answered[i]
		if !open[r.Partition] {
			last[r.Partition] = r
		}
	}
	out := make([]*kgo.Record, 0, len(last))
	for _, r := range last {
		out = append(out, r)
	}
	return out
}

// handle executes one command and returns its reply; nil when there is nobody to reply to.
func (p *Participant) handle(ctx context.Context, rec *kgo.Record) *kgo.Record {
	began := p.cfg.Clock()
	headers := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = protocol.Header(h)
	}
	cmd, err := protocol.ParseCommand(headers)
	var a Answer
	if err != nil {
		var ok bool
		if a, ok = p.Unreadable(ctx, p.cfg.Inbox, cmd, err, began); !ok {
			p.skip(SkippedBadCommand, rec, err)
			return nil
		}
	} else if a, err = p.Answer(ctx, p.cfg.Inbox, cmd, rec.Value, began); err != nil {
		// This kit's transactions are durable when Update returns, so nothing is ever deferred.
		p.skip(SkippedBadCommand, rec, err)
		return nil
	}
	if hook := p.cfg.Hooks.Answered; hook != nil {
		hook(cmd, a.Reply, p.cfg.Clock().Sub(began))
	}
	return ReplyRecord(cmd, a)
}

// ReplyRecord is the Kafka record of an answer.
func ReplyRecord(cmd protocol.Command, a Answer) *kgo.Record {
	headers := a.Headers()
	rec := &kgo.Record{
		Topic:     cmd.ReplyTo,
		Partition: cmd.ReplyPartition,
		Key:       []byte(cmd.WorkflowID),
		Value:     a.Output,
		Headers:   make([]kgo.RecordHeader, len(headers)),
	}
	for i, h := range headers {
		rec.Headers[i] = kgo.RecordHeader(h)
	}
	return rec
}

func (p *Participant) skip(reason string, rec *kgo.Record, err error) {
	p.cfg.Logger.Error("command skipped", "reason", reason, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
	if hook := p.cfg.Hooks.Skipped; hook != nil {
		hook(reason, rec.Topic, rec.Partition, rec.Offset)
	}
}

// refused decides on a reply that was not produced. If it is this reply's own fault (a topic or a
// partition that does not exist), stopping would not help: the command is passed over, and the
// engine, hearing nothing, sends it again and gets the stored answer. Else nothing is committed.
func (p *Participant) refused(cmd, reply *kgo.Record, err error, r *refusal) {
	if isFatal(err) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) ||
		errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries) {
		r.set(fmt.Errorf("send a reply to %s: %w", reply.Topic, err))
		return
	}
	p.skip(SkippedBadReplyAddress, cmd, fmt.Errorf("reply to %s/%d: %w", reply.Topic, reply.Partition, err))
}

// refusal keeps the first error of several goroutines.
type refusal struct {
	mu struct {
		sync.Mutex
		err error
	}
}

func (r *refusal) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.err == nil {
		r.mu.err = err
	}
}

func (r *refusal) get() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.err
}

// isFatal recognises what only a person can mend.
func isFatal(err error) bool {
	for _, k := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedVersion} {
		if errors.Is(err, k) {
			return true
		}
	}
	return errors.Is(err, kgo.ErrClientClosed)
}
