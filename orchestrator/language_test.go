package orchestrator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// tripSagas are a parent and its child, which between them use every way in which an instance hears
// and speaks: signals, people, children, domain events.
func (r *rig) tripSagas() (src string, topics []string, events string) {
	air, pay, events := r.c.Name("air"), r.c.Name("pay"), r.c.Name("trips")
	src = fmt.Sprintf(`
saga: trip
version: 1
participants:
  air: {ops: [do, undo], topic: cmd.%[1]s}
steps:
  - id: hold
    call: air.hold
    attempt: 5s
    within: 10m
    undo: {call: air.release}
  - id: paid
    await: {signal: paid, when: '=event.amount >= input.amount', within: 1d, onTimeout: fail}
    keep: [amount]
  - id: bill
    saga: {type: bill, id: '=input.bill', input: {amount: '=step.paid.amount'}, reversible: true}
    keep: [ref]
  - id: booked
    emit: {topic: %[3]s, type: trip.booked.v1, key: '=input.customer', with: {bill: '=step.bill.ref'}}
  - id: ticket
    call: air.ticket
    attempt: 5s
    within: 10m
    undo: {call: air.refund}
output:
  bill: '=step.bill.?ref'
---
saga: bill
version: 1
participants:
  pay: {ops: [do, undo], topic: cmd.%[2]s}
steps:
  - id: charge
    call: pay.charge
    with: {amount: '=input.amount'}
    keep: [ref]
    attempt: 5s
    within: 10m
    undo: {call: pay.refund}
output:
  ref: '=step.charge.?ref'
`, air, pay, events)
	return src, []string{"cmd." + air, "cmd." + pay}, events
}

// trips is the usual beginning for them.
func (r *rig) trips() (events string) {
	r.t.Helper()
	src, topics, events := r.tripSagas()
	r.apply(src)
	r.people.on("do", "charge", func(protocol.Command, []byte, int) *answer { return ok(`{"ref":"b-1"}`) })
	r.people.serve(topics...)
	r.start()
	r.ready()
	return events
}

func (r *rig) trip(id string) string {
	r.t.Helper()
	return r.begin("trip", id, map[string]any{"amount": 100, "bill": "of-" + id, "customer": "c-7"})
}

func (r *rig) signal(wid, name, id string, payload any, more ...string) {
	r.t.Helper()
	typ, of := sagas.SplitWorkflowID(wid)
	body := map[string]any{"kind": "signal", "type": typ, "id": of, "name": name, "signalId": id, "payload": payload}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	r.intake(wid, body)
}

// step waits until a step has a state.
func (r *rig) step(wid, path, state string) {
	r.t.Helper()
	var v sagas.View
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s: %+v", wid, v)
		}
	}()
	r.until(wid+" "+path+" is "+state, often, func() bool {
		v, _ = r.get(wid)
		i := slices.IndexFunc(v.Steps, func(s sagas.StepView) bool { return s.Path == path })
		return i >= 0 && (v.Steps[i].State == state || v.Steps[i].Undo == state)
	})
}

// events reads the domain events on a topic.
func (r *rig) events(topic string) (out []protocol.Event, values []string) {
	r.t.Helper()
	for _, rec := range r.c.ReadAll(topic) {
		e, err := protocol.ParseEvent(headersOf(rec))
		if err != nil {
			r.t.Fatal(err)
		}
		out, values = append(out, e), append(values, string(rec.Key)+" "+string(rec.Value))
	}
	return out, values
}

// TestTrip: a signal, a child and a domain event on the way to the end.
func TestTrip(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		topic := r.trips()
		wid := r.trip("1")
		r.step(wid, "paid", "OPEN")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 50}) // too little: stays in the buffer
		r.signal(wid, "paid", "s-2", map[string]any{"amount": 120})
		v := r.ends(wid, "completed", often)
		equal(t, "output", string(v.Output), `{"bill":"b-1"}`)
		child := r.ends("bill/of-1", "completed", often)
		equal(t, "the child's input", string(child.Input), `{"amount":120}`)
		events, values := r.events(topic)
		if len(events) != 1 || events[0].Type != "trip.booked.v1" || events[0].WorkflowID != wid || events[0].ID == "" || values[0] != `c-7 {"bill":"b-1"}` {
			t.Errorf("events: %+v %v", events, values)
		}
		for _, kind := range []string{"signalled", "signal-used", "child-started", "child-ended", "emitted"} {
			if !slices.Contains(r.kinds(wid), kind) {
				t.Errorf("no fact %s in %v", kind, r.kinds(wid))
			}
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letter: %+v", d[0].why)
		}
	})
}

// TestSignalBeforeStart: a signal that has time waits for its start; one that has none is a dead letter.
func TestSignalBeforeStart(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.trips()
		r.signal("trip/1", "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		r.ends("trip/1", "mailbox", often)
		r.signal("trip/1", "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h") // the same again
		r.trip("1")
		r.ends("trip/1", "completed", often)
		r.signal("trip/2", "paid", "s-1", map[string]any{"amount": 100})
		r.until("the second is a dead letter", often, func() bool { return len(r.deadLetters()) == 1 })
		equal(t, "class", r.deadLetters()[0].why.Class, "UNMATCHED_SIGNAL")
	})
}

// TestMailboxExpires: nobody starts it. What comes to the dead letters can be sent again as it is.
func TestMailboxExpires(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.trips()
		r.signal("trip/1", "paid", "s-1", map[string]any{"amount": 100}, "ttl", "10m")
		r.until("its time is over", time.Second, func() bool { return len(r.deadLetters()) == 1 })
		d := r.deadLetters()[0]
		equal(t, "class", d.why.Class, "UNMATCHED_SIGNAL")
		msg, err := protocol.DecodeIntake(d.rec.Key, d.rec.Value, d.why.Original)
		s, isSignal := msg.(*protocol.Signal)
		if err != nil || !isSignal || s.Name != "paid" || s.SignalID != "s-1" || string(s.Payload) != `{"amount":100}` {
			t.Errorf("the dead letter holds %+v, %v", msg, err)
		}
		// The store follows the commit that the dead letter is of.
		r.until("the mailbox is gone", time.Second, func() bool { _, ok := r.get("trip/1"); return !ok })
	})
}

// TestChildFails: the parent hears why and turns round.
func TestChildFails(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "charge", func(protocol.Command, []byte, int) *answer { return no("OVER_LIMIT") })
		src, topics, events := r.tripSagas()
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		v := r.ends(wid, "compensated", often)
		r.ends("bill/of-1", "compensated", often)
		if !strings.Contains(v.Cause, "bill") || r.people.sent("undo release", wid) != 1 {
			t.Errorf("cause %q, commands %v", v.Cause, r.people.heard())
		}
		if list, _ := r.events(events); len(list) != 0 {
			t.Errorf("events: %+v", list)
		}
	})
}

// TestChildIsReversed: the child has completed, and its parent takes it back.
func TestChildIsReversed(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "ticket", func(protocol.Command, []byte, int) *answer { return no("SOLD_OUT") })
		r.trips()
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		r.ends(wid, "compensated", often)
		v := r.ends("bill/of-1", "compensated", often)
		if v.Cause != "parent" || r.people.sent("undo refund", "bill/of-1") != 1 {
			t.Errorf("cause %q, commands %v", v.Cause, r.people.heard())
		}
	})
}

// TestChildIsCancelled: the parent is cancelled while its child runs.
func TestChildIsCancelled(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "charge", func(protocol.Command, []byte, int) *answer { return silence() })
		src, topics, _ := r.tripSagas()
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		r.until("charge was sent", often, func() bool { return r.people.sent("do charge", "bill/of-1") > 0 })
		r.intake(wid, map[string]any{"kind": "cancel", "type": "trip", "id": "1", "requestId": "q", "reason": "ill", "actor": "test"})
		r.ends("bill/of-1", "compensated", often)
		r.ends(wid, "compensated", often)
	})
}

// TestChildCannotStart: its definition is unknown, or its workflow ID belongs to another run.
func TestChildCannotStart(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.trips()
		r.begin("bill", "of-1", map[string]any{"amount": 1}) // somebody else's
		r.ends("bill/of-1", "completed", often)
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		v := r.ends(wid, "compensated", often)
		if !strings.Contains(v.Cause, "bill") {
			t.Errorf("cause %q", v.Cause)
		}
		// An id that no instance can have.
		bad := r.begin("trip", "2", map[string]any{"amount": 100, "bill": "a\u0001b", "customer": "c"})
		r.signal(bad, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		r.ends(bad, "compensated", often)
	})
}

// TestEventTopicMissing: the topic of a domain event is gone. What would publish to it waits and the
// partition goes on; when the topic is back the event is published, once.
func TestEventTopicMissing(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.cfg.Partitions = 1
		topic := r.trips()
		ctx, cancel := r.c.Context()
		defer cancel()
		if _, err := r.c.Admin().DeleteTopic(ctx, topic); err != nil {
			t.Fatal(err)
		}
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		r.until("the event waits", time.Second, func() bool {
			v, ok := r.get(wid)
			return ok && len(v.Waiting) == 1 && v.Waiting[0].Topic == topic
		})
		other := r.begin("bill", "other", map[string]any{"amount": 1})
		r.ends(other, "completed", time.Second)

		r.c.CreateTopic(topic, 1, nil)
		r.ends(wid, "completed", time.Second)
		if list, _ := r.events(topic); len(list) != 1 {
			t.Errorf("events: %+v", list)
		}
		if len(r.deadLetters()) > 0 {
			t.Errorf("dead letter: %+v", r.deadLetters()[0].why)
		}
	})
}

// TestChildOfNobody: a child whose definition is not known is rejected in the end, and its parent hears why.
func TestChildOfNobody(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		// The definition of the child is not published: it waits, and then its parent hears of it.
		src, topics, _ := r.tripSagas()
		trip, _, _ := strings.Cut(src, "---")
		r.apply(trip)
		r.people.serve(topics[0])
		r.start()
		r.ready()
		wid := r.trip("1")
		r.signal(wid, "paid", "s-1", map[string]any{"amount": 100}, "ttl", "1h")
		v := r.ends(wid, "compensated", time.Second)
		if !strings.Contains(v.Cause, "UNKNOWN_DEFINITION") {
			t.Errorf("cause %q", v.Cause)
		}
		// What is on the dead-letter topic is the start as it was, for the topic where it belongs.
		d := r.deadLetters()
		if len(d) != 1 {
			t.Fatalf("%d dead letters", len(d))
		}
		msg, err := protocol.DecodeControl(d[0].rec.Key, d[0].rec.Value, d[0].why.Original)
		s, isStart := msg.(*protocol.Start)
		if err != nil || !isStart || s.Parent == nil || s.Parent.WorkflowID != wid || s.Parent.Path != "bill" || !s.Parent.Reversible || d[0].why.Topic != r.topics.Control {
			t.Errorf("the dead letter holds %+v for %s, %v", msg, d[0].why.Topic, err)
		}
	})
}

// approvalSaga asks two people, neither of whom may be the one who asked.
func (r *rig) approvalSaga() (src string, topics []string) {
	desk := r.c.Name("desk")
	return fmt.Sprintf(`
saga: wire
version: 1
participants:
  desk: {ops: [do, undo], topic: cmd.%s}
steps:
  - id: hold
    call: desk.hold
    attempt: 5s
    within: 10m
    undo: {call: desk.release}
  - id: signoff
    approve: {roles: [treasury], not: '=[input.createdBy]', quorum: 2, within: 24h, onTimeout: fail}
  - id: send
    call: desk.send
    attempt: 5s
    within: 10m
    undo: {call: desk.recall}
output:
  by: '=step.signoff.?actor'
`, desk), []string{"cmd." + desk}
}

func (r *rig) decide(wid, path, operator, decision string) {
	r.t.Helper()
	r.controlAs(wid, operator, `"action":"signal","args":{"name":"decision/`+path+`","payload":{"decision":"`+decision+`","comment":"c"}}`)
}

// controlAs writes an operator action.
func (r *rig) controlAs(wid, operator, rest string) {
	r.t.Helper()
	typ, id := sagas.SplitWorkflowID(wid)
	r.c.Produce(&kgo.Record{Topic: r.topics.Control, Key: []byte(wid),
		Value: []byte(`{"kind":"admin","type":"` + typ + `","id":"` + id + `","operator":"` + operator + `","reason":"test",` + rest + `}`)})
}

// TestFourEyes: decisions count on the control topic only, once per person, and not of the one who asked.
func TestFourEyes(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, topics := r.approvalSaga()
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.begin("wire", "1", map[string]any{"createdBy": "ann"})
		r.step(wid, "signoff", "OPEN")
		r.signal(wid, "decision/signoff", "x", map[string]any{"decision": "approve"}, "actor", "bob") // anybody could say so
		r.until("it is a dead letter", often, func() bool { return len(r.deadLetters()) == 1 })
		for _, who := range []string{"ann", "bob", "bob"} {
			r.decide(wid, "signoff", who, "approve")
		}
		dropped := func() (n int) {
			for _, k := range r.facts(wid) {
				if k == "signal-dropped" {
					n++
				}
			}
			return n
		}
		r.until("two of them do not count", often, func() bool { return dropped() == 2 })
		r.step(wid, "signoff", "OPEN")
		r.decide(wid, "signoff", "cid", "approve")
		v := r.ends(wid, "completed", often)
		equal(t, "output", string(v.Output), `{"by":"cid"}`)

		no := r.begin("wire", "2", map[string]any{"createdBy": "ann"})
		r.step(no, "signoff", "OPEN")
		r.decide(no, "signoff", "bob", "refuse")
		if v := r.ends(no, "compensated", often); !strings.Contains(v.Cause, "DECLINED") {
			t.Errorf("cause %q", v.Cause)
		}
	})
}

// TestOperator: what an operator can do for an instance, over the control topic.
func TestOperator(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "capture", func(c protocol.Command, _ []byte, _ int) *answer {
			if strings.HasSuffix(c.WorkflowID, "resolved") {
				return &answer{outcome: protocol.OutcomeFailedFatal}
			}
			return ok("{}")
		})
		r.running()
		resolved := r.begin("order", "resolved", map[string]any{"amount": 1})
		r.until("it needs a person", often, func() bool { v, _ := r.get(resolved); return v.Status == "attention" })
		v, _ := r.get(resolved)
		r.control(resolved, fmt.Sprintf(`"action":"resolve","path":"capture","args":{"effect":"done"},"expectRev":%d`, v.Rev-1)) // too old
		r.control(resolved, fmt.Sprintf(`"action":"resolve","path":"capture","args":{"effect":"done"},"requestId":"q-1","expectRev":%d`, v.Rev))
		r.ends(resolved, "completed", often)
		if n := strings.Count(strings.Join(r.facts(resolved), " "), "operator"); n != 1 {
			t.Errorf("%d actions were taken: %v", n, r.facts(resolved))
		}

		r.people.on("do", "authorise", func(protocol.Command, []byte, int) *answer { return silence() })
		still := r.begin("order", "suspended", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", still) > 0 })
		r.control(still, `"action":"suspend"`)
		r.until("it is suspended", often, func() bool { return slices.Contains(r.facts(still), "operator") })
		r.control(still, `"action":"resume"`)
		r.control(still, `"action":"compensate"`)
		if v := r.ends(still, "compensated", often); v.Cause != "operator" {
			t.Errorf("cause %q", v.Cause)
		}
	})
}

// TestReuseAndContinue: the next run of a workflow ID. One that is reused takes the active version, one
// that continues keeps its own.
func TestReuseAndContinue(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		job := r.c.Name("job")
		src := func(version int) string {
			return fmt.Sprintf(`
saga: period
version: %d
reuse: always
participants:
  job: {ops: [do, undo], topic: cmd.%s}
steps:
  - {id: run, call: job.run%d, kind: readonly, attempt: 5s, within: 1m}
  - id: more
    choose:
      - when: '=input.n < 2'
        do:
          - {id: next, continue: {input: {n: '=input.n + 1'}}}
      - else: []
output: {n: '=input.n'}
`, version, job, version)
		}
		r.apply(src(1))
		r.people.serve("cmd." + job)
		r.start()
		r.ready()
		gate := make(chan struct{})
		r.people.on("do", "run1", func(protocol.Command, []byte, int) *answer { <-gate; return ok("{}") })
		wid := r.begin("period", "1", map[string]any{"n": 0})
		r.step(wid, "run", "PENDING")
		r.apply(src(2)) // while the first run is under way
		close(gate)
		r.until("the third run has ended", often, func() bool { v, _ := r.get(wid); return v.Phase == "completed" && v.Run == 3 })
		v, _ := r.get(wid)
		equal(t, "output", string(v.Output), `{"n":2}`)
		if v.Version != 1 || r.people.sent("do run1", wid) != 3 {
			t.Errorf("version %d, commands %v", v.Version, r.people.heard())
		}
		r.begin("period", "1", map[string]any{"n": 5})
		r.until("the fourth run has ended", often, func() bool { v, _ := r.get(wid); return v.Phase == "completed" && v.Run == 4 })
		if v, _ := r.get(wid); v.Version != 2 || r.people.sent("do run2", wid) != 1 {
			t.Errorf("version %d, commands %v", v.Version, r.people.heard())
		}
	})
}

// TestFiveYears: a wait far beyond any retention. The process is away for most of it.
func TestFiveYears(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.unhurried()
		r.cfg.InstanceID = "a"
		r.cfg.Partitions = 1
		job := r.c.Name("job")
		r.apply(fmt.Sprintf(`
saga: lease
version: 1
participants:
  job: {ops: [do], topic: cmd.%s}
steps:
  - {id: wait, sleep: {for: 1826d}}
  - {id: end, call: job.end, kind: readonly}
`, job))
		r.start()
		r.ready()
		begun := time.Now()
		wid := r.begin("lease", "1", map[string]any{})
		r.step(wid, "wait", "OPEN")
		const years, month = 1826 * 24 * time.Hour, 30 * 24 * time.Hour
		time.Sleep(month)
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(years - 2*month) // nobody is there: virtual years of idle clients take minutes
		r.people.serve("cmd." + job)
		r.start()
		r.ready()
		time.Sleep(month - 24*time.Hour)
		if v, _ := r.get(wid); v.Phase != "running" {
			t.Errorf("it is %s a day early", v.Phase)
		}
		r.ends(wid, "completed", 12*time.Hour)
		if took := time.Since(begun); took < years {
			t.Errorf("completed after %v", took)
		}
	})
}

// TestTenThousandSignals: one instance takes them all, each once.
func TestTenThousandSignals(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; under the race detector (-short) it takes long")
	}
	virtual(t, func(t *testing.T, r *rig) {
		job := r.c.Name("job")
		r.apply(fmt.Sprintf(`
saga: counter
version: 1
participants:
  job: {ops: [do], topic: cmd.%s}
steps:
  - id: count
    repeat: {rounds: 20000, until: '=step.got.last == true'}
    do:
      - {id: got, await: {signal: tick, within: 30d, onTimeout: fail}, keep: [n, last]}
  - {id: end, call: job.end, kind: readonly}
output: {n: '=step.got.?n'}
`, job))
		r.people.serve("cmd." + job)
		r.start()
		r.ready()
		wid := r.begin("counter", "1", map[string]any{})
		const n = 10_000
		recs := make([]*kgo.Record, 0, 2*n)
		for i := 1; i <= n; i++ {
			body, err := json.Marshal(map[string]any{"kind": "signal", "type": "counter", "id": "1", "name": "tick", "signalId": fmt.Sprint(i),
				"payload": map[string]any{"n": i, "last": i == n}})
			if err != nil {
				t.Fatal(err)
			}
			rec := kgo.Record{Topic: r.topics.Intake, Key: []byte(wid), Value: body}
			twice := rec
			recs = append(recs, &rec, &twice)
		}
		r.step(wid, "count", "OPEN")
		r.c.Produce(recs...)
		v := r.ends(wid, "completed", time.Second)
		equal(t, "output", string(v.Output), fmt.Sprintf(`{"n":%d}`, n))
		used := 0
		for _, k := range r.kinds(wid) {
			if k == "signal-used" {
				used++
			}
		}
		if used != n {
			t.Errorf("%d signals were used", used)
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("%d dead letters: %+v", len(d), d[0].why)
		}
	})
}
