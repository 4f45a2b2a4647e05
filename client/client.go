package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Config is what a Client needs.
type Config struct {
	// Namespace of the sagas, e.g. "pay". Required.
	Namespace string

	// Claims puts large fields of inputs away, and brings those of results back: package claimcheck has
	// one. Default: none.
	Claims Claims

	// Client are the options of the Kafka client: seed brokers, TLS, SASL. Required. Acknowledgement
	// by all in-sync replicas and the partitioner are set here and cannot be changed.
	Client []kgo.Opt
}

// Client writes to the intake of one namespace, and to its control topic. It is safe for concurrent
// use.
type Client struct {
	topics protocol.Topics
	kafka  *kgo.Client
	opts   []kgo.Opt
	claims Claims
}

// Claims lets large values travel by reference.
type Claims interface {
	Shrink(ctx context.Context, value []byte) ([]byte, error)
	Expand(ctx context.Context, value []byte) ([]byte, error)
}

// New checks cfg and makes the Kafka client. It does not connect; the first call does.
func New(cfg Config) (*Client, error) {
	var faults []error
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		faults = append(faults, fmt.Errorf("Namespace: %w", err))
	}
	if len(cfg.Client) == 0 {
		faults = append(faults, errors.New("Client: is required; it holds at least the seed brokers"))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("client config: %w", errors.Join(faults...))
	}
	// A record that a broker refuses waits for the next look at the metadata: the client's default is 5 s.
	cfg.Client = append([]kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond)}, cfg.Client...)
	opts := append(append([]kgo.Opt(nil), cfg.Client...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A call ends with its context even when nobody answers: what it wrote may be there, and its id tells.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	kafka, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("client config: Client: %w", err)
	}
	return &Client{topics: topics, kafka: kafka, opts: cfg.Client, claims: cfg.Claims}, nil
}

// Close ends the client. Calls that are under way fail.
func (c *Client) Close() { c.kafka.Close() }

// Start describes the saga to start.
type Start struct {
	// Type is the name of the definition. Required.
	Type string
	// ID is the id part of the workflow ID, usually a business id such as an order number. Empty: the
	// definition computes it from the input. Starting the same ID twice with the same input runs once,
	// so a Start that failed with a timeout can be repeated.
	ID string
	// Input is marshalled to a JSON object. Nil is an empty object.
	Input any
	// Version of the definition; 0 is the active one.
	Version uint32
	// StartID names this start; repeating it runs once even when the input differs.
	StartID string
	// ReplyTo is a topic for the result.
	ReplyTo string
	// Tags can be searched for.
	Tags map[string]string
	// IssuedAt defaults to the record's timestamp.
	IssuedAt time.Time
	// Trace is a W3C traceparent that the instance's trace links to.
	Trace string
}

// Cancel describes the saga to cancel.
type Cancel struct {
	Type, ID  string        // required
	RequestID string        // names this request, for duplicates and for the answer in the lifecycle
	Reason    string        //
	Actor     string        // who asked
	Void      time.Duration // how long it forbids a start that has not come; 0 = the default
}

// Signal is a message to an instance.
type Signal struct {
	Type, ID string // required
	// Name is what an await of the definition names. Required. Decisions of people are operator actions:
	// see Act.
	Name string
	// SignalID names this signal; repeating it counts once, so that a Signal that failed with a timeout can
	// be repeated. Empty: every call is a signal of its own.
	SignalID string
	// Payload is marshalled to JSON. Nil is null.
	Payload any
	// TTL is how long it waits for its start, or for somebody who consumes it. 0: the instance must have
	// started. At most 30 days.
	TTL time.Duration
	// Actor is who sends it.
	Actor string
	// IssuedAt defaults to the record's timestamp.
	IssuedAt time.Time
}

// Action is an operator's verb on an instance. Its caller needs the write right on the control topic,
// and vouches for the operator's name: check who it is before.
type Action struct {
	Type, ID  string          // required
	Action    protocol.Action // required
	Path      string          // the step, for actions on one
	Operator  string          // required
	Reason    string          // required
	RequestID string          // names this request: the same twice acts once
	ExpectRev uint64          // the revision that the operator saw; 0 = not checked
	// Args are those of docs/protocol.md. Output and payload are JSON texts.
	Args map[string]string
}

// The JSON form of docs/protocol.md.
type signalJSON struct {
	Kind     string `json:"kind"`
	Type     string `json:"type"`
	ID       string `json:"id"`
	Name     string `json:"name"`
	SignalID string `json:"signalId,omitempty"`
	Payload  any    `json:"payload,omitempty"`
	TTL      string `json:"ttl,omitempty"`
	Actor    string `json:"actor,omitempty"`
	IssuedAt string `json:"issuedAt,omitempty"`
}

type startJSON struct {
	Type     string            `json:"type"`
	ID       string            `json:"id,omitempty"`
	Version  uint32            `json:"version,omitempty"`
	StartID  string            `json:"startId,omitempty"`
	Input    any               `json:"input,omitempty"`
	ReplyTo  string            `json:"replyTo,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	IssuedAt string            `json:"issuedAt,omitempty"`
}

type cancelJSON struct {
	Kind      string `json:"kind"`
	Type      string `json:"type"`
	ID        string `json:"id"`
	RequestID string `json:"requestId,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Actor     string `json:"actor,omitempty"`
	VoidTTL   int64  `json:"voidTtlMs,omitempty"`
}

// Start asks for a new instance and returns once Kafka has the request. Whether it is accepted shows
// in the lifecycle. A request that the intake would refuse by its form fails here, with a
// *protocol.Error, and is not sent.
func (c *Client) Start(ctx context.Context, s Start) error {
	if c.claims != nil && s.Input != nil {
		input, err := json.Marshal(s.Input)
		if err == nil {
			input, err = c.claims.Shrink(ctx, input)
		}
		if err != nil {
			return fmt.Errorf("start %s/%s: input: %w", s.Type, s.ID, err)
		}
		s.Input = json.RawMessage(input)
	}
	rec := startJSON{Type: s.Type, ID: s.ID, Version: s.Version, StartID: s.StartID, Input: s.Input, ReplyTo: s.ReplyTo, Tags: s.Tags}
	if !s.IssuedAt.IsZero() {
		rec.IssuedAt = s.IssuedAt.UTC().Format(time.RFC3339Nano)
	}
	var extra []kgo.RecordHeader
	if s.Trace != "" {
		extra = append(extra, kgo.RecordHeader{Key: protocol.HeaderTraceparent, Value: []byte(s.Trace)})
	}
	return c.send(ctx, "start", s.Type, s.ID, rec, extra)
}

// Cancel asks to compensate an instance, or forbids one that has not started. It returns once Kafka
// has the request.
func (c *Client) Cancel(ctx context.Context, r Cancel) error {
	return c.send(ctx, "cancel", r.Type, r.ID, cancelJSON{Kind: "cancel", Type: r.Type, ID: r.ID, RequestID: r.RequestID,
		Reason: r.Reason, Actor: r.Actor, VoidTTL: r.Void.Milliseconds()}, nil)
}

// Signal sends a message to an instance. It returns once Kafka has it. A signal that the intake would
// refuse by its form fails here, with a *protocol.Error, and is not sent.
func (c *Client) Signal(ctx context.Context, s Signal) error {
	rec := signalJSON{Kind: "signal", Type: s.Type, ID: s.ID, Name: s.Name, SignalID: s.SignalID, Payload: s.Payload, Actor: s.Actor}
	if s.TTL != 0 {
		rec.TTL = strconv.FormatInt(s.TTL.Milliseconds(), 10) + "ms"
	}
	if !s.IssuedAt.IsZero() {
		rec.IssuedAt = s.IssuedAt.UTC().Format(time.RFC3339Nano)
	}
	return c.send(ctx, "signal", s.Type, s.ID, rec, nil)
}

// Act writes an operator action to the control topic. It returns once Kafka has it; what becomes of it
// is in the lifecycle.
func (c *Client) Act(ctx context.Context, a Action) error {
	rec := &protocol.Admin{Type: a.Type, ID: a.ID, RequestID: a.RequestID, Action: a.Action, Path: a.Path, Args: a.Args,
		Operator: a.Operator, Reason: a.Reason, ExpectRev: a.ExpectRev}
	value, err := protocol.AppendAvro(nil, rec)
	if err == nil {
		_, err = protocol.DecodeControl(nil, value, nil)
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", a.Action, a.Type, a.ID, err)
	}
	r := &kgo.Record{Topic: c.topics.Control, Key: []byte(a.Type + "/" + a.ID), Value: value,
		Headers: []kgo.RecordHeader{{Key: protocol.HeaderContentType, Value: []byte(protocol.ContentAvro)}}}
	if err := c.kafka.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("%s %s/%s: produce to %s: %w", a.Action, a.Type, a.ID, c.topics.Control, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, verb, typ, id string, rec any, extra []kgo.RecordHeader) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", verb, typ, id, err)
	}
	r := &kgo.Record{
		Topic:   c.topics.Intake,
		Value:   value,
		Headers: append(extra, kgo.RecordHeader{Key: protocol.HeaderContentType, Value: []byte(protocol.ContentJSON)}),
	}
	if id != "" {
		r.Key = []byte(typ + "/" + id)
	}
	headers := make([]protocol.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = protocol.Header(h)
	}
	if _, err := protocol.DecodeIntake(r.Key, r.Value, headers); err != nil {
		return fmt.Errorf("%s %s/%s: %w", verb, typ, id, err)
	}
	if err := c.kafka.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("%s %s/%s: produce to %s: %w", verb, typ, id, c.topics.Intake, err)
	}
	return nil
}
