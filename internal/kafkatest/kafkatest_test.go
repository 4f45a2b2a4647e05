package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) { Main(m) }

// TestBubbleTransactions consumes, processes and produces in transactions
// inside a bubble, then sees an aborted transaction stay unseen.
func TestBubbleTransactions(t *testing.T) { Bubble(t, transactions) }

// TestTransactions is the same on loopback, or on the real cluster.
func TestTransactions(t *testing.T) { transactions(t, New(t)) }

func transactions(t *testing.T, c *Cluster) {
	in := c.CreateTopic(c.Namespace()+".in", 2, nil)
	out := c.CreateTopic(c.Namespace()+".out", 2, nil)
	const n = 20
	for i := range n {
		c.Produce(&kgo.Record{Topic: in, Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")})
	}

	s, err := kgo.NewGroupTransactSession(c.GroupOpts(
		kgo.ConsumerGroup(c.Namespace()+".group"),
		kgo.ConsumeTopics(in),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.TransactionalID(c.Namespace()+".txn"),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := c.Context()
	defer cancel()
	for done := 0; done < n; {
		fs := s.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Topic: out, Key: r.Key, Value: append(r.Value, '!')}, nil)
			done++
		})
		if ok, err := s.End(ctx, kgo.TryCommit); err != nil || !ok {
			t.Fatalf("commit: committed=%v err=%v", ok, err)
		}
	}
	if got := len(c.ReadAll(out)); got != n {
		t.Fatalf("read_committed sees %d records, want %d", got, n)
	}

	cl := c.Client(kgo.TransactionalID(c.Namespace() + ".other"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: out, Key: []byte("k0"), Value: []byte("never")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := len(c.ReadStable(out)); got != n {
		t.Fatalf("read_committed sees %d records while a transaction is open, want %d", got, n)
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if got := len(c.ReadAll(out)); got != n {
		t.Fatalf("read_committed sees %d records after the abort, want %d", got, n)
	}
	plain, control := 0, 0
	for _, r := range c.ReadUncommitted(out) {
		if r.Attrs.IsControl() {
			control++
		} else {
			plain++
		}
	}
	if plain != n+1 || control == 0 {
		t.Fatalf("read_uncommitted sees %d records and %d markers, want %d and some", plain, control, n+1)
	}
	if got := len(c.Consume(out, n)); got != n {
		t.Fatalf("consumed %d records, want %d", got, n)
	}
}

// TestBubbleWeek lets a virtual week pass over a group member that does
// nothing but stay in its group, and then still gets a record to it.
func TestBubbleWeek(t *testing.T) {
	Bubble(t, func(t *testing.T, c *Cluster) {
		topic := c.CreateTopic(c.Namespace()+".quiet", 1, nil)
		cl := c.groupMember(t, topic)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 7*24*time.Hour)
		defer cancel()
		if err := cl.PollFetches(ctx).Err0(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a week of silence ends with %v, want the deadline", err)
		}
		if passed := time.Since(began); passed < 7*24*time.Hour {
			t.Fatalf("only %v of virtual time passed", passed)
		}
		c.Produce(&kgo.Record{Topic: topic, Value: []byte("after a week")})
		if fs := cl.PollFetches(t.Context()); fs.NumRecords() != 1 {
			t.Fatalf("got %d records after the week, want 1 (%v)", fs.NumRecords(), fs.Err())
		}
	})
}

func (c *Cluster) groupMember(t *testing.T, topic string) *kgo.Client {
	cl, err := kgo.NewClient(c.GroupOpts(kgo.ConsumerGroup(c.Namespace()+".group"), kgo.ConsumeTopics(topic))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestProduceTo puts a record on a partition that its key does not hash to.
func TestProduceTo(t *testing.T) {
	c := New(t)
	topic := c.CreateTopic(c.Namespace()+".parts", 4, nil)
	for p := range int32(4) {
		c.ProduceTo(p, &kgo.Record{Topic: topic, Key: []byte("same")})
	}
	for i, r := range c.ReadAll(topic) {
		if int(r.Partition) != i {
			t.Fatalf("record %d is on partition %d", i, r.Partition)
		}
	}
}

// TestDiskCrash cuts the power under a store: what was synced is there, and
// with 100 percent kept everything is.
func TestDiskCrash(t *testing.T) {
	disk := NewDisk()
	db, err := pebble.Open("store", &pebble.Options{FS: disk.FS, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Set([]byte("synced"), []byte("1"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("unsynced"), []byte("1"), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	for _, percent := range []int{0, 50, 100} {
		after, err := pebble.Open("store", &pebble.Options{FS: disk.Crash(percent, 1).FS, Logger: quiet{}})
		if err != nil {
			t.Fatalf("open after a power cut that keeps %d %%: %v", percent, err)
		}
		if _, closer, err := after.Get([]byte("synced")); err != nil {
			t.Errorf("%d %%: the synced key is gone: %v", percent, err)
		} else {
			closer.Close()
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
}

// quiet keeps the store's replay messages out of the test log.
type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// TestRealSkips is the visible line that says when no real cluster was tried.
func TestRealSkips(t *testing.T) {
	if c := Real(t); !c.IsReal() || c.Kfake() != nil {
		t.Fatal("Real gave an in-process cluster")
	}
}
