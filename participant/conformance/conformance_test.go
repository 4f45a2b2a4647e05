package conformance_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/conformance"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func config(k *kafkatest.Cluster, name string) conformance.Config {
	return conformance.Config{
		Participant: name, Client: k.Opts(), Do: "reserve", Undo: "release", Inquire: "reserve",
		Accept: []byte(`{"n":1}`), Refuse: []byte(`{"refuse":true}`), Slow: []byte(`{"slow":1000}`),
		Wait: 10 * time.Second, Ready: 20 * time.Second,
	}
}

func run(t *testing.T, cfg conformance.Config) *conformance.Report {
	t.Helper()
	report, err := conformance.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// failed are the names of the cases that failed.
func failed(r *conformance.Report) (names []string) {
	for _, one := range r.Results {
		if !one.Passed {
			names = append(names, one.Case)
		}
	}
	return names
}

// Each planted mistake fails the cases that are about it, and only those (or also those of also, as the commands
// happen to meet); counted tells whether the tool may ask the business how often an effect stands.
func TestPlantedFaults(t *testing.T) {
	k := kafkatest.New(t)
	all := []struct {
		fault   string
		counted bool
		cases   []string
		also    []string
		report  *conformance.Report
	}{
		{fault: "", counted: true},
		{fault: ""},
		{fault: "forgets refusals", cases: []string{"refusal replay", "undo of a refusal"}},
		{fault: "checks, then acts", cases: []string{"do after undo", "undo during do", "inquire"}},
		{fault: "success on a tombstone", cases: []string{"do after undo", "inquire"}, also: []string{"undo during do"}},
		{fault: "reads uncommitted", cases: []string{"aborted transaction"}},
		{fault: "echoes no partition", cases: []string{"reply address"}},
		{fault: "does the effect twice", cases: []string{"duplicate do", "duplicate do at once", "undo", "do after undo",
			"refusal replay", "duplicate after the deadline", "crash between commit and reply", "key reused", "inquire"}, also: []string{"undo during do"}},
		{fault: "undoes twice", counted: true, cases: []string{"undo"}},
		{fault: "looks at the deadline first", cases: []string{"duplicate after the deadline"}},
		{fault: "takes a key twice", cases: []string{"refusal replay", "key reused"}},
		{fault: "inquires without a tombstone", cases: []string{"inquire"}},
	}
	var lives sync.WaitGroup
	for i := range all {
		c := &all[i]
		participant := k.Name("stock-" + string(rune('a'+i)))
		d := serve(t, k, k.CreateTopic("cmd."+participant, 4, nil), c.fault)
		cfg := config(k, participant)
		if c.counted {
			cfg.Effects = d.count
		}
		lives.Go(func() { // they wait most of the time
			var err error
			if c.report, err = conformance.Run(t.Context(), cfg); err != nil {
				t.Errorf("%s: %v", c.fault, err)
			}
		})
	}
	lives.Wait()
	for _, c := range all {
		t.Run(cmp.Or(c.fault, "none"), func(t *testing.T) {
			if c.report == nil {
				t.Fatal("there is no report")
			}
			names := failed(c.report)
			missing := slices.DeleteFunc(slices.Clone(c.cases), func(s string) bool { return slices.Contains(names, s) })
			more := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return slices.Contains(c.cases, s) || slices.Contains(c.also, s) })
			if len(missing)+len(more) > 0 || c.report.Passed != (len(c.cases) == 0) {
				t.Errorf("passed %v; not noticed in %q, and noticed in %q", c.report.Passed, missing, more)
				for _, one := range c.report.Results {
					t.Logf("%s: %v %v %v", one.Case, one.Verdict(), one.Faults, one.Notes)
				}
			}
		})
	}
}

// The kit passes, with a restart in the middle.
func TestKit(t *testing.T) {
	k := kafkatest.New(t)
	name := k.Name("stock")
	k.CreateTopic("cmd."+name, 4, nil)
	inbox := participant.NewMemory(0)
	type in struct {
		Refuse bool  `json:"refuse"`
		Slow   int64 `json:"slow"`
	}
	var stop context.CancelFunc
	var ended chan error
	start := func() {
		var ctx context.Context
		ctx, stop = context.WithCancel(context.Background())
		p, err := participant.New(participant.Config{Name: name, Group: k.Name("group"), Client: k.GroupOpts(kgo.FetchMaxWait(100 * time.Millisecond)), Inbox: inbox})
		if err != nil {
			t.Fatal(err)
		}
		participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, in in) (map[string]string, error) {
			if in.Refuse {
				return nil, participant.Reject("NO", "")
			}
			time.Sleep(time.Duration(in.Slow) * time.Millisecond)
			return map[string]string{"id": tx.Key()}, tx.Put(tx.Key(), []byte("x"))
		})
		participant.Undo(p, "release", func(_ context.Context, tx participant.Tx, _ in, fwd participant.Forward) error {
			return tx.Delete(fwd.Key)
		})
		ended = make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
	}
	end := func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	start()
	defer func() { end() }()
	cfg := config(k, name)
	cfg.Restart = func(context.Context) error { end(); start(); return nil }
	cfg.Effects = func(ctx context.Context, key string) (n int, err error) {
		err = inbox.Update(ctx, func(s participant.Store) error {
			_, found, err := s.Get(key)
			if found {
				n = 1
			}
			return err
		})
		return n, err
	}
	report := run(t, cfg)
	for _, one := range report.Results {
		if one.Verdict() != "passed" || len(one.Notes) > 0 {
			t.Errorf("%s: %s %v %v %s", one.Case, one.Verdict(), one.Faults, one.Notes, one.Skipped)
		}
	}
}

func TestSilent(t *testing.T) {
	k := kafkatest.New(t)
	cfg := config(k, k.Name("stock"))
	cfg.Ready = time.Millisecond
	if _, err := conformance.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "there is no topic cmd.") {
		t.Errorf("without a topic: %v", err)
	}
	k.CreateTopic("cmd."+cfg.Participant, 1, nil)
	if _, err := conformance.Run(t.Context(), cfg); !errors.Is(err, conformance.ErrSilent) {
		t.Errorf("without a participant: %v", err)
	}
	_, err := conformance.Run(t.Context(), conformance.Config{Participant: "No Name", Accept: []byte(`[]`), Refuse: []byte(`5`), Wait: -1})
	for _, word := range []string{"participant:", "Kafka client:", "commands:", "accept:", "refuse:", "wait"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not reported: %v", word, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite testdata/report.md")

func TestReport(t *testing.T) {
	r := &conformance.Report{Participant: "stock", Topic: "cmd.stock", Version: "1.2.3", Started: time.Unix(1_800_000_000, 0).UTC(), TookMs: 12_345,
		Results: []conformance.Result{
			{Case: "duplicate do", Rules: "3", Passed: true, TookMs: 120},
			{Case: "undo during do", Rules: "2, 4", Passed: false, TookMs: 1800, Faults: []string{"the undo found nothing to undo, and then the do took effect: ok"}},
			{Case: "key reused", Rules: "10", Passed: true, Notes: []string{"the code is \"X\", usual is KEY_REUSED"}},
			{Case: "inquire", Rules: "9", Passed: true, Skipped: "no name of an inquire command was given"},
		}, Notes: []string{"The participant was not killed: nothing was said about how to restart it."}}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/report.md"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || b.String() != string(want) {
		t.Errorf("the page differs from %s (make golden): %v\n%s", file, err, b.String())
	}
	if len(conformance.Cases()) != 16 {
		t.Errorf("%d cases", len(conformance.Cases()))
	}
}
