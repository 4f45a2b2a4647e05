package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// canary stands for what must not leave: texts of the machine hold what participants said.
const canary = "canary-4111111111111111"

func attention(wid, path, reason string, at int64) *protocol.Lifecycle {
	return &protocol.Lifecycle{WorkflowID: wid, Run: 1, Seq: 1, Rev: 1, At: at, Kind: "attention", Path: path, Phase: "running", Definition: "order@1",
		Attention: []string{reason + " " + path}, Cause: canary, Detail: []protocol.KV{{Key: "reason", Value: reason}, {Key: "text", Value: canary}}}
}

func TestBookGroups(t *testing.T) {
	var b book
	for n := range 25 {
		if !b.take(attention(fmt.Sprintf("order/%d", n), fmt.Sprintf("lines[%d]/pay", n), "UNDO_FAILED", int64(100-n))) {
			t.Fatal("an attention fact was not taken")
		}
	}
	b.take(attention("order/7", "", "EXPR", 5))
	if b.take(&protocol.Lifecycle{Kind: "step-done"}) {
		t.Error("a fact that asks for nobody was taken")
	}
	got := b.close()
	if len(got) != 2 || got[0].Step != "" || got[0].Count != 1 || got[1].Step != "pay" || got[1].Count != 25 || len(got[1].Instances) != MaxSamples || got[1].First != 76 || got[1].Last != 100 {
		t.Errorf("%+v", got)
	}
	if len(b.close()) != 0 {
		t.Error("the book was not closed")
	}
}

// receiver fails as often as it is told, then notes what it gets.
type receiver struct {
	mu    sync.Mutex
	fails int
	tries []string // ids
	got   []Delivery
}

func (r *receiver) Deliver(_ context.Context, d Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries = append(r.tries, d.ID)
	if r.fails > 0 {
		r.fails--
		return errors.New("not now")
	}
	r.got = append(r.got, d)
	return nil
}

func (r *receiver) instances() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.got {
		for _, a := range d.Alerts {
			all = append(all, a.Instances...)
		}
	}
	slices.Sort(all)
	return all
}

// TestAlertsAreDelivered: what was there before is not told; what comes is told in one delivery for a
// window, again and again until it is taken; what comes while nobody runs is told after the start; and
// what was delivered without its position being committed comes again.
func TestAlertsAreDelivered(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topics, err := protocol.NewTopics(c.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		c.CreateTopic(topics.Lifecycle, 2, nil)
		write := func(ids ...string) {
			for _, id := range ids {
				value, err := protocol.AppendLifecycle(nil, attention(id, "auth", "SLOW", time.Now().UnixMilli()))
				if err != nil {
					t.Fatal(err)
				}
				c.Produce(&kgo.Record{Topic: topics.Lifecycle, Key: []byte(id), Value: value})
			}
		}
		write("order/old")
		r := &receiver{fails: 3}
		run := func() (stop func()) {
			a, err := NewAlerts(AlertConfig{Namespace: c.Namespace(), Client: c.GroupOpts(kgo.DisableClientMetrics()), Receivers: []Receiver{r}, Window: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		stop := run()
		time.Sleep(time.Minute)
		write("order/1", "order/2", "order/3")
		time.Sleep(time.Hour)
		if got := r.instances(); !slices.Equal(got, []string{"order/1", "order/2", "order/3"}) {
			t.Errorf("delivered %v", got)
		}
		if len(r.got) != 1 || len(r.tries) != 4 || r.tries[0] != r.tries[3] {
			t.Errorf("%d deliveries, tries %v", len(r.got), r.tries)
		}
		stop()
		write("order/4") // nobody runs
		stop = run()
		time.Sleep(time.Hour)
		if got := r.instances(); !slices.Contains(got, "order/4") || len(got) != 4 {
			t.Errorf("delivered %v", got)
		}
		r.mu.Lock()
		r.fails = 1 << 30
		r.mu.Unlock()
		write("order/5")
		time.Sleep(time.Minute)
		stop() // while the receiver is away
		r.mu.Lock()
		r.fails = 0
		r.mu.Unlock()
		stop = run()
		time.Sleep(time.Hour)
		stop()
		if got := r.instances(); !slices.Equal(got, []string{"order/1", "order/2", "order/3", "order/4", "order/5"}) {
			t.Errorf("delivered %v", got)
		}
		text, err := json.Marshal(r.got)
		if err != nil || strings.Contains(string(text), canary) {
			t.Errorf("a delivery holds what must not leave: %s, %v", text, err)
		}
	})
}

// TestAlertsOnKafka: a group that a real cluster has never heard of gets its positions, and its alerts.
func TestAlertsOnKafka(t *testing.T) {
	c := kafkatest.Real(t)
	topics, err := protocol.NewTopics(c.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	c.CreateTopic(topics.Lifecycle, 2, nil)
	c.CreateTopic(c.Namespace()+".saga.alerts", 1, nil)
	write := func(id string) {
		value, err := protocol.AppendLifecycle(nil, attention(id, "auth", "SLOW", time.Now().UnixMilli()))
		if err != nil {
			t.Fatal(err)
		}
		c.Produce(&kgo.Record{Topic: topics.Lifecycle, Key: []byte(id), Value: value})
	}
	write("order/old")
	r := &receiver{fails: 1}
	for n := range 2 {
		a, err := NewAlerts(AlertConfig{Namespace: c.Namespace(), Client: c.GroupOpts(), Window: time.Second,
			Receivers: []Receiver{r, NewTopic(c.Client(), c.Namespace()+".saga.alerts")}})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			cl := c.Client()
			ctx, cancel := c.Context()
			defer cancel()
			for err := a.begin(ctx, cl); err != nil; err = a.begin(ctx, cl) {
				if ctx.Err() != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond) // a new cluster has no coordinator yet
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
	}
	for n := range 4 {
		write(fmt.Sprintf("order/%d", n))
	}
	told := map[string]bool{}
	c.ConsumeUntil(c.Namespace()+".saga.alerts", func(rec *kgo.Record) bool {
		var d Delivery
		if err := json.Unmarshal(rec.Value, &d); err != nil || len(d.Alerts) != 1 || string(rec.Key) != "order@1/auth/SLOW" {
			t.Errorf("%s: %s, %v", rec.Key, rec.Value, err)
			return true
		}
		for _, id := range d.Alerts[0].Instances {
			told[id] = true
		}
		return len(told) == 4
	})
	if told["order/old"] {
		t.Errorf("told of the past: %v", told)
	}
	if got := slices.Compact(r.instances()); len(got) != 4 {
		t.Errorf("the other receiver got %v", got)
	}
}

func TestWebhook(t *testing.T) {
	status := 500
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var d Delivery
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		seen = append(seen, fmt.Sprint(r.Method, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), d.Alerts[0].Reason))
		http.Redirect(w, r, "/else", status)
	}))
	defer server.Close()
	w, err := NewWebhook(server.URL+"/secret-path", "tok")
	if err != nil {
		t.Fatal(err)
	}
	w.client.Transport = &http.Transport{DisableKeepAlives: true}
	d := Delivery{ID: "d-1", Alerts: []Alert{{Reason: "SLOW"}}}
	for _, c := range []struct {
		status int
		ok     bool
	}{{500, false}, {302, false}, {204, true}} {
		status = c.status
		if err := w.Deliver(t.Context(), d); (err == nil) != c.ok {
			t.Errorf("%d: %v", c.status, err)
		}
	}
	if len(seen) != 3 || seen[0] != "POSTBearer tokd-1application/jsonSLOW" {
		t.Errorf("seen %q", seen)
	}
	server.Close()
	if err := w.Deliver(t.Context(), d); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("without a server: %v", err)
	}
	for _, bad := range []string{"", "ftp://x/y", "elsewhere", "http://"} {
		if _, err := NewWebhook(bad, ""); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewWebhook("http://x", "a\nb"); err == nil {
		t.Error("a token of two lines was taken")
	}
}
