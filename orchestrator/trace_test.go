package orchestrator_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// TestTraces: the spans of a run have the trace of its commands, each command is the child of the event
// that sent it, each answer links to its command, the start to who triggered it; and no payload is in them.
func TestTraces(t *testing.T) {
	const producer, canary = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "canary-4111111111111111"
	virtual(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var spans []orchestrator.Span
		r.cfg.Tracer = func(list []orchestrator.Span) {
			mu.Lock()
			spans = append(spans, list...)
			mu.Unlock()
		}
		src, topics := r.orderSaga()
		r.apply(src)
		r.people.on("do", "reserve", func(protocol.Command, []byte, int) *answer { return ok(`{"ref":"` + canary + `"}`) })
		r.people.on("do", "authorise", func(_ protocol.Command, _ []byte, n int) *answer {
			if n == 1 {
				return retry("BUSY")
			}
			return ok("{}")
		})
		r.people.serve(topics...)
		r.start()
		r.ready()
		r.c.Produce(&kgo.Record{Topic: r.topics.Intake, Key: []byte("order/1"), Value: []byte(`{"type":"order","id":"1","input":{"amount":1,"card":"` + canary + `"}}`),
			Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte(producer)}}})
		r.ends("order/1", "completed", often)
		mu.Lock()
		defer mu.Unlock()

		sent := map[string]bool{} // traceparents of the records
		for _, topic := range topics {
			for _, rec := range r.c.ReadAll(topic) {
				cmd, err := protocol.ParseCommand(headersOf(rec))
				if err != nil {
					t.Fatal(err)
				}
				sent[cmd.Trace] = true
			}
		}
		parent := func(s orchestrator.Span) string {
			return "00-" + hex.EncodeToString(s.TraceID[:]) + "-" + hex.EncodeToString(s.ID[:]) + "-01"
		}
		events, sends, replies := map[[8]byte]bool{}, 0, 0
		for _, s := range spans {
			if !s.Send {
				if events[s.ID] {
					t.Errorf("two events are span %x", s.ID)
				}
				events[s.ID] = true
			}
			if s.WorkflowID != "order/1" || s.Type != "order@1" || s.End.Before(s.Start) {
				t.Errorf("%+v", s)
			}
			switch {
			case s.Send:
				sends++
				if !sent[parent(s)] || !events[s.Parent] {
					t.Errorf("a command's span is not that of its record, or has no parent: %+v", s)
				}
			case s.Event == "start":
				if !slices.Equal(s.Links, []string{producer}) || s.Topic != r.topics.Intake || s.Offset != 0 {
					t.Errorf("start: %+v", s)
				}
			case s.Event == "reply":
				replies++
				if len(s.Links) != 1 || !sent[s.Links[0]] {
					t.Errorf("an answer does not link to its command: %+v", s)
				}
			}
		}
		if sends != len(sent) || sends != 5 || replies != 5 {
			t.Errorf("%d spans of commands, %d of answers, %d commands", sends, replies, len(sent))
		}
		if text := fmt.Sprintf("%+v", spans); strings.Contains(text, canary) {
			t.Error("a span holds a payload")
		}
	})
}
