package participant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

// runWith runs a participant of its own configuration until enough replies are there.
func (s *shop) runWith(change func(*participant.Config), register func(*participant.Participant), enough func([]*kgo.Record) bool) []*kgo.Record {
	s.t.Helper()
	cfg := participant.Config{Name: s.name, Client: s.k.GroupOpts(), Inbox: s.inbox, Group: s.k.Name("group")}
	change(&cfg)
	p, err := participant.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	register(p)
	ctx, stop := s.k.Context()
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var replies []*kgo.Record
	s.k.ConsumeUntil(s.replies, func(r *kgo.Record) bool {
		replies = append(replies, r)
		return enough(replies)
	})
	stop()
	if err := <-ended; err != nil {
		s.t.Errorf("run: %v", err)
	}
	return replies
}

// A handler tells its progress with a handle, the kit tells that it lives, and the answer comes last.
func TestProgress(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		k.Produce(s.record(s.command(protocol.OpDo, "order/1", "k1", ""), `{"sku":"a"}`))
		replies := s.runWith(func(c *participant.Config) { c.Heartbeat = time.Second }, func(p *participant.Participant) {
			participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, _ item) (held, error) {
				if err := tx.Progress("no object"); err == nil || errors.Is(err, participant.ErrNoProgress) {
					t.Errorf("a handle that is no object: %v", err)
				}
				if err := tx.Progress(map[string]string{"transfer": "t-1"}); err != nil {
					t.Error(err)
				}
				time.Sleep(3500 * time.Millisecond)
				return held{tx.Key()}, nil
			}, participant.External(0))
		}, func(rs []*kgo.Record) bool { return parse(t, rs[len(rs)-1]).Outcome == protocol.OutcomeOK })
		var got []string
		for _, rec := range replies {
			got = append(got, strings.TrimSpace(string(parse(t, rec).Outcome)+" "+string(rec.Value)))
		}
		if want := `progress {"transfer":"t-1"}, progress, progress, progress, ok {"hold":"k1"}`; strings.Join(got, ", ") != want {
			t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
		}
	})
}

// An undo of a call that never answered hears the handle that it has told.
func TestHandle(t *testing.T) {
	h := participant.NewHandlers(nil, time.Minute)
	told := 0
	participant.Do(h, "pay", func(_ context.Context, tx participant.Tx, _ item) (held, error) {
		if err := tx.Progress(held{"first"}); err != nil {
			t.Error(err)
		}
		if err := tx.Progress(nil); err != nil {
			t.Error(err)
		}
		if err := tx.Progress(held{"transfer-7"}); err != nil {
			t.Error(err)
		}
		return held{}, participant.Fatal("LOST", "")
	}, participant.External(0))
	var heard participant.Forward
	participant.Undo(h, "pay", func(_ context.Context, tx participant.Tx, _ item, fwd participant.Forward) error {
		heard = fwd
		if err := tx.Progress(nil); !errors.Is(err, participant.ErrNoProgress) {
			t.Errorf("an undo has no progress to tell: %v", err)
		}
		return nil
	})
	inbox, now := participant.NewMemory(0), time.UnixMilli(1_900_000_000_000)
	ctx := participant.WithProgress(t.Context(), func(context.Context, []byte) error { told++; return nil })
	do := protocol.Command{Op: protocol.OpDo, Name: "pay", Key: "k", WorkflowID: "w/1", Token: "t", ReplyTo: "r"}
	for _, want := range []bool{false, true} {
		a, err := h.Answer(ctx, inbox, do, nil, now)
		if err != nil || a.Code != "LOST" || a.Output != nil || a.Replayed != want {
			t.Errorf("got %+v, %v", a, err)
		}
	}
	undo := protocol.Command{Op: protocol.OpUndo, Name: "pay", Key: "u", ForwardKey: "k", WorkflowID: "w/1", Token: "t", ReplyTo: "r"}
	if a, err := h.Answer(ctx, inbox, undo, nil, now); err != nil || a.Outcome != protocol.OutcomeOK {
		t.Errorf("got %+v, %v", a, err)
	}
	if heard.Known || heard.Output != nil || string(heard.Handle) != `{"hold":"transfer-7"}` || told != 3 {
		t.Errorf("the undo hears %+v after %d signs", heard, told)
	}
	// Where nobody listens, the handler hears so.
	participant.Do(h, "deaf", func(_ context.Context, tx participant.Tx, _ item) (held, error) { return held{}, tx.Progress(nil) })
	deaf := protocol.Command{Op: protocol.OpDo, Name: "deaf", Key: "k2", Token: "t"}
	if a, err := h.Answer(t.Context(), inbox, deaf, nil, now); err != nil || a.Code != participant.CodeHandlerError {
		t.Errorf("got %+v, %v", a, err)
	}
}

// A command that takes long holds up its own key and nothing else, not even in its partition.
func TestSlowKeyAlone(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		const others = 200
		slow := s.record(s.command(protocol.OpDo, "order/slow", "slow-0", ""), `{}`)
		behind := s.record(s.command(protocol.OpDo, "order/slow", "slow-1", ""), `{}`)
		recs := []*kgo.Record{slow, behind}
		for i := range others {
			recs = append(recs, s.record(s.command(protocol.OpDo, fmt.Sprintf("order/%d", i), fmt.Sprintf("k-%d", i), ""), `{}`))
		}
		k.ProduceTo(0, recs...)
		var left sync.WaitGroup
		left.Add(others)
		var mu sync.Mutex
		var order []string
		replies := s.runWith(func(c *participant.Config) { c.Concurrency = 4 }, func(p *participant.Participant) {
			participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, _ item) (held, error) {
				if tx.Key() == "slow-0" {
					left.Wait() // all others are handled meanwhile
				}
				mu.Lock()
				order = append(order, tx.Key())
				mu.Unlock()
				if !strings.HasPrefix(tx.Key(), "slow") {
					left.Done()
				}
				return held{tx.Key()}, nil
			}, participant.External(0)) // between transactions: those of the memory inbox run one at a time
		}, count(others+2))
		if len(replies) != others+2 || order[others] != "slow-0" || order[others+1] != "slow-1" {
			t.Errorf("%d replies, the last ones handled are %v", len(replies), order[max(0, len(order)-2):])
		}
	})
}

// Config.Trace surrounds each command, and its context reaches the handler with the command's deadline.
func TestTraceAndDeadline(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		type key struct{}
		cmd := s.command(protocol.OpDo, "order/1", "k1", "")
		cmd.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		cmd.Deadline = time.Now().Add(10 * time.Second).UnixMilli()
		k.Produce(s.record(cmd, `{}`))
		var spans []string
		replies := s.runWith(func(c *participant.Config) {
			c.Trace = func(ctx context.Context, cmd protocol.Command) (context.Context, func(protocol.Reply)) {
				return context.WithValue(ctx, key{}, "span of "+cmd.Trace), func(r protocol.Reply) {
					spans = append(spans, cmd.Name+" "+string(r.Outcome))
				}
			}
		}, func(p *participant.Participant) {
			participant.Do(p, "reserve", func(ctx context.Context, tx participant.Tx, _ item) (held, error) {
				if got := ctx.Value(key{}); got != "span of "+cmd.Trace {
					t.Errorf("the handler's context has %v", got)
				}
				if end, ok := ctx.Deadline(); !ok || time.Until(end) > 10*time.Second {
					t.Errorf("the handler may run until %v", end)
				}
				return held{}, nil
			})
		}, count(1))
		if r := parse(t, replies[0]); r.Trace != cmd.Trace {
			t.Errorf("the reply's traceparent is %q", r.Trace)
		}
		if len(spans) != 1 || spans[0] != "reserve ok" {
			t.Errorf("spans %v", spans)
		}
	})
}
