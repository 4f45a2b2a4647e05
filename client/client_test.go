package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestConfig(t *testing.T) {
	_, err := client.New(client.Config{Namespace: "Pay"})
	if err == nil || !strings.Contains(err.Error(), "Namespace:") || !strings.Contains(err.Error(), "Client:") {
		t.Errorf("got %v", err)
	}
	_, err = client.New(client.Config{Namespace: "pay", Client: []kgo.Opt{kgo.ProducerBatchMaxBytes(-1)}})
	if err == nil {
		t.Error("a bad client option was accepted")
	}
}

func TestBubbleClient(t *testing.T) { kafkatest.Bubble(t, send) }

func TestClient(t *testing.T) { send(t, kafkatest.New(t)) }

// TestRun: the result of this start, whatever else is on the topic.
func TestRun(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		topics, err := protocol.NewTopics(k.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		k.CreateTopic(topics.Intake, 4, nil)
		k.CreateTopic("results", 3, nil)
		c, err := client.New(client.Config{Namespace: k.Namespace(), Client: k.Opts()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := k.Context()
		defer cancel()
		result := func(wid, phase string, run uint32) *kgo.Record {
			rec := &kgo.Record{Topic: "results", Key: []byte(wid), Value: []byte(`{"run":"` + phase + `"}`)}
			for _, h := range (protocol.Result{WorkflowID: wid, Run: run, Phase: phase, Cause: "auth: OVER_LIMIT"}).Headers() {
				rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
			}
			return rec
		}
		k.Produce(result("pay/o-1", "completed", 1)) // of a run before
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Consume(topics.Intake, 1)
			k.Produce(&kgo.Record{Topic: "results", Key: []byte("pay/o-1"), Value: []byte("noise")}, result("pay/o-2", "closed", 1), result("pay/o-1", "compensated", 2))
		}()
		got, err := c.Run(ctx, client.Start{Type: "pay", ID: "o-1", ReplyTo: "results"})
		<-done
		want := client.Result{WorkflowID: "pay/o-1", Run: 2, Phase: "compensated", Cause: "auth: OVER_LIMIT", Output: []byte(`{"run":"compensated"}`)}
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := c.Run(ctx, client.Start{Type: "pay", ID: "o-1"}); err == nil || !strings.Contains(err.Error(), "ReplyTo") {
			t.Errorf("without a topic: %v", err)
		}
		if _, err := c.Run(ctx, client.Start{Type: "pay", ID: "o-1", ReplyTo: "nowhere"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("with a missing topic: %v", err)
		}
		short, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		if _, err := c.Run(short, client.Start{Type: "pay", ID: "o-3", ReplyTo: "results"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
	})
}

func send(t *testing.T, k *kafkatest.Cluster) {
	topics, err := protocol.NewTopics(k.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	k.CreateTopic(topics.Intake, 4, nil)
	k.CreateTopic(topics.Control, 4, nil)
	c, err := client.New(client.Config{Namespace: k.Namespace(), Client: k.Opts()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := k.Context()
	defer cancel()

	issued := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	order := struct {
		Total string `json:"total"`
	}{"9.50"}
	if err := c.Start(ctx, client.Start{Type: "card-payment", ID: "o-1", Input: order, Version: 2, StartID: "s", ReplyTo: "r",
		Tags: map[string]string{"k": "v"}, IssuedAt: issued, Trace: "00-x"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(ctx, client.Cancel{Type: "card-payment", ID: "o-1", RequestID: "c", Reason: "why", Actor: "ann", Void: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx, client.Start{Type: "card-payment"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Signal(ctx, client.Signal{Type: "card-payment", ID: "o-1", Name: "paid", SignalID: "s-1", Payload: order, TTL: time.Hour, Actor: "shop", IssuedAt: issued}); err != nil {
		t.Fatal(err)
	}
	if err := c.Act(ctx, client.Action{Type: "card-payment", ID: "o-1", Action: protocol.ActionSkip, Path: "auth", Operator: "ann", Reason: "why", RequestID: "q",
		ExpectRev: 7, Args: map[string]string{protocol.ArgOutput: `{"id":1}`}}); err != nil {
		t.Fatal(err)
	}
	acted := k.Consume(topics.Control, 1)[0]
	action, err := protocol.DecodeControl(acted.Key, acted.Value, nil)
	if want := (&protocol.Admin{Type: "card-payment", ID: "o-1", Action: protocol.ActionSkip, Path: "auth", Operator: "ann", Reason: "why", RequestID: "q",
		ExpectRev: 7, Args: map[string]string{"output": `{"id":1}`}}); err != nil || !cmp.Equal(action, any(want)) {
		t.Errorf("action: %+v, %v", action, err)
	}

	recs := k.Consume(topics.Intake, 4)
	var got []any
	for _, r := range recs {
		headers := make([]protocol.Header, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = protocol.Header(h)
		}
		if r.Key != nil && r.Partition != protocol.Partition(r.Key, 4) {
			t.Errorf("%s is on partition %d", r.Key, r.Partition)
		}
		v, err := protocol.DecodeIntake(r.Key, r.Value, headers)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	for _, want := range []any{
		&protocol.Start{Type: "card-payment", ID: "o-1", Version: 2, StartID: "s", ReplyTo: "r", Input: []byte(`{"total":"9.50"}`),
			Tags: map[string]string{"k": "v"}, IssuedAt: issued.UnixMilli(), Trace: "00-x"},
		&protocol.Cancel{Type: "card-payment", ID: "o-1", RequestID: "c", Reason: "why", Actor: "ann", VoidTTL: 1000},
		&protocol.Start{Type: "card-payment", Input: []byte(`{}`)},
		&protocol.Signal{Type: "card-payment", ID: "o-1", Name: "paid", SignalID: "s-1", Payload: []byte(`{"total":"9.50"}`), TTL: 3600_000, Actor: "shop", IssuedAt: issued.UnixMilli()},
	} {
		found := false
		for _, g := range got {
			found = found || cmp.Equal(g, want)
		}
		if !found {
			t.Errorf("%+v is not in the topic", want)
		}
	}

	// What the intake would refuse is not sent.
	var e *protocol.Error
	if err := c.Start(ctx, client.Start{Type: "card payment"}); !errors.As(err, &e) || e.Field != "type" {
		t.Errorf("got %v", err)
	}
	if err := c.Start(ctx, client.Start{Type: "t", Input: []int{1}}); !errors.As(err, &e) || e.Field != "input" {
		t.Errorf("got %v", err)
	}
	if err := c.Signal(ctx, client.Signal{Type: "t", ID: "x"}); !errors.As(err, &e) || e.Field != "name" {
		t.Errorf("got %v", err)
	}
	if err := c.Act(ctx, client.Action{Type: "t", ID: "x", Action: protocol.ActionRetry, Operator: "a", Reason: "r"}); !errors.As(err, &e) || e.Field != "path" {
		t.Errorf("got %v", err)
	}
	if err := c.Cancel(ctx, client.Cancel{Type: "t"}); !errors.As(err, &e) || e.Field != "id" {
		t.Errorf("got %v", err)
	}
}
