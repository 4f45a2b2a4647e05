package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Fact is one record of the lifecycle topic.
type Fact = protocol.Lifecycle

// Follow reads the facts of one instance from since on (the zero time is from the oldest that the topic
// has) and gives each to fn, in order, until fn returns false or ctx ends. It returns nil when fn has
// seen enough. Facts of committed transactions only.
func (c *Client) Follow(ctx context.Context, typ, id string, since time.Time, fn func(*Fact) bool) error {
	wid := typ + "/" + id
	consumer, err := c.since(ctx, c.topics.Lifecycle, []byte(wid), since)
	if err != nil {
		return fmt.Errorf("follow %s: %w", wid, err)
	}
	defer consumer.Close()
	for {
		fetches := consumer.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("follow %s: %w", wid, err)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("follow %s: read topic %s: %w", wid, c.topics.Lifecycle, errs[0].Err)
		}
		for _, rec := range fetches.Records() {
			if string(rec.Key) != wid {
				continue
			}
			fact, err := protocol.DecodeLifecycle(rec.Value)
			if err != nil {
				return fmt.Errorf("follow %s: %s/%d@%d: %w", wid, rec.Topic, rec.Partition, rec.Offset, err)
			}
			if !fn(fact) {
				return nil
			}
		}
	}
}

// Wait waits until an instance has ended, by the lifecycle topic: from anywhere, for any instance, also one
// that has ended since. It has no output, which is not in the facts: Run and API.Wait have. Of an
// instance with several runs it is the first end after since.
func (c *Client) Wait(ctx context.Context, typ, id string, since time.Time) (Result, error) {
	res := Result{WorkflowID: typ + "/" + id}
	err := c.Follow(ctx, typ, id, since, func(f *Fact) bool {
		if f.Kind != "completed" && f.Kind != "compensated" && f.Kind != "closed" {
			return true
		}
		res.Run, res.Phase, res.Cause = f.Run, f.Kind, f.Cause
		return false
	})
	if err != nil {
		return Result{}, err
	}
	return res, nil
}

// since opens a consumer on the partition of a key, at a time.
func (c *Client) since(ctx context.Context, topic string, key []byte, at time.Time) (*kgo.Client, error) {
	adm := kadm.NewClient(c.kafka)
	var offsets kadm.ListedOffsets
	var err error
	if at.IsZero() {
		offsets, err = adm.ListStartOffsets(ctx, topic)
	} else {
		offsets, err = adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
	}
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("read the offsets of topic %s: %w", topic, err)
	}
	partitions := int32(len(offsets[topic]))
	if partitions == 0 {
		return nil, errors.New("topic " + topic + " does not exist")
	}
	p := protocol.Partition(key, partitions)
	return kgo.NewClient(append(append([]kgo.Opt(nil), c.opts...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(offsets[topic][p].Offset)}}),
	)...)
}

// API asks the HTTP interface of any process, for programs without a way to Kafka. It is safe for
// concurrent use.
type API struct {
	// Server is the base URL of any process, such as http://127.0.0.1:8480. Required.
	Server string
	// Token is sent as a bearer token. Default: none.
	Token string
	// HTTP makes the requests. Default http.DefaultClient.
	HTTP *http.Client
}

// ErrAttention is returned by API.Wait for an instance that does not go on without a person.
var ErrAttention = errors.New("the instance needs a person")

const (
	apiPatience = 30 * time.Second // of one question
	apiPause    = 500 * time.Millisecond
	maxAnswer   = 8 << 20
)

// Wait waits until an instance has ended, with its output. An instance that has not started yet is waited
// for too, and so is a server that is away for a moment. ErrAttention comes with what is known.
func (a API) Wait(ctx context.Context, typ, id string) (Result, error) {
	wid := typ + "/" + id
	base, err := url.Parse(a.Server)
	if err != nil || base.Host == "" {
		return Result{}, fmt.Errorf("wait for %s: Server %q is not a URL", wid, a.Server)
	}
	at := base.JoinPath("api", "v1", "instances", url.PathEscape(typ), url.PathEscape(id), "wait")
	at.RawQuery = "timeout=" + apiPatience.String()
	for {
		var view struct {
			Run    uint32          `json:"run"`
			Phase  string          `json:"phase"`
			Status string          `json:"status"`
			Cause  string          `json:"cause"`
			Output json.RawMessage `json:"output"`
		}
		again, err := a.get(ctx, at.String(), &view)
		switch {
		case ctx.Err() != nil:
			return Result{}, fmt.Errorf("wait for %s: %w", wid, ctx.Err())
		case err != nil && !again:
			return Result{}, fmt.Errorf("wait for %s: %w", wid, err)
		case err == nil:
			res := Result{WorkflowID: wid, Run: view.Run, Phase: view.Phase, Cause: view.Cause, Output: view.Output}
			switch view.Status {
			case "completed", "compensated", "closed":
				return res, nil
			case "attention":
				return res, fmt.Errorf("wait for %s: %w", wid, ErrAttention)
			}
			continue
		}
		timer := time.NewTimer(apiPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Result{}, fmt.Errorf("wait for %s: %w", wid, ctx.Err())
		}
	}
}

// get asks once. again says that the same question may have an answer later.
func (a API) get(ctx context.Context, at string, into any) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return false, err
	}
	if a.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.Token)
	}
	cl := a.HTTP
	if cl == nil {
		cl = http.DefaultClient
	}
	resp, err := cl.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return true, err
	case len(body) > maxAnswer:
		return false, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	case resp.StatusCode == http.StatusOK:
		return false, json.Unmarshal(body, into)
	}
	err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body[:min(len(body), 500)])))
	return resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500, err
}
