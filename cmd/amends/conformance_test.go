package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/conformance"
)

// TestConformanceCommand plays the cases against the kit from the command line: once all is well, once its business
// has forgotten how to refuse.
func TestConformanceCommand(t *testing.T) {
	emptyHome(t)
	b, err := local.StartBroker("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, "cmd.stock"); err != nil {
		t.Fatal(err)
	}
	p, err := participant.New(participant.Config{Name: "stock", Client: []kgo.Opt{kgo.SeedBrokers(b.Addr), kgo.FetchMaxWait(100 * time.Millisecond)}, Inbox: participant.NewMemory(0)})
	if err != nil {
		t.Fatal(err)
	}
	type in struct {
		Amount  int   `json:"amount"`
		SleepMs int64 `json:"sleepMs"`
	}
	participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, in in) (map[string]string, error) {
		if in.Amount > 1_000_000 {
			return nil, participant.Reject("OVER_LIMIT", "")
		}
		time.Sleep(time.Duration(in.SleepMs) * time.Millisecond)
		return map[string]string{"id": tx.Key()}, nil
	})
	participant.Undo(p, "release", func(context.Context, participant.Tx, in, participant.Forward) error { return nil })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	dir := t.TempDir()
	page, raw := filepath.Join(dir, "stock.md"), filepath.Join(dir, "stock.json")
	args := []string{"conformance", "--participant", "stock", "--brokers", b.Addr, "--inquire", "reserve"}
	code, out, talk := execute(t, append(args, "--report", page, "--report", raw, "--slow", `{"amount":5,"sleepMs":300}`)...)
	if code != exitOK || !strings.Contains(out, "stock keeps the contract: 16 cases passed, 0 failed") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "| refusal replay | 3 | passed |") {
		t.Errorf("%v: %s", err, text)
	}
	var r conformance.Report
	if text, err = os.ReadFile(raw); err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || !r.Passed || r.Version == "" || len(r.Results) != 16 {
		t.Errorf("%v: %s", err, text)
	}

	// Effects are counted and a restart is run, by commands of the shell.
	code, out, talk = execute(t, append(args, "--slow", "", "--refuse", `{"amount":1}`, "-o", "json",
		"--effects", `test -n "$SAGA_KEY" && echo 7`, "--restart", "echo restarted >"+filepath.Join(dir, "restarted"))...)
	if code != exitFindings || json.Unmarshal([]byte(out), &r) != nil || r.Passed {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if !strings.Contains(out, "stands 7 times, want 1") || !strings.Contains(out, "a do that is to be refused: got ok, want rejected") {
		t.Errorf("the faults are not named: %s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "restarted")); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{
		{"conformance"},
		{"conformance", "--participant", "stock", "--report", "a.pdf"},
		{"conformance", "--participant", "stock", "--brokers", b.Addr, "-o", "pdf"},
	} {
		if code, _, talk := execute(t, bad...); code != exitUsage {
			t.Errorf("%v: exit %d %s", bad, code, talk)
		}
	}
	if code, _, talk := execute(t, "conformance", "--participant", "nobody", "--brokers", b.Addr); code == exitOK || !strings.Contains(talk, "there is no topic cmd.nobody") {
		t.Errorf("exit %d %s", code, talk)
	}
}
