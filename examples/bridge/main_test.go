package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// TestPayments: payments that complete and payments that are refused, while the bridge is ended now and
// then and the provider loses answers. Each authorisation takes effect once; those of refused payments
// are voided.
func TestPayments(t *testing.T) {
	t.Setenv("PSP_KEY", "s3cret")
	p := newProvider("s3cret")
	lose := 0
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		mu.Lock()
		lose++
		gone := lose%7 == 3
		mu.Unlock()
		if gone { // it acts, and its answer is lost
			p.ServeHTTP(httptest.NewRecorder(), req)
			panic(http.ErrAbortHandler)
		}
		p.ServeHTTP(rw, req)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer srv.Close()

	def := parse(t)
	timing := topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second}
	c, err := local.Start(t.Context(), local.Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 1,
		Timing: timing, Logger: slog.New(slog.DiscardHandler)}, []*sagas.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	src, err := os.ReadFile("psp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := strings.ReplaceAll(string(src), "http://127.0.0.1:8027", srv.URL)
	stop := make(chan struct{})
	var lives sync.WaitGroup
	lives.Go(func() { bridges(t, file, c.Brokers, timing, stop) })

	cl, err := client.New(client.Config{Namespace: "test", Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const payments = 30
	for i := range payments {
		rest := 80
		if i%3 == 0 {
			rest = 2000
		}
		if err := cl.Start(t.Context(), client.Start{Type: "payment", ID: fmt.Sprint("p-", i), Input: map[string]int{"deposit": 20, "rest": rest}}); err != nil {
			t.Fatal(err)
		}
	}
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range payments {
		want := "completed"
		if i%3 == 0 {
			want = "compensated"
		}
		for {
			v, err := c.View(limit, fmt.Sprint("payment/p-", i))
			if err == nil && v.Status == want {
				break
			}
			if limit.Err() != nil {
				t.Fatalf("payment %d is %v: %v %+v", i, want, err, v)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	close(stop)
	lives.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.open); n != 2*payments*2/3 {
		t.Errorf("%d authorisations are open", n)
	}
}

func parse(t *testing.T) *sagas.Definition {
	t.Helper()
	src, err := os.ReadFile("payment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	def, err := sagas.ParseDefinition("payment.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// bridges runs one bridge after another, each for a moment; the first ones are cut off.
func bridges(t *testing.T, file string, brokers []string, timing topology.Timing, stop <-chan struct{}) {
	for life := 0; ; life++ {
		b, err := bridge.Parse("psp.yaml", []byte(file))
		if err != nil {
			t.Error(err)
			return
		}
		drain := time.Duration(-1)
		if life > 3 {
			drain = 0
		}
		r, err := bridge.New(bridge.Config{Bridge: b, Client: []kgo.Opt{kgo.SeedBrokers(brokers...)}, CreateTopics: true, Tasks: 2, Drain: drain,
			Runtime: func(cfg *topology.Config) { cfg.Timing, cfg.Timing.Drain = timing, -1 }})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		wait := time.NewTimer(400 * time.Millisecond)
		if life > 3 {
			wait.Stop() // this one may end its work
		}
		over := false
		select {
		case <-wait.C:
		case <-stop:
			over = true
		case err := <-ended:
			t.Errorf("the bridge has ended: %v", err)
			cancel()
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if over {
			return
		}
	}
}
