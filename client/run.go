package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Result is how an instance ended.
type Result struct {
	WorkflowID string
	Run        uint32
	Phase      string // completed, compensated or closed
	Cause      string // why it did not complete
	Output     json.RawMessage
}

// Run starts a saga and waits until it has ended, or ctx ends. ID and ReplyTo are required, and the topic
// must exist. An instance that is compensated or closed is a result, not an error.
//
// The result is sent once, when the instance ends. So Run is for the one who starts it: repeated for an
// instance that has ended already, it waits in vain. Each call reads the topic with a client of its own;
// a program that starts many sagas does better to consume the topic itself (protocol.ParseResult).
func (c *Client) Run(ctx context.Context, s Start) (Result, error) {
	wid := s.Type + "/" + s.ID
	if s.ID == "" || s.ReplyTo == "" {
		return Result{}, fmt.Errorf("run %s: ID and ReplyTo are required", wid)
	}
	consumer, err := c.from(ctx, s.ReplyTo, []byte(wid))
	if err != nil {
		return Result{}, fmt.Errorf("run %s: %w", wid, err)
	}
	defer consumer.Close()
	if err := c.Start(ctx, s); err != nil {
		return Result{}, err
	}
	for {
		fetches := consumer.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return Result{}, fmt.Errorf("run %s: %w", wid, err)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return Result{}, fmt.Errorf("run %s: read topic %s: %w", wid, s.ReplyTo, errs[0].Err)
		}
		for _, rec := range fetches.Records() {
			if string(rec.Key) != wid {
				continue
			}
			headers := make([]protocol.Header, len(rec.Headers))
			for i, h := range rec.Headers {
				headers[i] = protocol.Header(h)
			}
			// Whatever else is on the topic is not for us.
			if r, err := protocol.ParseResult(headers); err == nil && r.WorkflowID == wid {
				output := rec.Value
				if c.claims != nil {
					if output, err = c.claims.Expand(ctx, output); err != nil {
						return Result{}, fmt.Errorf("run %s: output: %w", wid, err)
					}
				}
				return Result{WorkflowID: wid, Run: r.Run, Phase: r.Phase, Cause: r.Cause, Output: output}, nil
			}
		}
	}
}

// from opens a consumer at the present end of the partition that holds the key.
func (c *Client) from(ctx context.Context, topic string, key []byte) (*kgo.Client, error) {
	ends, err := kadm.NewClient(c.kafka).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("read the end of topic %s: %w", topic, err)
	}
	partitions := int32(len(ends[topic]))
	if partitions == 0 {
		return nil, errors.New("topic " + topic + " does not exist")
	}
	at := protocol.Partition(key, partitions)
	return kgo.NewClient(append(append([]kgo.Opt(nil), c.opts...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {at: kgo.NewOffset().At(ends[topic][at].Offset)}}),
	)...)
}
