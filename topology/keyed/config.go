package keyed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is what a Processor needs. The zero value of every optional field is its default. New reports
// all faults together.
type Config struct {
	// Group is the consumer group. Every processor needs its own; processes of one processor share
	// it. Required.
	Group string

	// Topics are read. Required.
	Topics []string

	// Client are the options of the Kafka client: seed brokers, TLS, SASL. Required.
	Client []kgo.Opt

	// Handle does the work of one record. It is called from many goroutines at once, never for two
	// records of one key and partition. ctx ends when the partition is taken away and Drain has
	// passed: then the result no longer counts. It must be harmless when it is called again for the
	// same record. A panic counts as an error. Required.
	Handle func(ctx context.Context, rec *kgo.Record) error

	// Attempts is how often a record is tried before SetAside has it. Default 0: for ever.
	Attempts int

	// SetAside takes a record that cannot be handled: to write it to a dead-letter topic, for
	// example. An error is tried again like one of Handle. Required with Attempts.
	SetAside func(ctx context.Context, rec *kgo.Record, err error) error

	// Backoff is the first wait before a record is tried again; it doubles up to BackoffMax. Only the
	// record's key waits. Defaults 100 ms and 30 s.
	Backoff, BackoffMax time.Duration

	// Pending and PendingBytes bound the window of each partition. Defaults 1000 and 16 MiB.
	Pending      int
	PendingBytes int

	// Concurrency is the most calls of Handle at one time in this process, waits between attempts
	// not included. Default 0: no bound but the windows.
	Concurrency int

	// Commit is the interval of commits. Default 1 s.
	Commit time.Duration

	// Drain is how long a partition that is taken away, or a stop, waits for what runs. Default 10 s.
	Drain time.Duration

	// Reset is where a group without a position begins. Default: at the earliest record.
	Reset *kgo.Offset

	// Logger. Default: silent.
	Logger *slog.Logger

	// Hooks are called as things happen.
	Hooks Hooks
}

// Hooks are called from the goroutines of a Processor; every field may be nil. They return quickly.
type Hooks struct {
	// Handled: a record is done, after that many attempts.
	Handled func(rec *kgo.Record, attempts int, took time.Duration)
	// Failed: an attempt has failed.
	Failed func(rec *kgo.Record, attempt int, err error)
	// Paused: the window of a partition is full, or has room again.
	Paused func(topic string, partition int32, paused bool)
	// Unreadable: a partition cannot be fetched. It is tried again.
	Unreadable func(topic string, partition int32, err error)
	// Committed: the prefix of a partition was committed up to next.
	Committed func(topic string, partition int32, next int64)
}

// ErrPanic is what an attempt failed with when Handle panicked.
var ErrPanic = errors.New("handler panicked")

func (c Config) withDefaults() Config {
	def(&c.Backoff, 100*time.Millisecond)
	def(&c.BackoffMax, max(30*time.Second, c.Backoff))
	def(&c.Pending, 1000)
	def(&c.PendingBytes, 16<<20)
	def(&c.Commit, time.Second)
	def(&c.Drain, 10*time.Second)
	if c.Reset == nil {
		start := kgo.NewOffset().AtStart()
		c.Reset = &start
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// def sets a zero value to its default.
func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c *Config) validate() error {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.Group == "" {
		bad("Group", "is required")
	}
	if len(c.Topics) == 0 {
		bad("Topics", "at least one topic is required")
	}
	if len(c.Client) == 0 {
		bad("Client", "is required; it holds at least the seed brokers")
	}
	if c.Handle == nil {
		bad("Handle", "is required")
	}
	if c.Attempts < 0 || c.Attempts > 0 && c.SetAside == nil {
		bad("Attempts", "%d, want 0, or a positive number and SetAside", c.Attempts)
	}
	for _, n := range []struct {
		field string
		v     int
	}{{"Pending", c.Pending}, {"PendingBytes", c.PendingBytes}} {
		if n.v < 1 {
			bad(n.field, "%d, want at least 1", n.v)
		}
	}
	if c.Concurrency < 0 {
		bad("Concurrency", "%d, want 0 or more", c.Concurrency)
	}
	if c.Backoff < time.Millisecond || c.BackoffMax < c.Backoff {
		bad("Backoff", "%v up to %v, want at least 1 ms, and not falling", c.Backoff, c.BackoffMax)
	}
	if c.Commit < time.Millisecond {
		bad("Commit", "%v, want at least 1 ms", c.Commit)
	}
	if c.Drain < 0 {
		bad("Drain", "%v, want a positive duration", c.Drain)
	}
	if len(faults) > 0 {
		return fmt.Errorf("keyed config: %w", errors.Join(faults...))
	}
	return nil
}
