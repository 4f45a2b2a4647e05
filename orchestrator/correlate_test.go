package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// tripSaga waits for the airline's event about its booking, and pays a bank that answers by events.
func tripSaga(air, bank, airEvents, bankEvents string) string {
	return fmt.Sprintf(`
saga: trip
version: 1
deadline: 30d
participants:
  air: {topic: cmd.%s}
  bank: {topic: cmd.%s, correlate: {topic: %s, match: =event.ref, outcome: =event.outcome, code: =event.?code.orValue("")}}
steps:
- {id: seats, call: air.hold, with: {pnr: =input.pnr}, keep: [pnr], attempt: 5s, undo: {call: air.drop}}
- id: confirmed
  await: {topic: %s, when: '=event.status == "OK"', match: =event.pnr, equals: =step.seats.pnr, ttl: 3s}
  keep: [gate]
- {id: pay, call: bank.pay, keep: [receipt], attempt: 1h, within: 2h, undo: {call: bank.refund, attempt: 1h}}
output: {gate: =step.confirmed.gate, receipt: =step.pay.receipt}
`, air, bank, bankEvents, airEvents)
}

// TestCorrelation: an event that knows a booking code comes to the saga that waits for it, whether it is there
// before, during or after the await; a participant that cannot echo a token answers by events; an early event
// that nobody waits for in its time becomes a dead letter with its reason.
func TestCorrelation(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		air, bank := r.c.Name("air"), r.c.Name("bank")
		airEvents := r.c.CreateTopic(r.c.Name("air.events"), 3, nil)
		bankEvents := r.c.CreateTopic(r.c.Name("bank.events"), 2, nil)
		r.apply(tripSaga(air, bank, airEvents, bankEvents))
		hold := make(chan struct{}) // commands of the booking that is late wait for it
		r.people.on("do", "hold", func(_ protocol.Command, payload []byte, _ int) *answer {
			if strings.Contains(string(payload), "LATE") {
				select {
				case <-hold:
				default:
					return retry("BUSY")
				}
			}
			return ok(string(payload))
		})
		r.people.on("do", "pay", func(cmd protocol.Command, _ []byte, _ int) *answer {
			r.c.Produce(&kgo.Record{Topic: bankEvents, Key: []byte("any"), Value: fmt.Appendf(nil, `{"ref":"%s","outcome":"ok","receipt":"R"}`, cmd.Key)})
			return silence()
		})
		r.people.serve("cmd."+air, "cmd."+bank)
		r.start()
		r.ready()
		rules := 0
		r.until("the topics of events are read", 20*time.Millisecond, func() bool {
			rules = 0
			list, err := r.o.Bindings(t.Context())
			for _, b := range list {
				if err == nil && b.Action == "correlate" && b.Tasks > 0 {
					rules++
				}
			}
			return rules == 2
		})
		event := func(id, pnr, status string) {
			r.c.Produce(&kgo.Record{Topic: airEvents, Key: []byte("gate"), Value: fmt.Appendf(nil, `{"pnr":"%s","status":"%s","gate":"%s"}`, pnr, status, id),
				Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte(id)}, {Key: "ce_source", Value: []byte("air")}}})
		}
		check := func(wid, gate string) {
			t.Helper()
			v := r.ends(wid, "completed", 20*time.Millisecond)
			equal(t, "output of "+wid, string(v.Output), `{"gate":"`+gate+`","receipt":"R"}`)
		}
		waits := func(wid string) {
			t.Helper()
			r.until(wid+" waits for its event", 20*time.Millisecond, func() bool {
				v, ok := r.get(wid)
				return ok && len(v.Steps) > 1 && v.Steps[1].State == "OPEN"
			})
		}

		// After: the await is open. What does not meet the condition is not for it, and a repetition is nothing.
		after := r.begin("trip", "after", map[string]any{"pnr": "AFTER"})
		waits(after)
		event("a0", "AFTER", "WAITLIST")
		event("a1", "AFTER", "OK")
		event("a1", "AFTER", "OK")
		check(after, "a1")

		// During: at once with the start.
		event("d1", "DURING", "OK")
		check(r.begin("trip", "during", map[string]any{"pnr": "DURING"}), "d1")

		// Before: the event is long there when the await opens; two instances of one value get one event each.
		late := r.begin("trip", "late", map[string]any{"pnr": "LATE"})
		event("b1", "LATE", "OK")
		close(hold)
		check(late, "b1")
		one, two := r.begin("trip", "one", map[string]any{"pnr": "SHARED"}), r.begin("trip", "two", map[string]any{"pnr": "SHARED"})
		waits(one)
		waits(two)
		event("s1", "SHARED", "OK")
		check(one, "s1")
		check(two, "s1")

		// Nobody: past its time it is a dead letter with its reason.
		event("n1", "NOBODY", "OK")
		var dead []deadLetter
		r.until("the event is a dead letter", 100*time.Millisecond, func() bool {
			dead = r.deadLetters()
			return len(dead) > 0
		})
		if len(dead) != 1 || dead[0].why.Class != "EXPIRED" || dead[0].why.Topic != r.topics.Correlation || string(dead[0].rec.Value) != `{"gate":"n1","pnr":"NOBODY","status":"OK"}` ||
			!strings.Contains(dead[0].why.Message, "event "+airEvents+"/") {
			t.Errorf("dead letters %+v", dead)
		}

		// Sent again from the dead letters, it comes to whoever waits by now.
		nobody := r.begin("trip", "nobody", map[string]any{"pnr": "NOBODY"})
		waits(nobody)
		letter, err := r.o.Letter(t.Context(), dead[0].rec.Offset)
		if err != nil || letter.Kind != "event" || letter.From.Topic != r.topics.Correlation {
			t.Fatalf("letter %+v, %v", letter, err)
		}
		if again, err := r.o.Replay(t.Context(), letter.Offset, orchestrator.Replay{By: "ann", Reason: "it waits now"}); err != nil || again.Kind != "event" {
			t.Fatalf("sent again: %+v, %v", again, err)
		}
		check(nobody, "n1")
	})
}

// TestCorrelationAgain: an event that could not be read is a dead letter of its binding; edited and sent again it
// comes to everybody who waits for one of its values.
func TestCorrelationAgain(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		topic := r.c.CreateTopic("air.events", 1, nil)
		for _, saga := range []string{"seat", "gate"} {
			r.apply(fmt.Sprintf(`
saga: %[1]s
version: 1
deadline: 30d
steps:
- {id: told, await: {topic: %[2]s, match: =event.%[1]s, equals: =input.value}}
`, saga, topic))
		}
		r.start()
		r.ready()
		seat, gate := r.begin("seat", "s", map[string]any{"value": "12A"}), r.begin("gate", "g", map[string]any{"value": "B7"})
		for _, wid := range []string{seat, gate} {
			r.until(wid+" waits", 20*time.Millisecond, func() bool {
				v, ok := r.get(wid)
				return ok && len(v.Steps) == 1 && v.Steps[0].State == "OPEN"
			})
		}
		r.until("the topic of events is read", 20*time.Millisecond, func() bool {
			list, err := r.o.Bindings(t.Context())
			return err == nil && len(list) == 1 && list[0].Tasks > 0
		})
		r.c.Produce(&kgo.Record{Topic: topic, Value: []byte(`{"seat":`)})
		var dead []deadLetter
		r.until("the event is a dead letter", 100*time.Millisecond, func() bool {
			dead = r.deadLetters()
			return len(dead) > 0
		})
		again := orchestrator.Replay{Value: []byte(`{"seat":"12A","gate":"B7"}`), By: "ann", Reason: "cut off"}
		if _, err := r.o.Replay(t.Context(), dead[0].rec.Offset, again); err != nil {
			t.Fatal(err)
		}
		r.ends(seat, "completed", 20*time.Millisecond)
		r.ends(gate, "completed", 20*time.Millisecond)
	})
}
