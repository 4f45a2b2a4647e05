package orchestrator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

const often = 20 * time.Millisecond

func TestCompletes(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1500})
		v := r.ends(wid, "completed", often)
		equal(t, "output", string(v.Output), `{"ref":"r-1"}`)
		equal(t, "commands", r.people.heard(), []string{
			"do reserve order/1#1", "do authorise order/1#1", "do capture order/1#1", "do create order/1#1",
		})
		kinds := r.kinds(wid)
		if len(kinds) == 0 || kinds[0] != "started" || kinds[len(kinds)-1] != "completed" || !slices.Contains(kinds, "committed") {
			t.Errorf("lifecycle: %v", kinds)
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

func TestRefusedIsCompensated(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "capture", func(protocol.Command, []byte, int) *answer { return no("OVER_LIMIT") })
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 999999})
		v := r.ends(wid, "compensated", often)
		if len(v.Obligations) > 0 {
			t.Errorf("obligations are left: %+v", v.Obligations)
		}
		equal(t, "commands", r.people.heard(), []string{
			"do reserve order/1#1", "do authorise order/1#1", "do capture order/1#1",
			"undo void order/1#1", "undo release order/1#1",
		})
	})
}

func TestSilentParticipantIsAskedAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "authorise", func(_ protocol.Command, _ []byte, n int) *answer {
			if n == 1 {
				return silence()
			}
			return ok("{}")
		})
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "completed", often)
		if n := r.people.sent("do authorise", wid); n != 2 {
			t.Errorf("authorise was sent %d times, want 2", n)
		}
	})
}

func TestCancel(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "authorise", func(protocol.Command, []byte, int) *answer { return retry("BUSY") })
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", wid) > 0 })
		r.intake(wid, map[string]any{"kind": "cancel", "type": "order", "id": "1", "requestId": "q", "reason": "withdrawn", "actor": "test"})
		v := r.ends(wid, "compensated", often)
		if len(v.Obligations) > 0 {
			t.Errorf("obligations are left: %+v", v.Obligations)
		}
		if r.people.sent("undo release", wid) != 1 || r.people.sent("do capture", wid) != 0 {
			t.Errorf("commands: %v", r.people.heard())
		}
	})
}

func TestUnknownDefinitionWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, topics := r.orderSaga()
		r.start()
		r.ready()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "parked", often)
		r.apply(src)
		r.people.serve(topics...)
		r.ends(wid, "completed", often)
	})
}

func TestDefinitionArrivesWhileDown(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, topics := r.orderSaga()
		r.start()
		r.ready()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "parked", often)
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		r.ends(wid, "completed", often)
	})
}

func TestDuplicateStart(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "completed", often)
		r.begin("order", "1", map[string]any{"amount": 2})
		r.until("the conflict is a dead letter", often, func() bool { return len(r.deadLetters()) == 1 })
		equal(t, "class", r.deadLetters()[0].why.Class, "CONFLICT")
		if n := r.people.sent("do capture", wid); n != 1 {
			t.Errorf("capture was sent %d times", n)
		}
	})
}

// TestCancelBeforeStart: a cancel that overtakes its start forbids it.
func TestCancelBeforeStart(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		r.intake("order/1", map[string]any{"kind": "cancel", "type": "order", "id": "1", "requestId": "q", "reason": "changed my mind", "actor": "test"})
		r.ends("order/1", "void", often)
		r.begin("order", "1", map[string]any{"amount": 1})
		r.until("the start is refused", often, func() bool { return slices.Contains(r.kinds("order/1"), "rejected") })
		if n := r.people.sent("do reserve", "order/1"); n != 0 {
			t.Errorf("reserve was sent %d times", n)
		}
	})
}

// TestClose: an operator ends an instance that nobody can finish.
func TestClose(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "authorise", func(protocol.Command, []byte, int) *answer { return silence() })
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", wid) > 0 })
		r.c.Produce(&kgo.Record{Topic: r.topics.Control, Key: []byte(wid),
			Value: []byte(`{"kind":"admin","type":"order","id":"1","action":"close","operator":"ann","reason":"participant is gone"}`)})
		v := r.ends(wid, "closed", often)
		if !slices.Contains(v.Residue, "auth") || !slices.Contains(v.Residue, "reserve") {
			t.Errorf("residue: %v", v.Residue)
		}
	})
}
