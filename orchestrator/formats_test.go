package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/schema"
)

// registry is a schema registry in memory that can be cut off.
type registry struct {
	t    *testing.T
	fake *srfake.Registry
	down atomic.Bool
	url  *schema.Registry
}

func newRegistry(t *testing.T) *registry {
	r := &registry{t: t, fake: srfake.NewRegistry()}
	var err error
	if r.url, err = schema.NewRegistry(schema.RegistryConfig{URLs: []string{"http://registry.example"}, Transport: r}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *registry) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.down.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	r.fake.Handler().ServeHTTP(w, req)
	return w.Result(), nil
}

func (r *registry) put(subject, text string) byte {
	id, _, err := r.fake.RegisterSchema(subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
	if err != nil {
		r.t.Fatal(err)
	}
	return byte(id)
}

const (
	payText = `{"type":"record","name":"Pay","namespace":"psp","fields":[{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"note","type":["null","string"],"default":null}]}`
	// a participant that wants a field which the saga does not set
	strictText = `{"type":"record","name":"Pay","namespace":"psp","fields":[{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"currency","type":"string"}]}`
	paidText   = `{"type":"record","name":"Paid","namespace":"psp","fields":[{"name":"ref","type":["null","string"]}]}`
)

// paySaga has one participant that takes Avro.
func (r *rig) paySaga() (src, topic string) {
	topic = r.c.Name("cmd.psp")
	return fmt.Sprintf(`
saga: pay
version: 1
deadline: 4h
participants: {psp: {ops: [do], topic: %s, format: avro, schema: {command: psp.Pay}}}
steps:
  - {id: pay, call: psp.pay, kind: pivot, with: {amount: =input.amount}, keep: [ref], attempt: 10s, within: none, retry: {attempts: 50, backoff: 10s, max: 10s}, onUnknown: attention}
output: {ref: =step.pay.?ref}
`, topic), topic
}

// avroFlow starts a namespace with that saga and a participant that answers with reply.
func (r *rig) avroFlow(reg *registry, reply func() *answer) (topic string) {
	src, topic := r.paySaga()
	r.cfg.Codec = schema.New(schema.Config{Registry: reg.url})
	r.apply(src)
	r.people.on("do", "pay", func(_ protocol.Command, _ []byte, _ int) *answer { return reply() })
	r.people.serve(topic)
	r.start()
	r.ready()
	return topic
}

// TestAvroParticipant: a command goes out as Avro, its answer comes back as Avro.
func TestAvroParticipant(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		src, topic := r.paySaga()
		id := reg.put(topic+"-value", payText)
		paid := reg.put("paid", paidText)
		codec := schema.New(schema.Config{Registry: reg.url})
		r.cfg.Codec = codec
		r.apply(src)
		var got atomic.Value
		r.people.on("do", "pay", func(cmd protocol.Command, payload []byte, _ int) *answer {
			value, f, err := codec.Decode(context.Background(), topic, nil, payload)
			if err != nil || f.Name != "psp.Pay" || f.Framing != schema.Prefix || byte(f.ID) != id || cmd.ContentType != protocol.ContentAvro {
				t.Errorf("command %x, %+v, %s: %v", payload, f, cmd.ContentType, err)
			}
			got.Store(string(value))
			return &answer{outcome: protocol.OutcomeOK, value: append([]byte{0, 0, 0, 0, paid, 2, 6}, "r-1"...)}
		})
		r.people.serve(topic)
		r.start()
		r.ready()
		wid := r.begin("pay", "a", map[string]any{"amount": "12.50"})
		v := r.ends(wid, "completed", 50*time.Millisecond)
		if string(v.Output) != `{"ref":"r-1"}` || got.Load() != `{"amount":"12.50","note":null}` {
			t.Errorf("output %s, command %v", v.Output, got.Load())
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

// TestRegistryDownForAWhile: the registry is away for 30 s before anybody has asked it. Starts wait and nothing is lost.
func TestRegistryDownForAWhile(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		paid := reg.put("paid", paidText)
		reg.down.Store(true)
		topic := r.avroFlow(reg, func() *answer { return &answer{outcome: protocol.OutcomeOK, value: []byte{0, 0, 0, 0, paid, 0}} })
		reg.put(topic+"-value", payText)
		for i := range 8 {
			r.intake(fmt.Sprintf("pay/i%d", i), map[string]any{"type": "pay", "id": fmt.Sprintf("i%d", i), "input": map[string]any{"amount": "1.00"}})
		}
		r.until("the reason is said", time.Second, func() bool {
			for _, task := range r.tasks() {
				if strings.Contains(task.Reason, "registry does not answer") {
					return true
				}
			}
			return false
		})
		time.Sleep(30 * time.Second)
		if sent := r.people.heard(); len(sent) > 0 {
			t.Errorf("sent without a schema: %v", sent)
		}
		reg.down.Store(false)
		for i := range 8 {
			wid := fmt.Sprintf("pay/i%d", i)
			r.ends(wid, "completed", time.Second)
			if n := r.people.sent("do pay", wid); n != 1 {
				t.Errorf("%s was sent %d times", wid, n)
			}
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

// TestCommandDoesNotFit: the schema of the participant wants what the definition does not set. The instance asks for a person,
// others go on, and when the schema is one that fits, the next attempt goes out.
func TestCommandDoesNotFit(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		paid := reg.put("paid", paidText)
		_, topic := r.paySaga()
		reg.put(topic+"-value", strictText)
		r.avroFlow(reg, func() *answer { return &answer{outcome: protocol.OutcomeOK, value: []byte{0, 0, 0, 0, paid, 0}} })
		wid := r.begin("pay", "a", map[string]any{"amount": "12.50"})
		r.until("it asks for a person", time.Second, func() bool {
			v, _ := r.get(wid)
			return len(v.Attention) == 1 && strings.Contains(fmt.Sprint(v.Attention[0]), "ENCODING") && strings.Contains(fmt.Sprint(v.Attention[0]), "currency")
		})
		time.Sleep(time.Minute)
		if n := r.people.sent("do pay", wid); n != 0 {
			t.Errorf("%d commands were sent", n)
		}
		reg.put(topic+"-value", payText)
		v := r.ends(wid, "completed", time.Second)
		if len(v.Attention) > 0 {
			t.Errorf("it still asks for a person: %v", v.Attention)
		}
		var seq uint64
		for _, f := range r.lifecycle(wid) {
			if f.Seq != seq+1 {
				t.Errorf("fact %s has the number %d after %d", f.Kind, f.Seq, seq)
			}
			seq = f.Seq
		}
		if k := strings.Join(r.kinds(wid), " "); strings.Count(k, "attention-cleared") != 1 || strings.Count(k, "attention") != 2 {
			t.Errorf("facts: %s", k)
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

// TestHostileReplies: a reply whose schema nobody knows, or whose bytes do not fit it, is a dead letter with its reason; the
// partition goes on.
func TestHostileReplies(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		paid := reg.put("paid", paidText)
		_, topic := r.paySaga()
		reg.put(topic+"-value", payText)
		var n atomic.Int32
		r.avroFlow(reg, func() *answer {
			switch n.Add(1) {
			case 1:
				return &answer{outcome: protocol.OutcomeFailedRetriable, value: []byte{0, 0, 0, 0, 99, 0}} // no such schema
			case 2:
				return &answer{outcome: protocol.OutcomeFailedRetriable, value: []byte{0, 0, 0, 0, paid, 2, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F}} // a text of gigabytes
			}
			return &answer{outcome: protocol.OutcomeOK, value: []byte{0, 0, 0, 0, paid, 0}}
		})
		wid := r.begin("pay", "a", map[string]any{"amount": "12.50"})
		r.ends(wid, "completed", time.Second)
		letters := r.deadLetters()
		var why []string
		for _, l := range letters {
			why = append(why, fmt.Sprint(l.why))
		}
		text := strings.Join(why, "\n")
		if len(letters) != 2 || !strings.Contains(text, "does not know the id 99") || !strings.Contains(text, "do not fit the schema psp.Paid") {
			t.Errorf("%d dead letters:\n%s", len(letters), text)
		}
	})
}

// TestAvroEvent: an Avro event starts a saga and its participant speaks Avro.
func TestAvroEvent(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		src, topic := r.paySaga()
		events := r.c.CreateTopic(r.c.Name("orders"), 2, nil)
		reg.put(topic+"-value", payText)
		paid := reg.put("paid", paidText)
		order := reg.put(events+"-value", `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},{"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}`)
		r.cfg.Codec = schema.New(schema.Config{Registry: reg.url})
		r.apply(src + fmt.Sprintf("start: {topic: %s, id: =event.id, input: {amount: =event.total}, from: earliest}\n", events))
		r.people.on("do", "pay", func(protocol.Command, []byte, int) *answer {
			return &answer{outcome: protocol.OutcomeOK, value: append([]byte{0, 0, 0, 0, paid, 2, 6}, "r-9"...)}
		})
		r.people.serve(topic)
		r.start()
		r.ready()
		r.c.Produce(&kgo.Record{Topic: events, Key: []byte("foreign"), Value: append([]byte{0, 0, 0, 0, order, 6}, "o-1\x04\x04\xe2"...)})
		if v := r.ends("pay/o-1", "completed", 50*time.Millisecond); string(v.Output) != `{"ref":"r-9"}` {
			t.Errorf("output %s", v.Output)
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letters: %+v", d[0].why)
		}
	})
}

// TestStartDoesNotFit: a start is checked against the Avro record that its definition names, also as the registry tells
// it after it was away; what does not fit is refused with the reason.
func TestStartDoesNotFit(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		reg := newRegistry(t)
		reg.put("shop.Order", `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"n","type":"int"},{"name":"note","type":["null","string"],"default":null}]}`)
		reg.down.Store(true)
		r.cfg.Codec = schema.New(schema.Config{Registry: reg.url})
		r.apply("saga: fit\nversion: 1\ninput: shop.Order\nsteps:\n  - {id: a, set: {n: =input.n}}\n")
		r.apply("saga: free\nversion: 1\ninput: shop.Unknown\nsteps:\n  - {id: a, set: {n: =input.n}}\n")
		r.start()
		r.ready()
		begin := func(typ, id string, input map[string]any) {
			r.intake(typ+"/"+id, map[string]any{"type": typ, "id": id, "input": input})
		}
		begin("fit", "good", map[string]any{"n": 7})
		begin("fit", "type", map[string]any{"n": "seven"})
		begin("fit", "missing", map[string]any{"note": "x"})
		begin("fit", "more", map[string]any{"n": 7, "m": 8})
		begin("free", "any", map[string]any{"n": "seven"})
		time.Sleep(30 * time.Second)
		if _, there := r.get("fit/good"); there {
			t.Error("a start was taken unchecked while the registry was away")
		}
		reg.down.Store(false)
		r.ends("fit/good", "completed", time.Second)
		r.ends("free/any", "completed", time.Second)
		want := map[string]string{"fit/type": "n: want int, got a text", "fit/missing": "n: it is missing", "fit/more": "m: shop.Order has no such field"}
		r.until("the others are refused", time.Second, func() bool { return len(r.deadLetters()) == len(want) })
		for _, letter := range r.deadLetters() {
			d := letter.why
			if text := want[d.WorkflowID]; text == "" || !strings.Contains(d.Message, text) || d.Class != "INVALID_INPUT" {
				t.Errorf("%s: %s %s", d.WorkflowID, d.Class, d.Message)
			}
			if _, there := r.get(d.WorkflowID); there {
				t.Errorf("%s has begun", d.WorkflowID)
			}
		}
	})
}
