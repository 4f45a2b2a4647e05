package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// service is one of the two: it notes the orders of each customer, once for each idempotency key.
type service struct {
	*httptest.Server
	mu      sync.Mutex
	seen    map[string]bool
	orders  map[string][]string // by customer
	waiting int
	gate    chan struct{} // calls wait until it is closed
	refuse  string        // the order that it refuses
}

func newService(t *testing.T, gate chan struct{}, refuse string) *service {
	s := &service{seen: map[string]bool{}, orders: map[string][]string{}, gate: gate, refuse: refuse}
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.waiting++
		s.mu.Unlock()
		select {
		case <-s.gate:
		case <-req.Context().Done():
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting--
		if string(body) == s.refuse {
			rw.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		if key := req.Header.Get("Idempotency-Key"); !s.seen[key] {
			s.seen[key] = true
			customer := req.Header.Get("Customer")
			s.orders[customer] = append(s.orders[customer], string(body))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) count() (orders, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.orders {
		orders += len(list)
	}
	return orders, s.waiting
}

// TestStalledService: the mail service hangs; scores go on. Then it comes back, and everything was called
// in the order of each customer.
func TestStalledService(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Namespace()+".orders", 3, nil)
	c.CreateTopic(topic+".dead", 1, nil)
	const customers, each = 20, 10
	var recs []*kgo.Record
	want := map[string][]string{}
	for i := range customers * each {
		customer, order := fmt.Sprint("c", i%customers), fmt.Sprint("order-", i)
		recs = append(recs, &kgo.Record{Topic: topic, Key: []byte(customer), Value: []byte(order)})
		want[customer] = append(want[customer], order)
	}
	c.Produce(recs...)

	open, hangs := make(chan struct{}), make(chan struct{})
	close(open)
	mail, score := newService(t, hangs, ""), newService(t, open, "order-42")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, settings{topic: topic, mail: mail.URL, score: score.URL, client: c.GroupOpts(), log: slog.New(slog.DiscardHandler)})
	}()
	wait := func(what string, met func() bool) {
		t.Helper()
		patience, done := c.Context()
		defer done()
		for !met() {
			select {
			case <-patience.Done():
				t.Fatalf("never happened: %s", what)
			case err := <-ended:
				t.Fatalf("ended with %v before %s", err, what)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	wait("all are scored but the one that is refused", func() bool { n, _ := score.count(); return n == customers*each-1 })
	wait("one mail of each customer is under way", func() bool { _, n := mail.count(); return n == customers })
	if n, _ := mail.count(); n != 0 {
		t.Errorf("%d mails went out", n)
	}
	close(hangs)
	wait("all mails are out", func() bool { n, _ := mail.count(); return n == customers*each })
	dead := c.Consume(topic+".dead", 1)
	if string(dead[0].Value) != "order-42" {
		t.Errorf("the dead letter is %s", dead[0].Value)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for customer, orders := range want {
		if !slices.Equal(mail.orders[customer], orders) {
			t.Errorf("mails of %s: %v, want %v", customer, mail.orders[customer], orders)
		}
		orders = slices.DeleteFunc(slices.Clone(orders), func(o string) bool { return o == "order-42" })
		if !slices.Equal(score.orders[customer], orders) {
			t.Errorf("scores of %s: %v, want %v", customer, score.orders[customer], orders)
		}
	}
}
