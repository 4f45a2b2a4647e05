package durable_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/durable"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

const partitions = 4

type item struct {
	Fail string `json:"fail,omitempty"`
}

type held struct {
	Count int `json:"count"` // reservations of this workflow ID so far
}

// shop is a durable participant with its broker and the world outside.
type shop struct {
	t       *testing.T
	k       *kafkatest.Cluster
	name    string
	topic   string
	replies string
	disk    *kafkatest.Disk

	mu struct {
		sync.Mutex
		charges map[string]int // calls to the payment provider, per key
		skipped map[string]int
	}
}

func newShop(t *testing.T, k *kafkatest.Cluster) *shop {
	s := &shop{t: t, k: k, name: k.Name("stock"), disk: kafkatest.NewDisk()}
	s.mu.charges, s.mu.skipped = map[string]int{}, map[string]int{}
	s.topic = k.CreateTopic(protocol.CommandTopic(s.name), partitions, nil)
	s.replies = k.CreateTopic(k.Namespace()+".saga.replies", 5, nil)
	return s
}

func (s *shop) participant(failpoint func(name string, task int32) error) *durable.Participant {
	p, err := durable.New(durable.Config{
		Name: s.name, Client: s.k.Opts(), DataDir: "/data", Create: true, Tasks: 2, Retention: 24 * time.Hour,
		Hooks: participant.Hooks{Skipped: func(reason, _ string, _ int32, _ int64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.mu.skipped[reason]++
		}},
		Runtime: func(cfg *topology.Config) {
			cfg.FS = s.disk.FS
			cfg.InstanceID = "one" // so that the group does not wait for a process that crashed
			cfg.CacheBytes = 1 << 20
			cfg.Failpoint = failpoint
			cfg.Timing.Session = 6 * time.Second
			cfg.Timing.Heartbeat = 200 * time.Millisecond
			cfg.Timing.Backoff = 10 * time.Millisecond
			if !s.k.IsReal() {
				cfg.Timing.FetchMaxWait = 10 * time.Minute
			}
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	participant.Do(p, "reserve", func(_ context.Context, tx participant.Tx, in item) (held, error) {
		list, _, err := tx.Get("list/" + tx.Command().WorkflowID)
		if err != nil {
			return held{}, err
		}
		list = append(append([]byte(nil), list...), tx.Key()+" "...)
		if err := tx.Put("list/"+tx.Command().WorkflowID, list); err != nil {
			return held{}, err
		}
		if in.Fail != "" {
			return held{}, participant.Reject(in.Fail, "")
		}
		return held{strings.Count(string(list), " ")}, nil
	})
	participant.Undo(p, "reserve", func(_ context.Context, tx participant.Tx, _ item, fwd participant.Forward) error {
		key := "list/" + tx.Command().WorkflowID
		list, _, err := tx.Get(key)
		if err != nil {
			return err
		}
		if !strings.Contains(string(list), fwd.Key+" ") {
			return fmt.Errorf("%s is not reserved", fwd.Key)
		}
		return tx.Put(key, []byte(strings.Replace(string(list), fwd.Key+" ", "", 1)))
	})
	participant.Do(p, "charge", func(_ context.Context, tx participant.Tx, _ item) (held, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.charges[tx.Key()]++
		return held{}, tx.Put("charge/"+tx.Key(), []byte("x"))
	}, participant.External(0))
	return p
}

// until runs a participant until there are n replies, and ends it. A crash that the failpoint asked
// for ends it sooner.
func (s *shop) until(n int, failpoint func(name string, task int32) error) (crashed bool) {
	s.t.Helper()
	ctx, stop := s.k.Context()
	defer stop()
	ended := make(chan error, 1)
	p := s.participant(failpoint)
	go func() {
		ended <- p.Run(ctx)
	}()
	enough := make(chan struct{})
	watch, unwatch := context.WithCancel(ctx)
	var lives sync.WaitGroup
	lives.Go(func() {
		cl := s.k.Client(kgo.ConsumeTopics(s.replies), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		for got := 0; got < n; {
			got += cl.PollFetches(watch).NumRecords()
			if watch.Err() != nil {
				return
			}
		}
		close(enough)
	})
	var err error
	select {
	case <-enough:
		stop()
		err = <-ended
	case err = <-ended:
		crashed = errors.Is(err, topology.ErrCrash)
	}
	unwatch()
	lives.Wait()
	if err != nil && !crashed {
		s.t.Fatalf("run: %v", err)
	}
	return crashed
}

func (s *shop) command(op protocol.Op, name, wid, key, fwd string) protocol.Command {
	cmd := protocol.Command{
		Token:      protocol.Token{WorkflowID: wid, Run: 1, Path: key, Op: op, Round: 1, Attempt: 1}.Encode(nil),
		WorkflowID: wid, Op: op, Name: name, Key: key, ForwardKey: fwd, Attempt: 1, Definition: "order@1",
		ReplyTo: s.replies, ReplyPartition: protocol.Partition([]byte(wid), 5), ContentType: protocol.ContentJSON,
	}
	if op != protocol.OpUndo {
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

// answers shows every committed reply as "path outcome code value", sorted.
func (s *shop) answers() string {
	s.t.Helper()
	var lines []string
	for _, rec := range s.k.ReadStable(s.replies) {
		var hs []protocol.Header
		for _, h := range rec.Headers {
			hs = append(hs, protocol.Header(h))
		}
		r, err := protocol.ParseReply(hs)
		if err != nil {
			s.t.Fatal(err)
		}
		tok, err := protocol.DecodeToken(r.Token, nil)
		if err != nil || string(rec.Key) != tok.WorkflowID || rec.Partition != protocol.Partition(rec.Key, 5) {
			s.t.Errorf("reply of %+v has key %s on partition %d: %v", tok, rec.Key, rec.Partition, err)
		}
		line := fmt.Sprintf("%s %s %s%s", tok.Path, r.Outcome, r.Code, rec.Value)
		if r.Noop {
			line += " noop"
		}
		if r.Replayed {
			line += " replayed"
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func both(t *testing.T, fn func(t *testing.T, k *kafkatest.Cluster)) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, fn) })
	t.Run("cluster", func(t *testing.T) { fn(t, kafkatest.New(t)) })
}

// story is what a participant meets: seven commands with seven answers.
func (s *shop) story() (recs []*kgo.Record, want string) {
	do1 := s.command(protocol.OpDo, "reserve", "order/1", "do1", "")
	do2 := s.command(protocol.OpDo, "reserve", "order/1", "do2", "")
	no := s.command(protocol.OpDo, "reserve", "order/1", "no", "")
	charge := s.command(protocol.OpDo, "charge", "order/2", "charge", "")
	recs = []*kgo.Record{
		s.record(do1, `{}`), s.record(do1, `{}`), s.record(no, `{"fail":"SOLD_OUT"}`),
		s.record(s.command(protocol.OpUndo, "reserve", "order/1", "undo1", "do1"), `{}`),
		s.record(do2, `{}`),
		s.record(s.command(protocol.OpUndo, "reserve", "order/3", "undo9", "do9"), `{}`),
		s.record(s.command(protocol.OpDo, "reserve", "order/3", "do9", ""), `{}`),
		s.record(charge, `{}`),
	}
	return recs, `charge ok {"count":0}
do1 ok {"count":1}
do1 ok {"count":1} replayed
do2 ok {"count":1}
do9 rejected SUPPRESSED replayed
no rejected SOLD_OUT
undo1 ok
undo9 ok  noop`
}

func TestStory(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		recs, want := s.story()
		k.Produce(recs...)
		s.until(len(recs), nil)
		if got := s.answers(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if s.mu.charges["charge"] != 1 {
			t.Errorf("charged %d times", s.mu.charges["charge"])
		}
	})
}

// One process dies at each point of its cycle; the next one has another disk or the same one. Every
// command has exactly one committed answer, the same as without a crash.
func TestCrashAnywhere(t *testing.T) {
	for i, point := range topology.Failpoints {
		if point == topology.FailLoad {
			continue // a participant's cycle has no such point
		}
		t.Run(point, func(t *testing.T) {
			both(t, func(t *testing.T, k *kafkatest.Cluster) {
				s := newShop(t, k)
				recs, want := s.story()
				k.Produce(recs...)
				crashed := s.until(len(recs), func(name string, _ int32) error {
					if name == point {
						return topology.ErrCrash
					}
					return nil
				})
				if !crashed {
					t.Error("the participant did not crash")
				}
				if i%2 == 0 {
					s.disk = kafkatest.NewDisk()
				}
				s.until(len(recs), nil)
				if got := s.answers(); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if n := s.mu.charges["charge"]; n < 1 || n > 2 {
					t.Errorf("charged %d times", n)
				}
			})
		})
	}
}

// The call is made only after "started" is committed: a process that dies after the call and before
// its answer leaves the row, and a redelivery after the deadline does not say "expired, no effect".
func TestExternalCallIsStartedFirst(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		k.Produce(s.record(s.command(protocol.OpDo, "charge", "order/2", "charge", ""), `{}`))
		crashed := s.until(1, func(name string, _ int32) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if name == topology.FailEnd && s.mu.charges["charge"] > 0 {
				return topology.ErrCrash
			}
			return nil
		})
		if !crashed || s.answers() != "" {
			t.Fatalf("crashed: %v, answers %q", crashed, s.answers())
		}
		time.Sleep(2 * time.Hour)
		s.disk = kafkatest.NewDisk()
		s.until(1, nil)
		if got := s.answers(); got != `charge ok {"count":0}` || s.mu.charges["charge"] != 2 {
			t.Errorf("got %q after %d calls", got, s.mu.charges["charge"])
		}
	})
}

func TestBadRecords(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		noTopic := s.command(protocol.OpDo, "reserve", "order/1", "lost", "")
		noTopic.ReplyTo = k.Name("nowhere")
		unknown := s.command(protocol.OpDo, "teleport", "order/1", "unknown", "")
		noAttempt := s.record(s.command(protocol.OpDo, "reserve", "order/1", "broken", ""), `{}`)
		for i, h := range noAttempt.Headers {
			if h.Key == protocol.HeaderAttempt {
				noAttempt.Headers[i].Value = []byte("first")
			}
		}
		k.Produce(
			&kgo.Record{Topic: s.topic, Key: []byte("x"), Value: []byte("hello")},
			&kgo.Record{Topic: s.topic},
			s.record(noTopic, `{}`), s.record(unknown, `{}`), noAttempt,
			s.record(s.command(protocol.OpDo, "reserve", "order/1", "fine", ""), `{}`),
		)
		s.until(3, nil)
		want := `broken failed-fatal BAD_COMMAND
fine ok {"count":1}
unknown failed-fatal UNKNOWN_COMMAND`
		if got := s.answers(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if s.mu.skipped[participant.SkippedBadCommand] < 2 || s.mu.skipped[participant.SkippedBadReplyAddress] < 1 {
			t.Errorf("skipped %v", s.mu.skipped)
		}
	})
}

// A row is forgotten when its retention ends; data stays.
func TestRetention(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		k.Produce(s.record(s.command(protocol.OpDo, "reserve", "order/1", "a", ""), `{}`))
		s.until(1, nil)
		time.Sleep(25 * time.Hour)
		k.Produce(s.record(s.command(protocol.OpDo, "reserve", "order/1", "b", ""), `{}`))
		s.until(2, nil)
		latest := map[string]bool{}
		for _, rec := range k.ReadStable(durable.ChangelogTopic(s.name)) {
			latest[string(rec.Key)] = rec.Value != nil
		}
		if latest["ia"] || !latest["ib"] || !latest["dlist/order/1"] {
			t.Errorf("the changelog holds %v", latest)
		}
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := durable.New(durable.Config{Name: "Stock", Tasks: -1, Replication: -1, Retention: -1, HandlerTimeout: -1})
	for _, field := range []string{"Name:", "Client:", "DataDir:", "Tasks:", "Replication:", "Retention:", "HandlerTimeout:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	p, err := durable.New(durable.Config{Name: "stock", Client: []kgo.Opt{kgo.SeedBrokers("localhost:1")}, DataDir: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("got %v", err)
	}
}
