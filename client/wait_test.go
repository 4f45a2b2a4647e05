package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

// TestWait: the end of this instance, among the facts of others and of a run before.
func TestWait(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		topics, err := protocol.NewTopics(k.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		k.CreateTopic(topics.Lifecycle, 3, nil)
		c, err := client.New(client.Config{Namespace: k.Namespace(), Client: k.Opts()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := k.Context()
		defer cancel()
		seq := uint64(0)
		fact := func(wid, kind, cause string, run uint32) *kgo.Record {
			seq++
			value, err := protocol.AppendLifecycle(nil, &protocol.Lifecycle{WorkflowID: wid, Run: run, Seq: seq, At: time.Now().UnixMilli(), Kind: kind,
				Phase: "running", Cause: cause, Definition: "pay@1"})
			if err != nil {
				t.Fatal(err)
			}
			return &kgo.Record{Topic: topics.Lifecycle, Key: []byte(wid), Value: value, Partition: protocol.Partition([]byte(wid), 3)}
		}
		k.Produce(fact("pay/o-1", "started", "", 1), fact("pay/o-1", "completed", "", 1))
		time.Sleep(time.Hour)
		second := time.Now()
		time.Sleep(time.Minute)
		k.Produce(fact("pay/o-1", "started", "", 2), fact("pay/o-2", "closed", "", 1))
		go func() {
			time.Sleep(time.Hour)
			k.Produce(fact("pay/o-1", "compensating", "auth: OVER_LIMIT", 2), fact("pay/o-1", "compensated", "auth: OVER_LIMIT", 2))
		}()
		got, err := c.Wait(ctx, "pay", "o-1", second)
		if want := (client.Result{WorkflowID: "pay/o-1", Run: 2, Phase: "compensated", Cause: "auth: OVER_LIMIT"}); err != nil || !cmp.Equal(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		got, err = c.Wait(ctx, "pay", "o-1", time.Time{})
		if want := (client.Result{WorkflowID: "pay/o-1", Run: 1, Phase: "completed"}); err != nil || !cmp.Equal(got, want) {
			t.Errorf("from the oldest: got %+v, %v", got, err)
		}
		var kinds []string
		err = c.Follow(ctx, "pay", "o-1", time.Time{}, func(f *client.Fact) bool {
			kinds = append(kinds, f.Kind)
			return len(kinds) < 5
		})
		if want := []string{"started", "completed", "started", "compensating", "compensated"}; err != nil || !slices.Equal(kinds, want) {
			t.Errorf("got %v, %v", kinds, err)
		}
		short, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		if _, err := c.Wait(short, "pay", "o-9", time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of an instance that never was: %v", err)
		}
	})
}

// TestAPIWait: a server that is away, an instance that has not started, then its end.
func TestAPIWait(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		func(w http.ResponseWriter) { fmt.Fprint(w, `{"run":1,"phase":"running","status":"running"}`) },
		func(w http.ResponseWriter) {
			fmt.Fprint(w, `{"run":1,"phase":"completed","status":"completed","output":{"authId":"a-1"}}`)
		},
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, req.URL.EscapedPath()+" "+req.Header.Get("Authorization"))
		switch {
		case strings.Contains(req.URL.Path, "stuck"):
			fmt.Fprint(w, `{"run":1,"phase":"running","status":"attention","cause":"EXPR"}`)
		case strings.Contains(req.URL.Path, "secret"):
			w.WriteHeader(http.StatusForbidden)
		default:
			answers[min(len(asked), len(answers))-1](w)
		}
	}))
	defer srv.Close()
	a := client.API{Server: srv.URL + "/", Token: "t0ken", HTTP: srv.Client()}
	got, err := a.Wait(t.Context(), "card-payment", "a b/ü")
	want := client.Result{WorkflowID: "card-payment/a b/ü", Run: 1, Phase: "completed", Output: []byte(`{"authId":"a-1"}`)}
	if err != nil || !cmp.Equal(got, want) || asked[0] != "/api/v1/instances/card-payment/a%20b%2F%C3%BC/wait Bearer t0ken" {
		t.Errorf("got %+v, %v, asked %q", got, err, asked)
	}
	if got, err := a.Wait(t.Context(), "pay", "stuck"); !errors.Is(err, client.ErrAttention) || got.Cause != "EXPR" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := a.Wait(t.Context(), "pay", "secret"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v", err)
	}
	if _, err := (client.API{Server: "nonsense"}).Wait(t.Context(), "pay", "x"); err == nil {
		t.Error("a server without a host was asked")
	}
}

// The recipes of docs/client.md are read as the shell and kcat would, sent byte for byte, and mean what the
// calls of this package mean.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile(`(?m)^echo '([^']*)' \| kcat -P -b localhost:9092 -t pay\.saga\.intake(?: -k (\S+))?$`)
	lines := recipe.FindAllStringSubmatch(string(page), -1)
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		topics, err := protocol.NewTopics(k.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		k.CreateTopic(topics.Intake, 1, nil)
		c, err := client.New(client.Config{Namespace: k.Namespace(), Client: k.Opts()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		amount := map[string]int{"amount": 1500}
		calls := []func() error{
			func() error {
				return c.Start(ctx, client.Start{Type: "card-payment", ID: "order-1", Input: amount})
			},
			func() error {
				return c.Start(ctx, client.Start{Type: "card-payment", ID: "order-2", Input: amount, StartID: "s-2", ReplyTo: "shop.results"})
			},
			func() error {
				return c.Signal(ctx, client.Signal{Type: "trip-booking", ID: "trip-7", Name: "paid", SignalID: "p-1", Payload: map[string]string{"amount": "90.00"}, TTL: 15 * time.Minute})
			},
			func() error {
				return c.Cancel(ctx, client.Cancel{Type: "card-payment", ID: "order-1", RequestID: "c-1", Reason: "customer left", Actor: "shop"})
			},
		}
		if len(lines) != len(calls) {
			t.Fatalf("the page has %d recipes, want %d", len(lines), len(calls))
		}
		for i, line := range lines {
			// kcat: no headers, no newline, no key unless -k says one.
			rec := &kgo.Record{Topic: topics.Intake, Value: []byte(line[1])}
			if line[2] != "" {
				rec.Key = []byte(line[2])
			}
			k.Produce(rec)
			if err := calls[i](); err != nil {
				t.Fatal(err)
			}
		}
		sent := k.Consume(topics.Intake, 2*len(calls))
		for i := range calls {
			theirs, ours := sent[2*i], sent[2*i+1]
			if string(theirs.Value) != lines[i][1] || string(theirs.Key) != lines[i][2] {
				t.Errorf("recipe %d came as %s %s", i, theirs.Key, theirs.Value)
			}
			a, err := protocol.DecodeIntake(theirs.Key, theirs.Value, nil)
			if err != nil {
				t.Fatalf("recipe %d: %v", i, err)
			}
			b, err := protocol.DecodeIntake(ours.Key, ours.Value, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b, a); diff != "" {
				t.Errorf("recipe %d means something else than the call:\n%s", i, diff)
			}
		}
	})
}
