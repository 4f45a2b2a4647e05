package bridge_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant/conformance"
)

// TestConformance: the contract of a participant, played over Kafka from outside, with a bridge that is cut
// off and started again in between, and the provider's books as witness.
func TestConformance(t *testing.T) {
	k := kafkatest.New(t)
	s := newShop(t, k)
	s.file = strings.Replace(file, "keyWindow: 1h", "keyWindow: 1h\n    settle: 200ms", 1)
	s.change = func(cfg *bridge.Config) { cfg.Drain = -1 }
	s.psp.script = func(_ http.ResponseWriter, req *http.Request, _ *provider, body map[string]any) bool {
		if body["slow"] != nil {
			select {
			case <-time.After(1500 * time.Millisecond):
			case <-req.Context().Done():
			}
		}
		return false
	}
	var stop context.CancelFunc
	var ended chan error
	start := func() {
		var ctx context.Context
		ctx, stop = context.WithCancel(context.Background())
		r := s.runner(nil)
		ended = make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
	}
	end := func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	start()
	defer func() { end() }()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	report, err := conformance.Run(ctx, conformance.Config{
		Participant: s.name, Client: k.Opts(), Do: "charge", Undo: "charge", Inquire: "charge",
		Accept: []byte(`{"amount":5}`), Refuse: []byte(`{"fail":true}`), Slow: []byte(`{"slow":true}`), Wait: 20 * time.Second,
		Restart: func(context.Context) error { end(); start(); return nil },
		Effects: func(_ context.Context, key string) (int, error) {
			s.psp.mu.Lock()
			defer s.psp.mu.Unlock()
			if _, found := s.psp.effects[key]; found {
				return 1, nil
			}
			return 0, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range report.Results {
		if one.Verdict() != "passed" {
			t.Errorf("%s: %s %v %v %s", one.Case, one.Verdict(), one.Faults, one.Notes, one.Skipped)
		}
	}
	if len(report.Results) != len(conformance.Cases()) {
		t.Errorf("%d cases were played of %d", len(report.Results), len(conformance.Cases()))
	}
}
