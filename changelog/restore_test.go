package changelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/statestore/storetest"
)

// owner writes transactions to a changelog partition.
type owner struct {
	t  testing.TB
	c  *kafkatest.Cluster
	cl *kgo.Client
}

func newOwner(t testing.TB, c *kafkatest.Cluster, id string, opts ...kgo.Opt) *owner {
	return &owner{t, c, c.Client(append([]kgo.Opt{
		kgo.TransactionalID(c.Name(id)), kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8 << 20),
	}, opts...)...)}
}

func (o *owner) begin() {
	o.t.Helper()
	if err := o.cl.BeginTransaction(); err != nil {
		o.t.Fatal(err)
	}
}

// write produces "key=value" as a put and "key" as a deletion, in batches of
// their own.
func (o *owner) write(topic string, writes ...string) {
	o.t.Helper()
	ctx, cancel := o.c.Context()
	defer cancel()
	for _, w := range writes {
		m := mutation(w)
		if err := o.cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value}).FirstErr(); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *owner) end(commit kgo.TransactionEndTry) {
	o.t.Helper()
	ctx, cancel := o.c.Context()
	defer cancel()
	if err := o.cl.EndTransaction(ctx, commit); err != nil {
		o.t.Fatal(err)
	}
}

func (o *owner) commit(topic string, writes ...string) {
	o.t.Helper()
	o.begin()
	o.write(topic, writes...)
	o.end(kgo.TryCommit)
}

func (o *owner) abort(topic string, writes ...string) {
	o.t.Helper()
	o.begin()
	o.write(topic, writes...)
	o.end(kgo.TryAbort)
}

func mutation(w string) statestore.Mutation {
	key, value, put := bytes.Cut([]byte(w), []byte("="))
	if !put {
		return statestore.Mutation{Key: key}
	}
	return statestore.Mutation{Key: key, Value: value}
}

// settled lists the ends once every decided transaction has its markers, which
// InitProducerID sees to in the real engine.
func settled(t testing.TB, c *kafkatest.Cluster, topic string) changelog.Range {
	t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	c.ReadAll(topic)
	r, err := changelog.Ends(ctx, c.Client(), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// restore brings a store up to a target, as a task does.
func restore(t testing.TB, c *kafkatest.Cluster, s *statestore.Store, topic string, target int64) (int64, error) {
	t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	r := changelog.Restore{Client: c.Client(), Topic: topic, Target: target, BulkLeast: -1}
	if bulky.Add(1)%2 == 0 {
		r.BulkLeast = 1
	}
	_, err := r.Into(ctx, s)
	return s.Position().Next, err
}

// bulky makes every other restore one in bulk, when the store is empty.
var bulky atomic.Int32

func wantData(t testing.TB, s *statestore.Store, writes ...string) {
	t.Helper()
	m := storetest.NewModel(nil)
	for _, w := range writes {
		m.Apply([]statestore.Mutation{mutation(w)}, statestore.Position{})
	}
	m.Position = s.Position()
	if err := storetest.Same(s, m); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreShapes(t *testing.T) {
	c := kafkatest.New(t)
	a, b := newOwner(t, c, "a"), newOwner(t, c, "b")
	for _, shape := range []struct {
		name  string
		write func(topic string)
		want  []string
	}{
		{"empty", func(string) {}, nil},
		{"one commit, marker last", func(topic string) { a.commit(topic, "k=1") }, []string{"k=1"}},
		{"one abort", func(topic string) { a.abort(topic, "k=1") }, nil},
		{"abort last", func(topic string) { a.commit(topic, "k=1"); a.abort(topic, "k=2", "l=2") }, []string{"k=1"}},
		{"abort first", func(topic string) { a.abort(topic, "k=2", "l=2"); a.commit(topic, "k=1") }, []string{"k=1"}},
		{"two ids in turn", func(topic string) {
			for i := range 6 {
				a.commit(topic, fmt.Sprintf("k=%d", i), "a=1")
				b.commit(topic, fmt.Sprintf("k=b%d", i))
			}
		}, []string{"k=b5", "a=1"}},
		{"interleaved, one aborts", func(topic string) {
			a.begin()
			b.begin()
			a.write(topic, "k=a", "a=1")
			b.write(topic, "k=b", "b=1")
			a.write(topic, "x=a")
			a.end(kgo.TryAbort)
			b.end(kgo.TryCommit)
		}, []string{"k=b", "b=1"}},
		{"deletions", func(topic string) { a.commit(topic, "k=1", "l=1"); a.commit(topic, "k", "gone") }, []string{"l=1"}},
		{"deletion aborted", func(topic string) { a.commit(topic, "k=1"); a.abort(topic, "k") }, []string{"k=1"}},
		{"empty value", func(topic string) { a.commit(topic, "k=") }, []string{"k="}},
		{"no transaction", func(topic string) {
			c.ProduceTo(0, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("1")})
		}, []string{"k=1"}},
	} {
		t.Run(shape.name, func(t *testing.T) {
			topic := c.CreateTopic(c.Name(fmt.Sprintf("shape-%d", time.Now().UnixNano())), 1, kafkatest.Compacted())
			shape.write(topic)
			ends := settled(t, c, topic)
			s := openStore(t)
			next, err := restore(t, c, s, topic, ends.End)
			if err != nil || next != ends.End {
				t.Fatalf("next %d of %d: %v", next, ends.End, err)
			}
			wantData(t, s, shape.want...)
			if got := s.Position().Next; got != ends.End {
				t.Fatalf("position %d of %d", got, ends.End)
			}
		})
	}
}

func TestRestoreFromPosition(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	a := newOwner(t, c, "a")
	a.commit(topic, "k=1", "l=1")
	s := openStore(t)
	first := settled(t, c, topic).End
	// A task that committed stands in front of its marker.
	if _, err := restore(t, c, s, topic, first-1); err != nil {
		t.Fatal(err)
	}
	a.abort(topic, "k=no")
	a.commit(topic, "k=2", "m=2")
	ends := settled(t, c, topic)
	var seen []string
	ctx, cancel := c.Context()
	defer cancel()
	r := changelog.Restore{Client: c.Client(), Topic: topic, From: s.Position().Next, Target: ends.End, MaxBytes: 1}
	var progress []int64
	r.OnProgress = func(next int64) { progress = append(progress, next) }
	next, err := r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		for _, m := range muts {
			seen = append(seen, string(m.Key)+"="+string(m.Value))
		}
		return s.Load(muts, statestore.Position{Next: next, Time: recordTime})
	})
	if err != nil || next != ends.End {
		t.Fatalf("next %d of %d: %v", next, ends.End, err)
	}
	if fmt.Sprint(seen) != "[k=2 m=2]" {
		t.Errorf("loaded %q", seen)
	}
	if len(progress) == 0 || progress[len(progress)-1] != ends.End {
		t.Errorf("progress %v", progress)
	}
	wantData(t, s, "k=2", "l=1", "m=2")
}

func TestRestoreLargeRecord(t *testing.T) {
	c := kafkatest.New(t, kafkatest.BrokerConfig("message.max.bytes", "8388608"))
	cfg := kafkatest.Compacted()
	cfg["max.message.bytes"] = "8388608"
	topic := c.CreateTopic(c.Name("state"), 1, cfg)
	large := bytes.Repeat([]byte("payment "), 400_000)
	a := newOwner(t, c, "a", kgo.ProducerBatchCompression(kgo.NoCompression()))
	a.commit(topic, "k=1", "large="+string(large), "l=1")
	s := openStore(t)
	ctx, cancel := c.Context()
	defer cancel()
	ends := settled(t, c, topic)
	r := changelog.Restore{Client: c.Client(), Topic: topic, Target: ends.End, MaxBytes: 1 << 10}
	if next, err := r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		return s.Load(muts, statestore.Position{Next: next, Time: recordTime})
	}); err != nil || next != ends.End {
		t.Fatalf("next %d of %d: %v", next, ends.End, err)
	}
	wantData(t, s, "k=1", "l=1", "large="+string(large))
}

// onlyKfake returns the in-process cluster, whose faults the test needs.
func onlyKfake(t *testing.T, c *kafkatest.Cluster) *kfake.Cluster {
	t.Helper()
	if c.IsReal() {
		t.Skip("needs the in-process cluster: it injects faults")
	}
	return c.Kfake()
}

func TestRestoreWaitsForOpenTransaction(t *testing.T) {
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		t.Run(fmt.Sprintf("commit=%v", bool(end)), func(t *testing.T) {
			c := kafkatest.New(t)
			fake := onlyKfake(t, c)
			topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
			a, zombie := newOwner(t, c, "a"), newOwner(t, c, "zombie")
			a.commit(topic, "k=1")
			zombie.begin()
			zombie.write(topic, "k=zombie")
			ctx, cancel := c.Context()
			defer cancel()
			ends, err := changelog.Ends(ctx, c.Client(), topic, 0)
			if err != nil {
				t.Fatal(err)
			}
			// Fetches that get as far as the open transaction.
			waiting := fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: 3, When: func(req kmsg.Request) bool {
				return req.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset == ends.End-1
			}})
			s := openStore(t)
			done := make(chan error, 1)
			go func() {
				_, err := restore(t, c, s, topic, ends.End)
				done <- err
			}()
			if err := waiting.Wait(ctx, 3); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				t.Fatalf("restore ended while the transaction was open: %v", err)
			default:
			}
			zombie.end(end)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if end {
				wantData(t, s, "k=zombie")
			} else {
				wantData(t, s, "k=1")
			}
		})
	}
}

func TestRestoreWaitEndsWithContext(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	zombie := newOwner(t, c, "zombie")
	zombie.begin()
	zombie.write(topic, "k=zombie")
	ctx, cancel := c.Context()
	defer cancel()
	cl := c.Client()
	ends, err := changelog.Ends(ctx, cl, topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("task was closed")
	stopped, stop := context.WithCancelCause(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := (&changelog.Restore{Client: cl, Topic: topic, Target: ends.End}).Run(stopped,
			func([]statestore.Mutation, int64, int64) error { return nil })
		done <- err
	}()
	stop(why)
	if err := <-done; !errors.Is(err, why) {
		t.Fatal(err)
	}
	zombie.end(kgo.TryAbort)
}

func TestRestoreCompacted(t *testing.T) {
	c := kafkatest.New(t)
	fake := onlyKfake(t, c)
	cfg := kafkatest.Compacted()
	cfg["delete.retention.ms"] = "0"
	topic := c.CreateTopic(c.Name("state"), 1, cfg)
	a := newOwner(t, c, "a")
	for i := range 20 {
		a.commit(topic, fmt.Sprintf("k%d=%d", i%4, i), "gone=1")
		a.abort(topic, "k1=no", "other=no")
		a.commit(topic, "gone")
	}
	fake.Compact()
	ends := settled(t, c, topic)
	s := openStore(t)
	next, err := restore(t, c, s, topic, ends.End)
	if err != nil || next != ends.End {
		t.Fatalf("next %d of %d: %v", next, ends.End, err)
	}
	wantData(t, s, "k0=16", "k1=17", "k2=18", "k3=19")
}

// TestRestoreHole meets a log whose last offsets were compacted away: the
// target is stable, but no fetch ever reaches it.
func TestRestoreHole(t *testing.T) {
	c := kafkatest.New(t)
	fake := onlyKfake(t, c)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	newOwner(t, c, "a").commit(topic, "k=1")
	ends := settled(t, c, topic)
	hole := ends.End + 5
	id := fake.TopicInfo(topic).TopicID
	fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f := req.(*kmsg.FetchRequest)
		if len(f.Topics) == 0 || f.Topics[0].Partitions[0].FetchOffset != ends.End {
			return nil, nil, false
		}
		fake.KeepControl()
		resp := f.ResponseKind().(*kmsg.FetchResponse)
		t, p := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		t.Topic, t.TopicID = topic, id
		p.HighWatermark, p.LastStableOffset, p.RecordBatches = hole, hole, []byte{}
		t.Partitions = append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
		return resp, nil, true
	})
	s := openStore(t)
	next, err := restore(t, c, s, topic, hole)
	if err != nil || next != hole || s.Position().Next != hole {
		t.Fatalf("next %d of %d: %v", next, hole, err)
	}
	wantData(t, s, "k=1")
}

func TestRestoreTruncated(t *testing.T) {
	c := kafkatest.New(t)
	cfg := map[string]string{"cleanup.policy": "delete"} // what a real broker needs for DeleteRecords
	topic := c.CreateTopic(c.Name("state"), 1, cfg)
	a := newOwner(t, c, "a")
	a.commit(topic, "k=1")
	s, fresh := openStore(t), openStore(t)
	if _, err := restore(t, c, s, topic, settled(t, c, topic).End); err != nil {
		t.Fatal(err)
	}
	a.commit(topic, "k=2", "l=2", "m=2")
	ctx, cancel := c.Context()
	defer cancel()
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Offset = s.Position().Next + 1
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.Client())
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	ends := settled(t, c, topic)
	if _, err := restore(t, c, s, topic, ends.End); !errors.Is(err, changelog.ErrTruncated) {
		t.Fatalf("wanted ErrTruncated, got %v", err)
	}
	if v, _ := changelog.Trust(s.Position(), ends, time.Now().UnixMilli(), 1e9); v != changelog.Rebuild {
		t.Errorf("verdict %v", v)
	}
	// An empty store takes the log from where it starts.
	if next, err := restore(t, c, fresh, topic, ends.End); err != nil || next != ends.End {
		t.Fatalf("next %d of %d: %v", next, ends.End, err)
	}
	wantData(t, fresh, "l=2", "m=2")
}

func TestRestoreBeyondEnd(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	newOwner(t, c, "a").commit(topic, "k=1")
	end := settled(t, c, topic).End
	s := openStore(t)
	if err := s.Load(nil, statestore.Position{Next: end + 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, c, s, topic, end+20); !errors.Is(err, changelog.ErrLost) {
		t.Fatalf("wanted ErrLost, got %v", err)
	}
}

// TestRestoreOverFaults meets every kind of answer that heals, and a leader
// that moves after each load.
func TestRestoreOverFaults(t *testing.T) {
	kafkatest.Bubble(t, testRestoreOverFaults, kafkatest.Brokers(3))
}

func testRestoreOverFaults(t *testing.T, c *kafkatest.Cluster) {
	fake := c.Kfake()
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	a := newOwner(t, c, "a")
	for i := range 9 {
		a.commit(topic, fmt.Sprintf("k%d=1", i))
	}
	ends := settled(t, c, topic)
	for _, e := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.KafkaStorageError,
		kerr.FencedLeaderEpoch, kerr.OffsetNotAvailable, kerr.OffsetOutOfRange, kerr.UnknownServerError,
	} {
		fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: e, Count: 2})
	}
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: kerr.LeaderNotAvailable, Count: 1})
	var throttled atomic.Int32
	fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if throttled.Add(1) > 3 {
			return nil, nil, false
		}
		fake.KeepControl()
		resp := req.ResponseKind().(*kmsg.FetchResponse) // a broker that throttles answers for no partition
		resp.ThrottleMillis = 1
		return resp, nil, true
	})
	s := openStore(t)
	ctx, cancel := c.Context()
	defer cancel()
	r := changelog.Restore{Client: c.Client(), Topic: topic, Target: ends.End, MaxBytes: 1}
	loads := int32(0)
	next, err := r.Run(ctx, func(muts []statestore.Mutation, next, recordTime int64) error {
		loads++
		if err := fake.MoveTopicPartition(topic, 0, loads%3); err != nil {
			return err
		}
		return s.Load(muts, statestore.Position{Next: next, Time: recordTime})
	})
	if err != nil || next != ends.End {
		t.Fatalf("next %d of %d: %v", next, ends.End, err)
	}
	wantData(t, s, "k0=1", "k1=1", "k2=1", "k3=1", "k4=1", "k5=1", "k6=1", "k7=1", "k8=1")
	if loads < 9 {
		t.Errorf("%d loads: the leader hardly moved", loads)
	}
}

func TestRestoreLoadError(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
	newOwner(t, c, "a").commit(topic, "k=1")
	ctx, cancel := c.Context()
	defer cancel()
	next, err := (&changelog.Restore{Client: c.Client(), Topic: topic, Target: settled(t, c, topic).End}).Run(ctx,
		func([]statestore.Mutation, int64, int64) error { return statestore.ErrCorrupt })
	if !errors.Is(err, statestore.ErrCorrupt) || errors.Is(err, changelog.ErrRetry) || next != 0 {
		t.Fatalf("next %d, %v", next, err)
	}
}

func TestRestoreRecordWithoutKey(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 1, nil) // a compacted topic takes no such record
	c.ProduceTo(0, &kgo.Record{Topic: topic, Value: []byte("1")})
	if _, err := restore(t, c, openStore(t), topic, 1); !errors.Is(err, changelog.ErrFatal) {
		t.Fatal(err)
	}
}

func TestIdentityAndEnds(t *testing.T) {
	c := kafkatest.New(t)
	topic := c.CreateTopic(c.Name("state"), 3, kafkatest.Compacted())
	ctx, cancel := c.Context()
	defer cancel()
	cl := c.Client()
	cluster, id, n, err := changelog.TopicIdentity(ctx, cl, topic)
	if err != nil || cluster == "" || id == [16]byte{} || n != 3 {
		t.Fatalf("%q %x %d %v", cluster, id, n, err)
	}
	_, _, _, err = changelog.TopicIdentity(ctx, cl, c.Name("none"))
	if !errors.Is(err, changelog.ErrFatal) || !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("no topic: %v", err)
	}
	a := newOwner(t, c, "a")
	a.begin()
	a.write(topic, "k=1")
	if r, err := changelog.Ends(ctx, cl, topic, 0); err != nil || r != (changelog.Range{Start: 0, End: 1}) {
		t.Errorf("with an open transaction: %+v %v", r, err)
	}
	a.end(kgo.TryCommit)
	if r, err := changelog.Ends(ctx, cl, topic, 2); err != nil || r != (changelog.Range{}) {
		t.Errorf("empty partition: %+v %v", r, err)
	}
}

// TestRestoreTopicGone deletes the topic under a store: the answer is ErrLost,
// once waiting has not helped.
func TestRestoreTopicGone(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
		newOwner(t, c, "a").commit(topic, "k=1")
		end := settled(t, c, topic).End
		if err := c.Kfake().DeleteTopic(topic); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := c.Context()
		defer cancel()
		nothing := func([]statestore.Mutation, int64, int64) error { return nil }
		_, err := (&changelog.Restore{Client: c.Client(), Topic: topic, Target: end}).Run(ctx, nothing)
		if !errors.Is(err, changelog.ErrLost) {
			t.Errorf("restore: %v", err)
		}
		if _, err := changelog.Ends(ctx, c.Client(), topic, 0); !errors.Is(err, changelog.ErrLost) {
			t.Errorf("ends: %v", err)
		}
	})
}

// TestRestoreShortLog meets a leader that shows less than was promised, and
// goes on doing so.
func TestRestoreShortLog(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Name("state"), 1, kafkatest.Compacted())
		newOwner(t, c, "a").commit(topic, "k=1")
		end := settled(t, c, topic).End
		ctx, cancel := c.Context()
		defer cancel()
		for least, want := range map[int64]int64{-1: end, 1: 0} { // in bulk it is all or nothing
			s := openStore(t)
			r := changelog.Restore{Client: c.Client(), Topic: topic, Target: end + 7, BulkLeast: least}
			if _, err := r.Into(ctx, s); !errors.Is(err, changelog.ErrLost) {
				t.Fatalf("wanted ErrLost, got %v", err)
			}
			if s.Position().Next != want {
				t.Errorf("position %d, want %d", s.Position().Next, want)
			}
		}
	})
}

// TestRestoreProperty writes random transactions of two ids, some aborted,
// some open over others, compacts now and then, and restores in random pieces.
// The store must equal a model that applied what was committed, in the order
// of the log.
func TestRestoreProperty(t *testing.T) {
	c := kafkatest.New(t)
	topics, owners := 0, 0
	fresh := func() (*owner, *owner) {
		owners++
		return newOwner(t, c, fmt.Sprintf("a%d", owners)), newOwner(t, c, fmt.Sprintf("b%d", owners))
	}
	a, b := fresh()
	rapid.Check(t, func(rt *rapid.T) {
		topics++
		topic := c.CreateTopic(c.Name(fmt.Sprintf("state-%d", topics)), 1, kafkatest.Compacted())
		s := openStore(t)
		m := storetest.NewModel(nil)
		type write struct {
			at   *owner
			muts []string
		}
		var log []write // in the order of the log; nil owner: decided
		open := map[*owner]bool{}
		rt.Cleanup(func() { // or the next run, which shrinks this one, would find them open and hide why this one failed
			for o := range open {
				o.end(kgo.TryAbort)
			}
		})
		aborted := false
		decide := func(o *owner, commit bool) {
			aborted = aborted || !commit
			o.end(kgo.TransactionEndTry(commit))
			delete(open, o)
			for i := range log {
				if log[i].at == o {
					log[i].at = nil
					if !commit {
						log[i].muts = nil
					}
				}
			}
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			o := rapid.SampledFrom([]*owner{a, b}).Draw(rt, "owner")
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1, 2:
				if !open[o] {
					o.begin()
					open[o] = true
				}
				w := rapid.SliceOfN(rapid.SampledFrom([]string{"k=1", "k=2", "k", "l=1", "l", "m=1", "m=2", "n="}), 1, 4).Draw(rt, "writes")
				o.write(topic, w...)
				log = append(log, write{o, w})
			case 3, 4:
				if open[o] {
					decide(o, rapid.Bool().Draw(rt, "commit"))
				}
			case 5:
				if len(open) > 0 {
					continue
				}
				if !c.IsReal() && rapid.Bool().Draw(rt, "compact") {
					c.Kfake().Compact()
					// kfake goes on listing an aborted transaction whose marker it has compacted away, and
					// a reader then drops what the same producer id writes next.
					if aborted {
						a, b = fresh()
					}
				}
				ends := settled(t, c, topic)
				if v, _ := changelog.Trust(s.Position(), ends, time.Now().UnixMilli(), 1e9); v != changelog.TrustTail {
					continue // the in-process cluster moves the log's start when it compacts
				}
				if _, err := restore(t, c, s, topic, ends.End); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for o := range open {
			decide(o, rapid.Bool().Draw(rt, "commit at last"))
		}
		ends := settled(t, c, topic)
		if v, _ := changelog.Trust(s.Position(), ends, time.Now().UnixMilli(), 1e9); v == changelog.Rebuild {
			s = openStore(t)
		}
		next, err := restore(t, c, s, topic, ends.End)
		if err != nil || next != ends.End {
			rt.Fatalf("next %d of %d: %v", next, ends.End, err)
		}
		for _, w := range log {
			for _, mut := range w.muts {
				m.Apply([]statestore.Mutation{mutation(mut)}, statestore.Position{})
			}
		}
		m.Position = s.Position()
		if err := storetest.Same(s, m); err != nil {
			rt.Fatal(err)
		}
	})
}
