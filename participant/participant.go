package participant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

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

	// Concurrency is how many commands with different keys are handled at once. One that takes long holds up its own
	// key and a place of these, nothing else. Default 8, at most 1024.
	Concurrency int

	// HandlerTimeout is how long a handler may run; a command's deadline can shorten it. Default 30 s.
	// Keep it well under the group's rebalance timeout (60 s by default).
	HandlerTimeout time.Duration

	// Heartbeat is the interval of progress replies while a do is being handled: signs of life, for steps whose
	// definition has a heartbeat. Choose a third of it. Default 0: only what handlers tell by Tx.Progress.
	Heartbeat time.Duration

	// Trace is called with each command before it is handled, and what it returns with its reply: the place to begin
	// a span under cmd.Trace (a W3C traceparent) and to end it. The context goes to the handler. Default: none.
	Trace func(ctx context.Context, cmd protocol.Command) (context.Context, func(protocol.Reply))

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
	cfg Config
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
	if cfg.Heartbeat < 0 || cfg.Heartbeat > 0 && cfg.Heartbeat < 10*time.Millisecond {
		faults = append(faults, fmt.Errorf("Heartbeat: %v, want 0 or at least 10ms", cfg.Heartbeat))
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
	return &Participant{Handlers: h, cfg: cfg}, nil
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
