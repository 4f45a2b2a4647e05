package orchestrator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// TestCommandTopicVanishes: what is for a topic that is gone waits, says so, and goes on when the topic
// is back; nobody else notices.
func TestCommandTopicVanishes(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.cfg.Partitions = 1
		src, topics := r.orderSaga()
		r.apply(src)
		r.people.serve(topics[0], topics[2]) // nobody reads the one that vanishes
		r.start()
		r.ready()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool {
			v, ok := r.get(wid)
			return ok && v.Steps[1].State == "PENDING"
		})
		if _, err := r.c.Admin().DeleteTopics(t.Context(), topics[1]); err != nil {
			t.Fatal(err)
		}
		r.until("its next attempt waits", time.Second, func() bool {
			v, ok := r.get(wid)
			return ok && len(v.Waiting) == 1
		})
		v, _ := r.get(wid)
		if w := v.Waiting[0]; w.Path != "auth" || w.Topic != topics[1] || w.Reason == "" || w.Since == 0 || v.Steps[1].State != "BACKOFF" || len(v.Attention) != 0 {
			t.Errorf("it waits as %+v, attention %+v", v.Waiting, v.Attention)
		}
		other := r.begin("order", "2", map[string]any{"amount": 1})
		r.until(other+" waits before its first attempt", time.Second, func() bool {
			v, ok := r.get(other)
			return ok && len(v.Waiting) == 1 && v.Steps[1].State == "READY"
		})
		// A cancel of what was never sent owes nothing there.
		r.intake(other, map[string]any{"kind": "cancel", "type": "order", "id": "2", "requestId": "q", "reason": "test", "actor": "test"})
		r.ends(other, "compensated", time.Second)
		if n := r.people.sent("do authorise", other) + r.people.sent("undo void", other); n != 0 {
			t.Errorf("%d commands to the topic that is gone", n)
		}
		if len(r.deadLetters()) > 0 {
			t.Errorf("dead letter: %+v", r.deadLetters()[0].why)
		}
	})
}

// TestUnknownDefinitionExpires: a start that waited in vain is a dead letter that can be sent again.
func TestUnknownDefinitionExpires(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.start()
		r.ready()
		wid := r.begin("nothing", "1", map[string]any{"amount": 7})
		r.ends(wid, "parked", often)
		r.until("the start is a dead letter", time.Hour, func() bool { return len(r.deadLetters()) == 1 })
		d := r.deadLetters()[0]
		equal(t, "class", d.why.Class, "UNKNOWN_DEFINITION")
		msg, err := protocol.DecodeIntake(d.rec.Key, d.rec.Value, d.why.Original)
		s, ok := msg.(*protocol.Start)
		if err != nil || !ok || s.WorkflowID() != wid || string(s.Input) != `{"amount":7}` {
			t.Errorf("the dead letter is not the start: %+v, %v", msg, err)
		}
	})
}

// TestSignedTokens: with a secret only the one who has seen a command can answer it.
func TestSignedTokens(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.cfg.TokenSecret = []byte("0123456789abcdef")
		r.people.on("do", "authorise", func(protocol.Command, []byte, int) *answer { return silence() })
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", wid) > 0 })
		token := protocol.Token{WorkflowID: wid, Run: 1, Path: "auth", Op: protocol.OpDo, Round: 1, Attempt: 1}.Encode(nil)
		forged := &kgo.Record{Topic: r.topics.Replies, Key: []byte(wid), Value: []byte("{}")}
		for _, h := range (protocol.Reply{Token: token, Outcome: protocol.OutcomeOK}).Headers() {
			forged.Headers = append(forged.Headers, kgo.RecordHeader(h))
		}
		r.c.Produce(forged)
		r.until("the forged reply is a dead letter", often, func() bool { return len(r.deadLetters()) == 1 })
		equal(t, "class", r.deadLetters()[0].why.Class, "BAD_TOKEN")
		if n := r.people.sent("do capture", wid); n != 0 {
			t.Error("the forged reply moved the saga")
		}
	})
}

// TestList shows instances by status and type, page by page.
func TestList(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.people.on("do", "capture", func(c protocol.Command, _ []byte, _ int) *answer {
			if c.WorkflowID == "order/2" {
				return no("OVER_LIMIT")
			}
			return ok("{}")
		})
		r.running()
		for _, id := range []string{"1", "2", "3"} {
			r.begin("order", id, map[string]any{"amount": 1})
		}
		r.begin("nothing", "1", map[string]any{})
		r.ends("order/1", "completed", often)
		r.ends("order/2", "compensated", often)
		r.ends("order/3", "completed", often)
		r.ends("nothing/1", "parked", often)
		for _, c := range []struct {
			status, typ string
			want        []string
		}{
			{"", "", []string{"nothing/1", "order/1", "order/2", "order/3"}},
			{"completed", "", []string{"order/1", "order/3"}},
			{"completed", "nothing", nil},
			{"compensated", "order", []string{"order/2"}},
			{"parked", "", []string{"nothing/1"}},
			{"", "order", []string{"order/1", "order/2", "order/3"}},
			{"", "orde", nil},
			{"attention", "", nil},
		} {
			for _, limit := range []int{1, 2, 10} {
				var got []string
				f := filter(c.status, c.typ, limit)
				for {
					page, err := r.o.List(f)
					if err != nil {
						t.Fatal(err)
					}
					if len(page.Instances) > limit {
						t.Errorf("a page of %d with limit %d", len(page.Instances), limit)
					}
					for _, row := range page.Instances {
						got = append(got, row.WorkflowID)
					}
					if f.Cursor = page.Next; f.Cursor == "" {
						break
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("status %q, type %q, limit %d: %v, want %v", c.status, c.typ, limit, got, c.want)
				}
			}
		}
	})
}
