package orchestrator_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// TestStrangeRecords: whatever is written to our topics ends as a dead letter with a reason, is
// forwarded, or is refused with a fact; and the partition goes on.
func TestStrangeRecords(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		jsonStart := func(id string) []byte { return []byte(`{"type":"order","id":"` + id + `","input":{"amount":1}}`) }
		token := protocol.Token{WorkflowID: "order/nobody", Run: 1, Path: "reserve", Op: protocol.OpDo, Round: 1, Attempt: 1}.Encode(nil)
		reply := func(outcome, value string) *kgo.Record {
			rec := &kgo.Record{Topic: r.topics.Replies, Key: []byte("order/nobody"),
				Headers: []kgo.RecordHeader{{Key: protocol.HeaderToken, Value: []byte(token)}, {Key: protocol.HeaderOutcome, Value: []byte(outcome)}}}
			if value != "" {
				rec.Value = []byte(value)
			}
			return rec
		}
		at := func(topic, key string, value []byte, headers ...kgo.RecordHeader) *kgo.Record {
			rec := &kgo.Record{Topic: topic, Value: value, Headers: headers}
			if key != "" {
				rec.Key = []byte(key)
			}
			return rec
		}
		// A map of 2^30 entries in ten bytes, behind the fingerprint of a schema that is ours.
		bomb, err := protocol.AppendAvro(nil, &protocol.Start{Type: "order", ID: "bomb", Input: []byte("{}"), IssuedAt: 1})
		if err != nil {
			t.Fatal(err)
		}
		avro := func(rec any) []byte {
			b, err := protocol.AppendAvro(nil, rec)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		bomb = append(bomb[:10:10], bytes.Repeat([]byte{0xff}, 9)...)

		dead := map[string]string{} // key -> class
		foreign := kgo.RecordHeader{Key: "theirs", Value: []byte{0, 1, 2}}
		for _, c := range []struct {
			key, class string
			rec        *kgo.Record
		}{
			{"bytes", "MALFORMED", at(r.topics.Intake, "bytes", []byte("\x01\x02\x03"), foreign)},
			{"empty", "MALFORMED", at(r.topics.Intake, "empty", []byte{})},
			{"json", "MALFORMED", at(r.topics.Intake, "json", []byte(`{"type":"order",`))},
			{"field", "MALFORMED", at(r.topics.Intake, "field", []byte(`{"type":"order","id":"x","inptu":{}}`))},
			{"kind", "", at(r.topics.Intake, "kind", []byte(`{"kind":"explode","type":"order","id":"x"}`))},
			{"array", "MALFORMED", at(r.topics.Intake, "array", []byte(`{"type":"order","id":"x","input":[1]}`))},
			{"deep", "", at(r.topics.Intake, "deep", []byte(`{"type":"order","id":"x","input":{"a":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}}`))},
			{"changelog", "INVALID_INPUT", at(r.topics.Intake, "changelog", []byte(`{"type":"order","id":"x","input":{},"replyTo":"`+r.topics.State+`"}`))},
			{"tombstone", "TOMBSTONE", at(r.topics.Intake, "tombstone", nil)},
			{"avro", "", at(r.topics.Intake, "avro", bomb)},
			{"schema", "UNKNOWN_SCHEMA", at(r.topics.Intake, "schema", []byte("\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08rest"))},
			{"registry", "UNKNOWN_SCHEMA", at(r.topics.Intake, "registry", []byte("\x00\x00\x00\x00\x07rest"))},
			{"control", "TOMBSTONE", at(r.topics.Control, "control", nil)},
			{"verb", "UNSUPPORTED", at(r.topics.Control, "order/verb", []byte(`{"kind":"admin","type":"order","id":"verb","action":"migrate","operator":"o","reason":"r"}`))},
			{"argument", "MALFORMED", at(r.topics.Control, "order/x", []byte(`{"kind":"admin","type":"order","id":"x","action":"resolve","path":"auth","operator":"o","reason":"r"}`))},
			{"decision", "UNSUPPORTED", at(r.topics.Intake, "order/x", []byte(`{"kind":"signal","type":"order","id":"x","name":"decision/desk","actor":"boss","payload":{"decision":"approve"}}`))},
			{"forged child", "UNSUPPORTED", at(r.topics.Intake, "order/x", avro(&protocol.ChildDone{Type: "order", ID: "x", Run: 1, Path: "pay", Child: "pay/1", End: protocol.EndCompleted}))},
			{"forged reverse", "UNSUPPORTED", at(r.topics.Intake, "order/x", avro(&protocol.Reverse{Type: "order", ID: "x", Parent: "trip/1", Run: 1, Path: "pay"}))},
			{"forged release", "UNSUPPORTED", at(r.topics.Intake, "order/x", avro(&protocol.ParentClosed{Type: "order", ID: "x", Parent: "trip/1", Run: 1, Path: "pay"}))},
			{"forged parent", "UNSUPPORTED", at(r.topics.Intake, "order/x", avro(&protocol.Start{Type: "order", ID: "x", Input: []byte("{}"), Parent: &protocol.Parent{WorkflowID: "trip/1", Run: 1, Path: "pay"}}))},
			{"start", "UNSUPPORTED", at(r.topics.Control, "order/x", avro(&protocol.Start{Type: "order", ID: "x", Input: []byte("{}")}))},
			{"token", "", at(r.topics.Replies, "token", []byte("{}"))},
			{"forged", "BAD_TOKEN", at(r.topics.Replies, "forged", []byte("{}"), kgo.RecordHeader{Key: protocol.HeaderToken, Value: []byte("AAAA")},
				kgo.RecordHeader{Key: protocol.HeaderOutcome, Value: []byte("ok")})},
			{"orphan", "ORPHAN_REPLY", reply("ok", "{}")},
			{"garbled", "BAD_REPLY", reply("ok", "not json")},
			{"outcome", "BAD_REPLY", reply("perhaps", "{}")},
		} {
			c.rec.Headers = append(c.rec.Headers, kgo.RecordHeader{Key: "case", Value: []byte(c.key)})
			dead[c.key] = c.class
			r.c.Produce(c.rec)
		}
		r.c.Produce(reply("rejected", "")) // nobody knows it and nothing was done: only counted

		// These are fine, however odd they look.
		r.c.Produce(at(r.topics.Intake, "", jsonStart("null-key")))
		r.c.Produce(at(r.topics.Intake, "another key", jsonStart("other-key")))
		for p := range int32(4) {
			r.c.ProduceTo(p, at(r.topics.Intake, "order/everywhere", jsonStart("everywhere"))) // three of them are misplaced
		}
		// An input that no definition makes an instance of.
		big := at(r.topics.Intake, "order/big", []byte(`{"type":"order","id":"big","input":{"a":"`+strings.Repeat("x", 950<<10)+`"}}`))
		big.Headers = append(big.Headers, kgo.RecordHeader{Key: "case", Value: []byte("big")})
		dead["big"] = ""
		r.c.Produce(big)
		// A record that was forwarded once is not forwarded again.
		lost := protocol.Partition([]byte("order/lost"), 4)
		r.c.ProduceTo((lost+1)%4, at(r.topics.Intake, "order/lost", jsonStart("lost"),
			kgo.RecordHeader{Key: protocol.HeaderForwarded, Value: []byte("x/0/0")}, kgo.RecordHeader{Key: "case", Value: []byte("lost")}))
		dead["lost"] = "MISROUTED"

		for _, id := range []string{"null-key", "other-key", "everywhere"} {
			r.ends("order/"+id, "completed", often)
		}
		if n := r.people.sent("do capture", "order/everywhere"); n != 1 {
			t.Errorf("everywhere was captured %d times", n)
		}
		// Every partition goes on.
		for p, left := int32(0), 0; left < 4; p++ {
			id := "after-" + string(rune('a'+p))
			if protocol.Partition([]byte("order/"+id), 4) == int32(left) {
				r.begin("order", id, map[string]any{"amount": 1})
				r.ends("order/"+id, "completed", often)
				left, p = left+1, -1
			}
		}

		r.until("all dead letters are there", often, func() bool { return len(r.deadLetters()) >= len(dead) })
		got := map[string]deadLetter{}
		for _, d := range r.deadLetters() {
			name := ""
			for _, h := range d.why.Original {
				if h.Key == "case" {
					name = string(h.Value)
				}
			}
			if _, twice := got[name]; twice || name == "" {
				t.Errorf("unexpected dead letter %q: %+v", name, d.why)
			}
			got[name] = d
		}
		for name, class := range dead {
			d, ok := got[name]
			if !ok {
				t.Errorf("%s: no dead letter", name)
				continue
			}
			if class != "" && d.why.Class != class || d.why.Class == "" || d.why.Message == "" || d.why.Stage == "" || d.why.Topic == "" {
				t.Errorf("%s: want class %s, got %+v", name, class, d.why)
			}
			t.Logf("%-10s %-9s %-18s %s", name, d.why.Stage, d.why.Class, d.why.Message)
		}
		if d := got["bytes"]; d.rec != nil {
			if string(d.rec.Key) != "bytes" || string(d.rec.Value) != "\x01\x02\x03" || !bytes.Equal(d.why.Original[0].Value, foreign.Value) {
				t.Errorf("a dead letter is not the record byte for byte: %q %q", d.rec.Key, d.rec.Value)
			}
		}
	})
}

// TestResultTopicMissing: the topic for the result is the producer's choice; when it does not exist the
// saga ends all the same, and the result comes when it does.
func TestResultTopicMissing(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		topic := r.c.Name("nowhere")
		r.intake("order/1", map[string]any{"type": "order", "id": "1", "input": map[string]any{"amount": 1}, "replyTo": topic})
		r.ends("order/1", "completed", often)
		r.until("the result waits", often, func() bool {
			v, _ := r.get("order/1")
			return len(v.Waiting) == 1 && v.Waiting[0].Path == "" && v.Waiting[0].Topic == topic
		})
		r.c.CreateTopic(topic, 1, nil)
		if recs := r.c.Consume(topic, 1); string(recs[0].Key) != "order/1" {
			t.Errorf("result of %s", recs[0].Key)
		}
		r.until("nothing waits", often, func() bool { return len(r.o.Destinations()) == 0 })
	})
}
