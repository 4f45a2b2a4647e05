package flow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/correlate/flow"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
	"github.com/amendsio/amends/topology/topologytest"
)

const in = "pay.saga.correlation"

func driver(t *testing.T, o topologytest.Options) *topologytest.Driver {
	t.Helper()
	built, err := flow.Topology(flow.Config{Namespace: "pay", Advertise: "node-1:8080"})
	if err != nil {
		t.Fatal(err)
	}
	return topologytest.NewWith(t, built, o)
}

func record(c protocol.Correlation, value string) topology.Record {
	rec := topology.Record{Topic: in, Partition: topology.ByKey, Key: protocol.CorrelationKey(c.Route, c.Value)}
	if c.Kind == protocol.CorrelateEvent {
		rec.Value = []byte(value)
	}
	for _, h := range c.Headers() {
		rec.Headers = append(rec.Headers, topology.Header(h))
	}
	return rec
}

func await(wid, path string) topology.Record {
	return record(protocol.Correlation{Kind: protocol.CorrelateSubscribe, Route: "air.events/1", Value: "PNR", WorkflowID: wid, Run: 1, Path: path, Group: "trip", Signal: "event/air.events/1/9"}, "")
}

func gone(wid, path string) topology.Record {
	return record(protocol.Correlation{Kind: protocol.CorrelateUnsubscribe, Route: "air.events/1", Value: "PNR", WorkflowID: wid, Run: 1, Path: path}, "")
}

func event(id string, ttl time.Duration) topology.Record {
	return record(protocol.Correlation{Kind: protocol.CorrelateEvent, Route: "air.events/1", Value: "PNR", EventID: id, Source: "air.events/3/17", Binding: "correlate/air", Groups: []string{"trip"}, TTL: ttl.Milliseconds()},
		`{"id":"`+id+`"}`)
}

// signals lists what came to the intake.
func signals(t *testing.T, d *topologytest.Driver) string {
	t.Helper()
	var out []string
	for _, rec := range d.Read("pay.saga.intake") {
		msg, err := protocol.DecodeIntake(rec.Key, rec.Value, headers(rec))
		if err != nil {
			t.Fatal(err)
		}
		s := msg.(*protocol.Signal)
		if string(rec.Key) != s.WorkflowID() || s.Name != "event/air.events/1/9" || !strings.HasPrefix(s.SignalID, "event/") {
			t.Fatalf("signal %+v under key %s", s, rec.Key)
		}
		out = append(out, fmt.Sprintf("%s %s", s.WorkflowID(), s.Payload))
	}
	return strings.Join(out, "; ")
}

func headers(rec *topology.Record) []protocol.Header {
	var out []protocol.Header
	for _, h := range rec.Headers {
		out = append(out, protocol.Header(h))
	}
	return out
}

func letters(t *testing.T, d *topologytest.Driver) []protocol.DeadLetter {
	t.Helper()
	var out []protocol.DeadLetter
	for _, rec := range d.Read("pay.saga.dlq") {
		l, err := protocol.ParseDeadLetter(headers(rec))
		if err != nil {
			t.Fatal(err)
		}
		if l.Topic != in || l.Stage != "correlate" || l.Group != "pay.saga.correlation.engine" || l.Node != "node-1:8080" {
			t.Errorf("letter %+v", l)
		}
		out = append(out, l)
	}
	return out
}

func TestBeforeDuringAfter(t *testing.T) {
	const got = `trip/1 {"id":"e"}`
	for name, records := range map[string][]topology.Record{
		"before":            {event("e", time.Hour), await("trip/1", "a")},
		"during":            {await("trip/1", "a"), event("e", time.Hour)},
		"after, in a loop":  {await("trip/1", "a"), gone("trip/1", "a"), event("e", time.Hour), await("trip/1", "b")},
		"twice":             {event("e", time.Hour), event("e", time.Hour), await("trip/1", "a"), event("e", time.Hour)},
		"and ended at once": {event("e", time.Hour), await("trip/1", "a"), gone("trip/1", "a")},
	} {
		t.Run(name, func(t *testing.T) {
			d := driver(t, topologytest.Options{})
			for _, rec := range records {
				d.PipeRecord(rec)
			}
			if s := signals(t, d); s != got {
				t.Errorf("got %s", s)
			}
			d.Advance(40 * 24 * time.Hour)
			if l := letters(t, d); len(l) > 0 {
				t.Errorf("dead letters %+v", l)
			}
			if n := len(d.Store("values")); n != 0 {
				t.Errorf("%d values are remembered", n)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	d := driver(t, topologytest.Options{})
	d.PipeRecord(event("e", time.Hour))
	d.Advance(time.Hour - time.Millisecond)
	if l := letters(t, d); len(l) > 0 {
		t.Fatalf("before its time: %+v", l)
	}
	d.Advance(time.Millisecond)
	recs := d.Read("pay.saga.dlq")
	if len(recs) != 1 {
		t.Fatalf("%d dead letters", len(recs))
	}
	l, err := protocol.ParseDeadLetter(headers(recs[0]))
	if err != nil || l.Class != "EXPIRED" || l.Message != "event air.events/3/17: nobody waited for it within 3600000 ms" || l.Topic != in || string(recs[0].Value) != `{"id":"e"}` {
		t.Fatalf("letter %+v %v %s", l, err, recs[0].Value)
	}
	// Sent again, it is an event like any other.
	again := topology.Record{Topic: in, Partition: topology.ByKey, Key: recs[0].Key, Value: recs[0].Value}
	for _, h := range l.Original {
		again.Headers = append(again.Headers, topology.Header(h))
	}
	d.PipeRecord(again)
	d.PipeRecord(await("trip/1", "a"))
	if s := signals(t, d); s != `trip/1 {"id":"e"}` {
		t.Errorf("sent again: %s", s)
	}
}

func TestReply(t *testing.T) {
	d := driver(t, topologytest.Options{})
	sub := func(token string) topology.Record {
		return record(protocol.Correlation{Kind: protocol.CorrelateSubscribe, Route: "bank.events/1", Value: "key", WorkflowID: "trip/1", Run: 1, Path: "pay", Op: protocol.OpDo, Token: token,
			Until: d.Now().Add(time.Hour).UnixMilli()}, "")
	}
	answer := func(id string, o protocol.Outcome, e protocol.Effect) topology.Record {
		return record(protocol.Correlation{Kind: protocol.CorrelateEvent, Route: "bank.events/1", Value: "key", EventID: id, Groups: []string{""}, TTL: 1000, Outcome: o, Effect: e, Code: "C"}, `{"n":1}`)
	}
	d.PipeRecord(answer("e1", protocol.OutcomeProgress, ""))
	d.PipeRecord(sub("t1"))
	d.PipeRecord(sub("t2"))
	d.PipeRecord(answer("e2", protocol.OutcomeFailedFatal, protocol.EffectNone))
	var got []string
	for _, rec := range d.Read("pay.saga.replies") {
		r, err := protocol.ParseReply(headers(rec))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %s %s", rec.Key, r.Token, r.Outcome, r.Effect, r.Code, rec.Value))
	}
	if s := strings.Join(got, "; "); s != `trip/1 t1 progress unknown C {"n":1}; trip/1 t2 failed-fatal none C {"n":1}` {
		t.Errorf("got %s", s)
	}
	d.Advance(2 * time.Hour)
	if n := len(d.Store("values")); n != 0 {
		t.Errorf("%d values are remembered", n)
	}
}

// TestSetAside: no record stops the partition, and each says why it was set aside.
func TestSetAside(t *testing.T) {
	d := driver(t, topologytest.Options{})
	stray := event("e", time.Hour)
	stray.Key = []byte("another")
	large := event("big", time.Hour)
	large.Value = make([]byte, 61<<10)
	mute := record(protocol.Correlation{Kind: protocol.CorrelateEvent, Route: "bank.events/1", Value: "key", EventID: "e", Groups: []string{""}, TTL: 1000}, `{}`)
	sub := record(protocol.Correlation{Kind: protocol.CorrelateSubscribe, Route: "bank.events/1", Value: "key", WorkflowID: "trip/1", Run: 1, Path: "pay", Token: "t"}, "")
	d.PipeRecord(topology.Record{Topic: in, Partition: 0, Value: []byte("hello")}, stray, large, sub, mute, await("trip/1", "a"), event("e", time.Hour))
	var classes []string
	for _, l := range letters(t, d) {
		classes = append(classes, l.Class)
	}
	if got := strings.Join(classes, " "); got != "MALFORMED INVALID_INPUT TOO_LARGE INVALID_INPUT" {
		t.Errorf("classes %s", got)
	}
	if s := signals(t, d); s != `trip/1 {"id":"e"}` {
		t.Errorf("what came after them: %s", s)
	}
}

// TestCrash: whatever is lost, a wait and an early event come back, and nothing is delivered twice.
func TestCrash(t *testing.T) {
	for _, point := range []string{topology.FailLoad, topology.FailStage} {
		t.Run(point, func(t *testing.T) {
			left := 0
			d := driver(t, topologytest.Options{Change: func(c *topology.Config) {
				c.Failpoint = func(name string, _ int32) error {
					if name == point && left > 0 {
						left--
						return errors.New("planted")
					}
					return nil
				}
			}})
			pipe := func(rec topology.Record) {
				d.Queue(rec)
				left = 1
				if d.Try() == nil {
					t.Fatal("nothing failed")
				}
				d.Crash() // and it is read again
			}
			pipe(event("e", time.Hour))
			pipe(await("trip/1", "a"))
			pipe(await("trip/2", "a"))
			pipe(event("e", time.Hour))
			pipe(event("f", time.Hour))
			if s := signals(t, d); s != `trip/1 {"id":"e"}; trip/2 {"id":"f"}` {
				t.Errorf("got %s", s)
			}
		})
	}
}
