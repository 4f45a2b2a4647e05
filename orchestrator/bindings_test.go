package orchestrator_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// noteSaga is started by events and takes two notes; it needs no participant.
func noteSaga(orders, notes string, version int, more string) string {
	return fmt.Sprintf(`
saga: note
version: %d
id: =input.id
start: {topic: %s, when: '=event.?kind.orValue("") == "PLACED"', input: {id: =event.order.id, n: =event.order.?n}%s}
on:
  - {name: notes, topic: %s, action: signal, id: =event.order, signal: noted}
steps:
  - {id: first, await: {signal: noted}, keep: [text]}
  - {id: second, await: {signal: noted}, keep: [text]}
output: {first: =step.first.text, second: =step.second.text}
deadline: 30d
`, version, orders, more, notes)
}

// countSaga is started by events and ends at once.
func countSaga(topic string) string {
	return fmt.Sprintf(`
saga: count
version: 1
start: {topic: %s, id: =event.id, from: earliest}
steps:
  - {id: a, set: {id: =input.id}}
`, topic)
}

// crc32Of is the partition that librdkafka's default partitioner gives a key: another one than ours.
func crc32Of(key string, partitions int32) int32 {
	return int32(crc32.ChecksumIEEE([]byte(key)) % uint32(partitions))
}

// read waits until the binding has a task.
func (r *rig) reads(key string) {
	r.t.Helper()
	r.until("binding "+key+" reads", 20*time.Millisecond, func() bool { return r.binding(key).Tasks > 0 })
}

func (r *rig) binding(key string) orchestrator.BindingInfo {
	r.t.Helper()
	list, err := r.o.Bindings(context.Background())
	if err != nil {
		return orchestrator.BindingInfo{}
	}
	for _, b := range list {
		if b.Key == key {
			return b
		}
	}
	return orchestrator.BindingInfo{}
}

// TestBinding: events of topics of others, keyed and partitioned as their producers like, start a saga and
// move it on. An event with an id of its own that comes twice counts once, what cannot be read or has no
// instance becomes a dead letter with its reason, and nothing stops.
func TestBinding(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		orders := r.c.CreateTopic(r.c.Name("shop.orders"), 3, nil)
		notes := r.c.CreateTopic(r.c.Name("shop.notes"), 5, nil)
		r.c.Produce(&kgo.Record{Topic: orders, Value: []byte(`{"kind":"PLACED","order":{"id":"before"}}`), Timestamp: time.Now().Add(-time.Hour)})
		r.start()
		r.ready()
		r.apply(noteSaga(orders, notes, 1, ""))
		r.reads("note/" + strings.ReplaceAll(orders, ".", "-"))
		r.reads("note/notes")

		placed := func(id, event string) *kgo.Record {
			rec := &kgo.Record{Topic: orders, Key: []byte("customer-7"), Value: fmt.Appendf(nil, ` {"kind":"PLACED", "order":{"id":%q,"n":1}}`, id)}
			if event != "" {
				rec.Headers = []kgo.RecordHeader{{Key: "ce_id", Value: []byte(event)}, {Key: "ce_source", Value: []byte("/shop")}}
			}
			return rec
		}
		noted := func(id, text string) *kgo.Record {
			return &kgo.Record{Topic: notes, Key: nil, Value: fmt.Appendf(nil, `{"order":%q,"text":%q}`, id, text)}
		}
		r.c.ProduceTo(crc32Of("customer-7", 3), placed("o-1", "e-1"), placed("o-1", "e-1"))
		r.c.ProduceTo(0, noted("o-1", "one"))
		r.step("note/o-1", "first", "DONE")
		r.c.ProduceTo(2, placed("o-1", "e-1")) // the same event, on another partition
		r.c.ProduceTo(4, noted("o-1", "two"))
		v := r.ends("note/o-1", "completed", 20*time.Millisecond)
		equal(t, "output", string(v.Output), `{"first":"one","second":"two"}`)
		kinds := strings.Join(r.kinds("note/o-1"), " ")
		if strings.Count(kinds, "started") != 1 {
			t.Errorf("facts: %s", kinds)
		}

		// What is no event of ours, and what is wrong.
		r.c.Produce(
			&kgo.Record{Topic: orders, Value: []byte(`{"kind":"CANCELLED"}`)},
			&kgo.Record{Topic: orders, Key: []byte("k"), Value: nil},
			&kgo.Record{Topic: orders, Value: []byte("not JSON")},
			&kgo.Record{Topic: orders, Value: []byte(`{"kind":"PLACED"}`)},
			&kgo.Record{Topic: orders, Value: []byte(`{"kind":"PLACED","order":{"id":""}}`)},
			&kgo.Record{Topic: orders, Value: []byte(`{"kind":7,"order":{"id":"x"}}`)},
		)
		classes := map[string]int{}
		r.until("the dead letters are there", 50*time.Millisecond, func() bool {
			clear(classes)
			for _, d := range r.deadLetters() {
				classes[d.why.Class]++
			}
			return len(classes) >= 3
		})
		for _, d := range r.deadLetters() {
			if d.why.Stage == "bind" && (d.why.Topic != orders || !strings.Contains(d.why.Message, "binding note/") || !strings.HasPrefix(d.why.Group, r.c.Namespace()+".bind.note.")) {
				t.Errorf("dead letter: %+v", d.why)
			}
		}
		equal(t, "classes", classes, map[string]int{"MALFORMED": 1, "MAPPING": 1, "NO_ID": 1})
		r.c.Produce(placed("o-2", ""), placed("o-2", "")) // a copy without an id of its own
		r.until("o-2 has started", 20*time.Millisecond, func() bool { _, ok := r.get("note/o-2"); return ok })
		r.until("the copy is a duplicate", 50*time.Millisecond, func() bool { return strings.Contains(strings.Join(r.kinds("note/o-2"), " "), "duplicate") })
		if _, ok := r.get("note/before"); ok {
			t.Error("an event from before the definition started a saga")
		}
	})
}

// TestBindingsComeAndGo: bindings follow what is active, without a restart; one that is paused keeps its place,
// for all processes and over a restart, and a version that has it too goes on there.
func TestBindingsComeAndGo(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		orders := r.c.CreateTopic(r.c.Name("orders"), 2, nil)
		notes := r.c.Name("notes") // comes later
		r.start()
		r.ready()
		r.apply(noteSaga(orders, notes, 1, ", name: orders"))
		r.reads("note/orders")
		place := func(id string) {
			r.c.Produce(&kgo.Record{Topic: orders, Value: fmt.Appendf(nil, `{"kind":"PLACED","order":{"id":%q}}`, id)})
		}
		started := func(id string) {
			r.until(id+" has started", time.Second, func() bool { _, ok := r.get("note/" + id); return ok })
		}
		place("a")
		started("a")
		r.until("the binding says what it waits for", time.Second, func() bool { return strings.Contains(r.binding("note/notes").Problem, "is not there yet") })
		r.c.CreateTopic(notes, 1, nil)
		r.reads("note/notes")

		ctx := context.Background()
		if b, err := r.o.HoldBinding(ctx, "note/orders", true, "ann", "too many"); err != nil || !b.Paused || b.By != "ann" {
			t.Fatalf("%+v %v", b, err)
		}
		r.until("the reader has stopped", time.Second, func() bool { return r.binding("note/orders").Tasks == 0 })
		place("b")
		r.shut()
		r.start()
		r.ready()
		r.reads("note/notes")
		r.apply(noteSaga(orders, notes, 2, ", name: orders"))
		time.Sleep(time.Minute)
		if _, ok := r.get("note/b"); ok {
			t.Error("a paused binding has read")
		}
		if b := r.binding("note/orders"); !b.Paused || b.Version != 2 || b.Reason != "too many" {
			t.Errorf("%+v", b)
		}
		if _, err := r.o.HoldBinding(ctx, "note/orders", false, "ann", "better"); err != nil {
			t.Fatal(err)
		}
		started("b")
		if v, _ := r.get("note/b"); v.Version != 2 {
			t.Errorf("version %d", v.Version)
		}
		// A version without the binding ends it, and the instances go on.
		r.apply("saga: note\nversion: 3\nsteps: [{id: a, set: {x: 1}}]\n")
		r.until("nothing reads", time.Second, func() bool { list, err := r.o.Bindings(ctx); return err == nil && len(list) == 0 })
		if v, ok := r.get("note/b"); !ok || v.Phase != "running" {
			t.Errorf("%+v", v)
		}
		if _, err := r.o.HoldBinding(ctx, "note/orders", true, "ann", "x"); err == nil {
			t.Error("a binding that is gone was paused")
		}
	})
}

// TestBindingCrash kills the process at each point of the router's walk and of the engine's: each event starts
// its saga once, and is on the intake once.
func TestBindingCrash(t *testing.T) {
	points := []string{topology.FailTakeover, topology.FailStage, topology.FailFlush, topology.FailEnd, topology.FailEnded, topology.FailApply, topology.FailApplied}
	if testing.Short() {
		points = []string{topology.FailFlush, topology.FailEnded, topology.FailApply}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) {
				topic := r.c.CreateTopic(r.c.Name("events"), 3, nil)
				r.cfg.InstanceID = "a"
				r.apply(countSaga(topic))
				const each = 20
				sent := 0
				for round := range 4 {
					for range each {
						r.c.ProduceTo(int32(sent%3), &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, `{"id":"i%d"}`, sent)})
						sent++
					}
					var hits atomic.Int32
					crash := make(chan struct{})
					if round < 3 {
						r.cfg.Failpoint = func(name string, _ int32) error {
							if name == point && hits.Add(1) == int32(3+round) {
								close(crash)
							}
							if name == point && hits.Load() >= int32(3+round) {
								return topology.ErrCrash
							}
							return nil
						}
					} else {
						r.cfg.Failpoint = nil
					}
					r.start()
					if round < 3 {
						select {
						case <-crash:
						case <-time.After(time.Hour):
							t.Fatalf("%s was not reached", point)
						}
						r.o.Crash()
						r.stop()
						<-r.done
						r.o = nil
						continue
					}
					for i := range sent {
						r.ends(fmt.Sprintf("count/i%d", i), "completed", time.Second)
					}
				}
				if n := len(r.c.ReadAll(r.topics.Intake)); n != sent {
					t.Errorf("%d records on the intake, want %d", n, sent)
				}
				for i := range sent {
					if k := strings.Join(r.kinds(fmt.Sprintf("count/i%d", i)), " "); strings.Count(k, "started") != 1 || strings.Contains(k, "duplicate") {
						t.Errorf("count/i%d: %s", i, k)
					}
				}
				if d := r.deadLetters(); len(d) > 0 {
					t.Errorf("dead letters: %+v", d[0].why)
				}
			})
		})
	}
}

// flaky is a codec whose registry is down.
type flaky struct {
	schema.Plain
	down atomic.Bool
}

func (f *flaky) Decode(ctx context.Context, topic string, h []kgo.RecordHeader, value []byte) ([]byte, schema.Format, error) {
	if f.down.Load() && strings.Contains(string(value), "needs") {
		return nil, schema.Format{}, &schema.Error{Class: schema.ErrUnavailable, Text: "the registry does not answer"}
	}
	return f.Plain.Decode(ctx, topic, h, value)
}

// TestRegistryDown: a record that cannot be read now waits with what lies behind it, and its reason is said; what
// came before is through. Nothing is lost and nothing is a dead letter.
func TestRegistryDown(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		topic := r.c.CreateTopic(r.c.Name("events"), 1, nil)
		codec := &flaky{}
		codec.down.Store(true)
		r.cfg.Codec = codec
		r.apply(countSaga(topic))
		r.c.Produce(&kgo.Record{Topic: topic, Value: []byte(`{"id":"a"}`)}, &kgo.Record{Topic: topic, Value: []byte(`{"id":"b","needs":"registry"}`)}, &kgo.Record{Topic: topic, Value: []byte(`{"id":"c"}`)})
		r.start()
		r.ready()
		r.ends("count/a", "completed", time.Second)
		key := "count/" + topic
		key = strings.ReplaceAll(key, ".", "-")
		r.until("the reason is said", time.Second, func() bool { return strings.Contains(r.binding(key).Problem, "registry does not answer") })
		time.Sleep(30 * time.Second)
		if _, ok := r.get("count/c"); ok {
			t.Error("a record went past one that waits")
		}
		codec.down.Store(false)
		r.ends("count/b", "completed", time.Second)
		r.ends("count/c", "completed", time.Second)
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

// TestEventsOnce: events of which a part comes twice start each saga once. It runs smaller in a bubble.
func TestEventsOnce(t *testing.T) {
	t.Run("bubble", func(t *testing.T) {
		kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) { eventsOnce(t, newRig(t, c), 2000) })
	})
	t.Run("real", func(t *testing.T) { eventsOnce(t, newRig(t, kafkatest.Real(t)), 100_000) })
}

func eventsOnce(t *testing.T, r *rig, events int) {
	topic := r.c.CreateTopic(r.c.Name("events"), 6, nil)
	r.apply(countSaga(topic))
	r.start()
	r.ready()
	// One in five is a repetition of an event shortly before, as of a producer that was not sure.
	distinct := events * 4 / 5
	cl := r.c.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ctx, cancel := r.c.Context()
	defer cancel()
	began := time.Now()
	sent := 0
	produce := func(id int) {
		key := fmt.Sprintf("customer-%d", id%977)
		cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: crc32Of(key, 6), Key: []byte(key), Value: fmt.Appendf(nil, `{"id":"i%d"}`, id),
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Appendf(nil, "e%d", id)}, {Key: "ce_source", Value: []byte("/test")}}}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		sent++
	}
	for id := range distinct {
		produce(id)
		if id%4 == 3 {
			produce(id - id%40/4)
		}
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if sent != events {
		t.Fatalf("%d events sent, want %d", sent, events)
	}
	started, duplicates := make([]int, distinct), 0
	reader := r.c.Client(kgo.ConsumeTopics(r.topics.Lifecycle), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for have := 0; have < events; {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d facts", have, events)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			msg, err := protocol.DecodeAvro(rec.Value)
			if err != nil {
				t.Fatal(err)
			}
			fact := msg.(*protocol.Lifecycle)
			switch fact.Kind {
			case "started":
				var id int
				if _, err := fmt.Sscanf(fact.WorkflowID, "count/i%d", &id); err != nil || id >= distinct {
					t.Fatalf("%s has started", fact.WorkflowID)
				}
				started[id]++
				have++
			case "duplicate":
				duplicates++
				have++
			}
		})
	}
	t.Logf("%d events in %s", events, time.Since(began).Round(time.Millisecond))
	for id, n := range started {
		if n != 1 {
			t.Errorf("i%d has started %d times", id, n)
		}
	}
	if duplicates != events-distinct {
		t.Errorf("%d duplicates, want %d", duplicates, events-distinct)
	}
	if d := r.deadLetters(); len(d) > 0 {
		t.Errorf("%d dead letters, the first: %+v", len(d), d[0].why)
	}
}

// TestBindingAgain: a part of a topic is read again, and a dead letter goes through its binding, edited. What
// instances know already changes nothing.
func TestBindingAgain(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		topic := r.c.CreateTopic(r.c.Name("events"), 2, nil)
		r.apply(strings.Replace(countSaga(topic), "from: earliest", "name: events", 1))
		before := time.Now()
		r.start()
		r.ready()
		r.reads("count/events")
		r.c.Produce(&kgo.Record{Topic: topic, Value: []byte(`{"id":"a"}`)}, &kgo.Record{Topic: topic, Value: []byte(`{"idd":"b"}`)})
		r.ends("count/a", "completed", time.Second)
		r.until("there is a dead letter", time.Second, func() bool { return len(r.deadLetters()) == 1 })

		ctx := context.Background()
		from := before.Add(-time.Hour).UnixMilli()
		dry, err := r.o.ReplayBinding(ctx, "count/events", from, 0, true, "ann", "look")
		if err != nil || dry.Records != 2 || dry.Matched != 1 || dry.Dead != 1 || dry.Written != 0 || len(dry.Reasons) != 1 {
			t.Fatalf("%+v %v", dry, err)
		}
		if n := len(r.c.ReadAll(r.topics.Intake)); n != 1 {
			t.Errorf("%d records on the intake after a dry run", n)
		}
		done, err := r.o.ReplayBinding(ctx, "count/events", from, 0, false, "ann", "again")
		if err != nil || done.Written != 1 {
			t.Fatalf("%+v %v", done, err)
		}
		r.until("the start is a duplicate", time.Second, func() bool { return strings.Contains(strings.Join(r.kinds("count/a"), " "), "duplicate") })
		if none, err := r.o.ReplayBinding(ctx, "count/events", time.Now().Add(time.Hour).UnixMilli(), 0, false, "ann", "later"); err != nil || none.Records != 0 {
			t.Errorf("%+v %v", none, err)
		}

		page, err := r.o.Letters(ctx, orchestrator.LetterQuery{Limit: 10})
		if err != nil || len(page.Letters) != 1 || page.Letters[0].Binding != "count/events" {
			t.Fatalf("%+v %v", page, err)
		}
		for binding, want := range map[string]int{"count/events": 1, "count/other": 0} {
			some, err := r.o.Letters(ctx, orchestrator.LetterQuery{Binding: binding, State: orchestrator.LetterOpen})
			if err != nil || len(some.Letters) != want {
				t.Errorf("dead letters of %s: %+v %v", binding, some, err)
			}
		}
		letter := page.Letters[0].Offset
		if _, err := r.o.Replay(ctx, letter, orchestrator.Replay{By: "ann", Reason: "as it is"}); err == nil || !strings.Contains(err.Error(), "would refuse it again") {
			t.Errorf("as it came: %v", err)
		}
		sent, err := r.o.Replay(ctx, letter, orchestrator.Replay{Value: []byte(`{"id":"b"}`), By: "ann", Reason: "typo"})
		if err != nil || sent.WorkflowID != "count/b" || sent.Topic != r.topics.Intake {
			t.Fatalf("%+v %v", sent, err)
		}
		r.ends("count/b", "completed", time.Second)
		if n := len(r.c.ReadAll(topic)); n != 2 {
			t.Errorf("%d events in the topic: nobody else must see one twice", n)
		}
	})
}
