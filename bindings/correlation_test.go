package bindings

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

func correlations(t *testing.T, sources ...string) []*Correlation {
	t.Helper()
	var plans []*sagas.Plan
	for _, src := range sources {
		def, err := sagas.ParseDefinition("t.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		p, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	return CorrelationsOf(plans, "pay.saga.correlation")
}

func tripOf(name, rest string) string {
	return "saga: " + name + "\nversion: 1\ndeadline: 1h\nparticipants: {air: {}, bank: {correlate: {topic: bank.events, when: =event.final, match: =event.?ref.orValue(\"\"), outcome: =event.outcome, code: =event.?code.orValue(\"\")}}}\nsteps:\n" +
		"- {id: a, call: air.x, undo: {call: air.y}}\n- {id: b, call: bank.x, undo: {call: bank.y}}\n" + rest
}

const awaitOK = `- {id: ok, await: {topic: air.events, when: '=event.status == "OK"', match: =event.pnr, equals: =input.pnr, ttl: 2h}}
`

func TestCorrelationsOf(t *testing.T) {
	list := correlations(t, tripOf("trip", awaitOK), tripOf("refund", strings.Replace(awaitOK, "2h", "3h", 1)+
		"- {id: any, await: {topic: air.events, match: =event.pnr, equals: =input.pnr}}\n"))
	var got []string
	for _, c := range list {
		for _, r := range c.routes {
			got = append(got, fmt.Sprintf("%s %q %d", c.Topic(), r.groups, r.ttl))
		}
		if c.From() != sagas.FromLatest || strings.Count(c.Key(), ".") != 0 || KeyOfGroup("pay", Group("pay", c.Key())) != c.Key() || "correlate/"+c.Name() != c.Key() {
			t.Errorf("key %s", c.Key())
		}
	}
	for _, want := range []string{`air.events ["refund" "trip"] 10800000`, `air.events ["refund"] 3600000`, `bank.events [""] 3600000`} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s is missing in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 3 {
		t.Errorf("%d routes: %q", len(got), got)
	}
}

func TestCorrelationEvaluate(t *testing.T) {
	list := correlations(t, tripOf("trip", awaitOK))
	rules := map[string]*Correlation{}
	for _, c := range list {
		rules[c.Topic()] = c
	}
	for name, c := range map[string]struct{ topic, value, want string }{
		"an await's":           {"air.events", `{"pnr":"P1","status":"OK"}`, "P1 ce:air#e1 air.events/2/7 [trip] 7200000  "},
		"a number":             {"air.events", `{"pnr":17,"status":"OK"}`, "17 ce:air#e1 air.events/2/7 [trip] 7200000  "},
		"filtered out":         {"air.events", `{"pnr":"P1","status":"WAITLIST"}`, ""},
		"about nothing":        {"air.events", `{"pnr":"","status":"OK"}`, ""},
		"no condition":         {"air.events", `{"pnr":"P1"}`, "FILTER"},
		"no value":             {"air.events", `{"status":"OK"}`, "MAPPING"},
		"a value of no kind":   {"air.events", `{"pnr":{},"status":"OK"}`, "MAPPING"},
		"a long value":         {"air.events", `{"pnr":"` + strings.Repeat("x", 513) + `","status":"OK"}`, "MAPPING"},
		"a large event":        {"air.events", `{"pad":"` + strings.Repeat("x", 61<<10) + `","pnr":"P1","status":"OK"}`, "TOO_LARGE"},
		"an answer":            {"bank.events", `{"final":true,"outcome":"ok","ref":"k"}`, "k ce:air#e1 bank.events/2/7 [] 3600000 ok "},
		"a refusal":            {"bank.events", `{"code":"NO","final":true,"outcome":"rejected","ref":"k"}`, "k ce:air#e1 bank.events/2/7 [] 3600000 rejected NO"},
		"an answer to nobody":  {"bank.events", `{"final":true,"outcome":"ok"}`, ""},
		"not an answer yet":    {"bank.events", `{"final":false}`, ""},
		"an outcome of no use": {"bank.events", `{"final":true,"outcome":"fine","ref":"k"}`, "MAPPING"},
	} {
		var ev Event
		ev.Take(sagas.EventRecord{Value: []byte(c.value), Topic: c.topic, Partition: 2, Offset: 7, Headers: []sagas.KV{{Key: "ce_id", Value: "e1"}, {Key: "ce_source", Value: "air"}}})
		outs, err := rules[c.topic].Evaluate(&ev, nil)
		got := ""
		if f := (besideFault{}); errors.As(err, &f) {
			got = f.Class
			if !strings.HasPrefix(f.Message, c.topic+"/") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		for _, o := range outs {
			var hs []protocol.Header
			for _, h := range o.Headers {
				hs = append(hs, protocol.Header{Key: h.Key, Value: []byte(h.Value)})
			}
			rec, err := protocol.ParseCorrelation(hs)
			if err != nil || o.Topic != "pay.saga.correlation" || string(o.Key) != string(protocol.CorrelationKey(rec.Route, rec.Value)) || string(o.Value) != c.value {
				t.Errorf("%s: output %+v, %v", name, o, err)
			}
			got += fmt.Sprintf("%s %s %s %v %d %s %s", rec.Value, rec.EventID, rec.Source, rec.Groups, rec.TTL, rec.Outcome, rec.Code)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// TestCorrelationRoutesAreApart: an expression of one saga that fails does not keep the event from another.
func TestCorrelationRoutesAreApart(t *testing.T) {
	list := correlations(t, tripOf("trip", awaitOK), tripOf("refund", "- {id: x, await: {topic: air.events, match: =event.booking, equals: =input.x}}\n"))
	var ev Event
	ev.Take(sagas.EventRecord{Value: []byte(`{"pnr":"P1","status":"OK"}`), Topic: "air.events"})
	outs, err := list[0].Evaluate(&ev, nil)
	var f besideFault
	if len(outs) != 1 || !errors.As(err, &f) || f.Class != ClassMapping {
		t.Errorf("got %d outputs, %v", len(outs), err)
	}
}
