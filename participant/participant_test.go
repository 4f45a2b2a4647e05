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

type item struct {
	SKU  string `json:"sku"`
	Fail string `json:"fail,omitempty"`
}

type held struct {
	Hold string `json:"hold"`
}

// shop is a participant with its broker, its topics and what was seen of it.
type shop struct {
	t       *testing.T
	k       *kafkatest.Cluster
	name    string
	topic   string
	replies string
	inbox   participant.Inbox

	mu struct {
		sync.Mutex
		order   []string
		skipped []string
	}
}

func newShop(t *testing.T, k *kafkatest.Cluster) *shop {
	s := &shop{t: t, k: k, name: k.Name("stock"), inbox: participant.NewMemory(0)}
	s.topic = k.CreateTopic(protocol.CommandTopic(s.name), 3, nil)
	s.replies = k.CreateTopic(k.Namespace()+".saga.replies", 5, nil)
	return s
}

func (s *shop) participant() *participant.Participant {
	p, err := participant.New(participant.Config{
		Name: s.name, Client: s.k.GroupOpts(), Inbox: s.inbox, Concurrency: 4,
		Hooks: participant.Hooks{
			Skipped: func(reason, _ string, _ int32, _ int64) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.mu.skipped = append(s.mu.skipped, reason)
			},
			Answered: func(cmd protocol.Command, reply protocol.Reply, _ time.Duration) {},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, in item) (held, error) {
		s.saw(tx)
		switch in.Fail {
		case "reject":
			return held{}, participant.Reject("OUT_OF_STOCK", "none left")
		case "retry":
			return held{}, participant.Retry("LOCKED", time.Second)
		}
		return held{tx.Key()}, tx.Put(tx.Key(), []byte(in.SKU))
	})
	participant.Undo(p, "release", func(_ context.Context, tx participant.Tx, _ item, fwd participant.Forward) error {
		s.saw(tx)
		return tx.Delete(fwd.Key)
	})
	return p
}

func (s *shop) saw(tx participant.Tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.order = append(s.mu.order, tx.Command().WorkflowID+" "+tx.Key())
}

// run runs a participant until what is in the reply topic satisfies enough.
func (s *shop) run(enough func(replies []*kgo.Record) bool) []*kgo.Record {
	s.t.Helper()
	ctx, stop := s.k.Context()
	defer stop()
	p := s.participant()
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

func (s *shop) command(op protocol.Op, wid, key, fwd string) protocol.Command {
	cmd := protocol.Command{
		Token:      protocol.Token{WorkflowID: wid, Run: 1, Path: "reserve", Op: op, Round: 1, Attempt: 1}.Encode(nil),
		WorkflowID: wid, Op: op, Name: "reserve", Key: key, ForwardKey: fwd, Attempt: 1, Definition: "order@1",
		ReplyTo: s.replies, ReplyPartition: protocol.Partition([]byte(wid), 5), ContentType: protocol.ContentJSON,
	}
	if op == protocol.OpUndo {
		cmd.Name = "release"
	} else {
		cmd.Deadline = time.Now().Add(time.Hour).UnixMilli()
	}
	return cmd
}

func (s *shop) record(cmd protocol.Command, payload string) *kgo.Record {
	rec := &kgo.Record{Topic: s.topic, Key: []byte(cmd.WorkflowID), Value: []byte(payload)}
	for _, h := range cmd.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	return rec
}

func parse(t *testing.T, rec *kgo.Record) protocol.Reply {
	t.Helper()
	var hs []protocol.Header
	for _, h := range rec.Headers {
		hs = append(hs, protocol.Header(h))
	}
	r, err := protocol.ParseReply(hs)
	if err != nil {
		t.Error(err)
	}
	return r
}

func count(n int) func([]*kgo.Record) bool {
	return func(replies []*kgo.Record) bool { return len(replies) >= n }
}

// both runs a test on virtual time and on a cluster with real time.
func both(t *testing.T, fn func(t *testing.T, k *kafkatest.Cluster)) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, fn) })
	t.Run("cluster", func(t *testing.T) { fn(t, kafkatest.New(t)) })
}

func TestAnswers(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		var recs []*kgo.Record
		const n = 12
		for i := range n {
			wid := fmt.Sprintf("order/%d", i)
			do := s.command(protocol.OpDo, wid, fmt.Sprintf("do-%d", i), "")
			payload := `{"sku":"a"}`
			switch i % 3 {
			case 1:
				payload = `{"sku":"a","fail":"reject"}`
			case 2:
				payload = `{"sku":"a","fail":"retry"}`
			}
			undo := s.command(protocol.OpUndo, wid, fmt.Sprintf("undo-%d", i), do.Key)
			recs = append(recs, s.record(do, payload), s.record(undo, payload))
		}
		k.Produce(recs...)
		replies := s.run(count(2 * n))
		if len(replies) != 2*n {
			t.Fatalf("%d replies", len(replies))
		}
		for _, rec := range replies {
			reply := parse(t, rec)
			tok, err := protocol.DecodeToken(reply.Token, nil)
			if err != nil || tok.WorkflowID != string(rec.Key) || rec.Partition != protocol.Partition(rec.Key, 5) {
				t.Errorf("reply of %+v has key %s on partition %d: %v", tok, rec.Key, rec.Partition, err)
			}
			var i int
			if _, err := fmt.Sscanf(tok.WorkflowID, "order/%d", &i); err != nil {
				t.Fatal(err)
			}
			want := []protocol.Reply{
				{Outcome: protocol.OutcomeOK, Effect: protocol.EffectDone},
				{Outcome: protocol.OutcomeRejected, Effect: protocol.EffectNone, Code: "OUT_OF_STOCK", Message: "none left"},
				{Outcome: protocol.OutcomeFailedRetriable, Effect: protocol.EffectUnknown, Code: "LOCKED", RetryAfter: 1000},
			}[i%3]
			if tok.Op == protocol.OpUndo {
				want = protocol.Reply{Outcome: protocol.OutcomeOK, Effect: protocol.EffectDone, Noop: i%3 != 0}
			} else if i%3 == 0 {
				want.ContentType = protocol.ContentJSON
				if string(rec.Value) != fmt.Sprintf(`{"hold":"do-%d"}`, i) {
					t.Errorf("output %s", rec.Value)
				}
			}
			want.Token = reply.Token
			if reply != want {
				t.Errorf("%s of %s: got %+v\nwant %+v", tok.Op, tok.WorkflowID, reply, want)
			}
		}
		// Everything is committed: another process has nothing to do.
		k.Produce(s.record(s.command(protocol.OpDo, "order/last", "last", ""), `{}`))
		if replies := s.run(count(2*n + 1)); len(replies) != 2*n+1 || len(s.mu.order) != n+n/3+1 {
			t.Errorf("%d replies, %d calls of handlers", len(replies), len(s.mu.order))
		}
	})
}

func TestOrderPerKey(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		var recs []*kgo.Record
		const keys, each = 7, 20
		for i := range each {
			for w := range keys {
				recs = append(recs, s.record(s.command(protocol.OpDo, fmt.Sprintf("order/%d", w), fmt.Sprintf("%d-%02d", w, i), ""), `{}`))
			}
		}
		k.Produce(recs...)
		s.run(count(keys * each))
		next := map[string]int{}
		for _, seen := range s.mu.order {
			wid, key, _ := strings.Cut(seen, " ")
			if want := fmt.Sprintf("%s-%02d", strings.TrimPrefix(wid, "order/"), next[wid]); key != want {
				t.Fatalf("%s: got %s, want %s", wid, key, want)
			}
			next[wid]++
		}
	})
}

// A command of an aborted transaction was never sent.
func TestReadsCommittedOnly(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		ctx, cancel := k.Context()
		defer cancel()
		engine := k.Client(kgo.TransactionalID(k.Name("engine")))
		for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
			if err := engine.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := engine.ProduceSync(ctx, s.record(s.command(protocol.OpDo, "order/1", fmt.Sprintf("key-%d", i), ""), `{}`)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := engine.EndTransaction(ctx, end); err != nil {
				t.Fatal(err)
			}
		}
		s.run(count(1))
		if len(s.mu.order) != 1 || s.mu.order[0] != "order/1 key-1" {
			t.Errorf("handled %v", s.mu.order)
		}
	})
}

func TestBadRecords(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		cmd := func(key string) protocol.Command { return s.command(protocol.OpDo, "order/1", key, "") }
		noAttempt := s.record(cmd("a"), `{}`)
		for i, h := range noAttempt.Headers {
			if h.Key == protocol.HeaderAttempt {
				noAttempt.Headers[i].Value = []byte("first")
			}
		}
		unknown, noTopic, noPartition := cmd("b"), cmd("c"), cmd("d")
		unknown.Name = "teleport"
		noTopic.ReplyTo = "no-such-topic"
		noPartition.ReplyPartition = 99
		k.Produce(
			&kgo.Record{Topic: s.topic, Key: []byte("x"), Value: []byte("hello")}, // no command at all
			&kgo.Record{Topic: s.topic},
			noAttempt,
			s.record(unknown, `{}`),
			s.record(cmd("e"), `not JSON`),
			s.record(noTopic, `{}`),
			s.record(noPartition, `{}`),
			s.record(cmd("f"), `{}`),
		)
		replies := s.run(count(4))
		var codes []string
		for _, rec := range replies {
			r := parse(t, rec)
			codes = append(codes, r.Code)
			if r.Code != "" && (r.Outcome != protocol.OutcomeFailedFatal || r.Effect != protocol.EffectNone) {
				t.Errorf("got %+v", r)
			}
		}
		if got := strings.Join(codes, " "); got != "BAD_COMMAND UNKNOWN_COMMAND BAD_COMMAND " {
			t.Errorf("codes are %q", got)
		}
		skipped := map[string]int{}
		for _, reason := range s.mu.skipped {
			skipped[reason]++
		}
		if skipped[participant.SkippedBadCommand] != 2 || skipped[participant.SkippedBadReplyAddress] != 2 {
			t.Errorf("skipped %v", skipped)
		}
	})
}

// A process that dies after its inbox and before its reply: the next one answers the same.
func TestCrashBeforeReply(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		do := s.command(protocol.OpDo, "order/1", "a", "")
		p := s.participant()
		lost, err := p.Answer(t.Context(), s.inbox, do, []byte(`{}`), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		k.Produce(s.record(do, `{}`))
		replies := s.run(count(1))
		got := parse(t, replies[0])
		if got.Outcome != lost.Outcome || string(replies[0].Value) != string(lost.Output) || !got.Replayed || len(s.mu.order) != 1 {
			t.Errorf("got %+v after %d calls", got, len(s.mu.order))
		}
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := participant.New(participant.Config{Name: "Stock", Concurrency: 5000, HandlerTimeout: -1})
	for _, field := range []string{"Name:", "Client:", "Inbox:", "Concurrency:", "HandlerTimeout:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	p, err := participant.New(participant.Config{Name: "stock", Client: []kgo.Opt{kgo.SeedBrokers("localhost:1")}, Inbox: participant.NewMemory(0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("got %v", err)
	}
	fn := func(context.Context, participant.Tx, item) (held, error) { return held{}, nil }
	participant.Do(p, "reserve", fn)
	participant.Do(p, "reserve", fn)
	participant.Do(p, "", fn)
	participant.Do[item, held](p, "nothing", nil)
	err = p.Run(t.Context())
	for _, fault := range []string{"registered twice", "empty or too long", "function is nil"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s is not reported: %v", fault, err)
		}
	}
}

func TestMemoryForgets(t *testing.T) {
	m := participant.NewMemory(time.Hour)
	insert := func(key string, at time.Duration) {
		err := m.Update(t.Context(), func(s participant.Store) error {
			_, _, err := s.Insert(key, participant.Row{Status: participant.Done, At: at.Milliseconds()})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	insert("a", 0)
	insert("b", time.Hour)
	if m.Len() != 2 {
		t.Errorf("%d rows", m.Len())
	}
	insert("c", time.Hour+2*time.Minute)
	if m.Len() != 2 {
		t.Errorf("%d rows after one should be forgotten", m.Len())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.Update(t.Context(), func(participant.Store) error {
		return m.Update(ctx, func(participant.Store) error { return nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a transaction inside another one: %v", err)
	}
}
