package protocol

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecodeIntakeJSON(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		headers          []Header
		want             any
	}{
		{"smallest", "", `{"type":"card-payment"}`, nil,
			&Start{Type: "card-payment", Input: []byte(`{}`)}},
		{"kcat line", "", ` {"type":"card-payment","id":"o-1","input":{"total": "9.50", "lines":[1,2]}}` + "\n", nil,
			&Start{Type: "card-payment", ID: "o-1", Input: []byte(`{"total": "9.50", "lines":[1,2]}`)}},
		{"all fields", "ignored", `{"kind":"start","type":"t","id":"a/b","version":3,"startId":"s","input":{},"replyTo":"r.x","tags":{"k":"v"},"issuedAt":"2026-01-02T03:04:05.006Z"}`, nil,
			&Start{Type: "t", ID: "a/b", Version: 3, StartID: "s", Input: []byte(`{}`), ReplyTo: "r.x", Tags: map[string]string{"k": "v"}, IssuedAt: 1767323045006}},
		{"id from the key", "o-1", `{"type":"t"}`, nil,
			&Start{Type: "t", ID: "o-1", IDFromKey: true, Input: []byte(`{}`)}},
		{"id from a key with type", "t/o-1", `{"type":"t"}`, nil,
			&Start{Type: "t", ID: "o-1", IDFromKey: true, Input: []byte(`{}`)}},
		{"a key with another type is an id", "u/o-1", `{"type":"t"}`, nil,
			&Start{Type: "t", ID: "u/o-1", IDFromKey: true, Input: []byte(`{}`)}},
		{"a binary key is no id", "\x00\x01\xff", `{"type":"t"}`, nil,
			&Start{Type: "t", Input: []byte(`{}`)}},
		{"nulls are absent", "", `{"type":"t","id":null,"input":null,"version":null,"tags":null,"issuedAt":null}`, nil,
			&Start{Type: "t", Input: []byte(`{}`)}},
		{"escapes", "", `{"\u0074ype":"t","id":"caf\u00e9 \"1\""}`, nil,
			&Start{Type: "t", ID: `café "1"`, Input: []byte(`{}`)}},
		{"headers", "", `{"type":"t"}`, []Header{{HeaderTraceparent, []byte("00-x")}, {HeaderCloudEventID, []byte("e1")}, {HeaderContentType, []byte("text/plain")}},
			&Start{Type: "t", StartID: "e1", Trace: "00-x", Input: []byte(`{}`)}},
		{"cancel", "", `{"kind":"cancel","type":"t","id":"o-1","requestId":"c","reason":"two\nlines","actor":"ann","voidTtlMs":1000}`, nil,
			&Cancel{Type: "t", ID: "o-1", RequestID: "c", Reason: "two\nlines", Actor: "ann", VoidTTL: 1000}},
		{"signal", "", `{"kind":"signal","type":"t","id":"o-1","name":"paid","signalId":"s-1","payload":{"a": [1]},"ttl":"1h30m","actor":"ann","issuedAt":"2026-01-02T03:04:05.006Z"}`, nil,
			&Signal{Type: "t", ID: "o-1", Name: "paid", SignalID: "s-1", Payload: []byte(`{"a": [1]}`), TTL: 5400_000, Actor: "ann", IssuedAt: 1767323045006}},
		{"smallest signal", "t/o-1", `{"kind":"signal","type":"t","name":"paid"}`, []Header{{HeaderCloudEventID, []byte("e1")}},
			&Signal{Type: "t", ID: "o-1", IDFromKey: true, Name: "paid", SignalID: "e1"}},
		{"start or signal", "t/o-1", `{"type":"t","orSignal":{"name":"paid","signalId":"s-1","payload":[1],"ttl":"1m"}}`, nil,
			&Start{Type: "t", ID: "o-1", IDFromKey: true, Input: []byte(`{}`), OrSignal: &Signal{
				Type: "t", ID: "o-1", IDFromKey: true, Name: "paid", SignalID: "s-1", Payload: []byte(`[1]`), TTL: 60_000}}},
		{"structured event", "customer-7", `{"specversion":"1.0","id":"e1","source":"/shop","type":"start","time":"2026-01-02T03:04:05Z","subject":null,"traceparent":"00-y","n":7,"data":{"type":"t","id":"o-1","input":{"a": 1}}}`,
			[]Header{{HeaderContentType, []byte("application/CloudEvents+json; charset=utf-8")}, {HeaderCloudEventID, []byte("no")}},
			&Start{Type: "t", ID: "o-1", StartID: "e1", Trace: "00-y", Input: []byte(`{"a": 1}`)}},
		{"structured event in base64", "", `{"specversion":"1.0","id":"e1","source":"/shop","type":"signal","datacontenttype":"application/json","data_base64":"eyJraW5kIjoic2lnbmFsIiwidHlwZSI6InQiLCJpZCI6Im8iLCJuYW1lIjoicGFpZCJ9"}`,
			[]Header{{HeaderContentType, []byte(ContentCloudEvents)}},
			&Signal{Type: "t", ID: "o", Name: "paid", SignalID: "e1"}},
		{"cancel by key", "t/o-1", `{"kind":"cancel","type":"t"}`, nil,
			&Cancel{Type: "t", ID: "o-1", IDFromKey: true}},
	} {
		got, err := DecodeIntake([]byte(c.key), []byte(c.value), c.headers)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func nested(open, inner, shut string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
}

func TestDecodeIntakeRefused(t *testing.T) {
	for _, c := range []struct {
		name, value string
		class       Class
		want        string // part of the error
	}{
		{"empty", "", ClassMalformed, "empty"},
		{"spaces", " \n", ClassMalformed, "empty"},
		{"not JSON", "hello", ClassMalformed, "neither"},
		{"array", "[1]", ClassMalformed, "neither"},
		{"registry framing", "\x00\x00\x00\x00\x05abc", ClassUnknownSchema, "registry"},
		{"cut", `{"type":"t"`, ClassMalformed, "at byte"},
		{"text after", `{"type":"t"} {}`, ClassMalformed, "after the end"},
		{"nearest name", `{"type":"t","imput":{}}`, ClassMalformed, `Did you mean "input"?`},
		{"nearest name by case", `{"type":"t","startid":"x"}`, ClassMalformed, `Did you mean "startId"?`},
		{"field of another kind", `{"type":"t","operator":"x"}`, ClassMalformed, "operator: not a field"},
		{"twice", `{"type":"t","type":"u"}`, ClassMalformed, "type: the field occurs twice"},
		{"twice with an escape", `{"type":"t","\u0074ype":"u"}`, ClassMalformed, "type: the field occurs twice"},
		{"many fields", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}`, ClassMalformed, "too many fields"},
		{"orSignal is a text", `{"type":"t","orSignal":"paid"}`, ClassMalformed, "orSignal"},
		{"orSignal without a name", `{"type":"t","orSignal":{}}`, ClassMalformed, "name"},
		{"orSignal with another field", `{"type":"t","orSignal":{"name":"x","id":"y"}}`, ClassMalformed, "id"},
		{"orSignal is a decision", `{"type":"t","orSignal":{"name":"decision/desk"}}`, ClassUnsupported, "decision"},
		{"no type", `{"id":"o-1"}`, ClassMalformed, "type: the field is missing"},
		{"type with a slash", `{"type":"a/b"}`, ClassMalformed, "type: want letters"},
		{"type is a number", `{"type":4}`, ClassMalformed, "type: want a string"},
		{"id is a number", `{"type":"t","id":42}`, ClassMalformed, "id: want a string"},
		{"id with a control character", `{"type":"t","id":"a\u0000b"}`, ClassMalformed, "id: a control character"},
		{"id too long", `{"type":"t","id":"` + strings.Repeat("x", MaxID+1) + `"}`, ClassTooLarge, "id: longer"},
		{"input is text", `{"type":"t","input":"{}"}`, ClassMalformed, "input: want a JSON object"},
		{"input is a list", `{"type":"t","input":[]}`, ClassMalformed, "input: want a JSON object"},
		{"version is negative", `{"type":"t","version":-1}`, ClassMalformed, "version: want an integer"},
		{"version is a fraction", `{"type":"t","version":1.5}`, ClassMalformed, "version: want an integer"},
		{"version is huge", `{"type":"t","version":12345678901234567890123}`, ClassMalformed, "version: want an integer"},
		{"replyTo", `{"type":"t","replyTo":"a b"}`, ClassMalformed, "replyTo: not a topic name"},
		{"tags", `{"type":"t","tags":{"a":1}}`, ClassMalformed, "tags: want an object of strings"},
		{"tags list", `{"type":"t","tags":["a"]}`, ClassMalformed, "tags: want an object of strings"},
		{"issuedAt", `{"type":"t","issuedAt":"yesterday"}`, ClassMalformed, "issuedAt: want a time"},
		{"kind", `{"kind":"stop","type":"t"}`, ClassMalformed, "kind: want"},
		{"signal without a name", `{"kind":"signal","type":"t","id":"x"}`, ClassMalformed, "name: the field is missing"},
		{"signal without an id", `{"kind":"signal","type":"t","name":"n"}`, ClassMalformed, "id: the field is missing"},
		{"signal with a strange ttl", `{"kind":"signal","type":"t","id":"x","name":"n","ttl":"soon"}`, ClassMalformed, "ttl: want a duration"},
		{"signal that waits too long", `{"kind":"signal","type":"t","id":"x","name":"n","ttl":"31d"}`, ClassTooLarge, "ttl: longer than 30 days"},
		{"signal too large", `{"kind":"signal","type":"t","id":"x","name":"n","payload":"` + strings.Repeat("x", MaxSignalBytes) + `"}`, ClassTooLarge, "payload: longer"},
		{"signal name too long", `{"kind":"signal","type":"t","id":"x","name":"` + strings.Repeat("x", MaxSignalName+1) + `"}`, ClassTooLarge, "name: longer"},
		{"a decision of nobody", `{"kind":"signal","type":"t","id":"x","name":"decision/desk","actor":"ann","payload":{"decision":"approve"}}`, ClassUnsupported, "control topic"},
		{"admin", `{"kind":"admin","type":"t"}`, ClassUnsupported, "control topic"},
		{"cancel without id", `{"kind":"cancel","type":"t"}`, ClassMalformed, "id: the field is missing"},
		{"depth", `{"type":"t","input":` + nested(`{"a":`, "1", "}", MaxDepth) + `}`, ClassMalformed, "deeper than 64"},
		{"depth of lists", `{"type":"t","input":{"a":` + nested("[", "", "]", 100_000) + `}}`, ClassMalformed, "deeper than 64"},
		{"open lists", `{"type":"t","input":{"a":` + strings.Repeat("[", 500_000), ClassMalformed, "deeper than 64"},
		{"size", `{"type":"` + strings.Repeat("x", MaxRecordBytes) + `"}`, ClassTooLarge, "more than 1048576 bytes"},
		{"bad escape", `{"type":"\x"}`, ClassMalformed, "bad escape"},
		{"bad UTF-8", "{\"type\":\"\xff\"}", ClassMalformed, "not UTF-8"},
		{"control in string", "{\"type\":\"a\nb\"}", ClassMalformed, "control character"},
		{"leading zero", `{"type":"t","input":{"a":01}}`, ClassMalformed, "want a comma"},
		{"bare word", `{"type":"t","input":{"a":nul}}`, ClassMalformed, "not JSON"},
	} {
		_, err := DecodeIntake(nil, []byte(c.value), nil)
		var e *Error
		if !errors.As(err, &e) || e.Class != c.class || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := DecodeIntake(nil, []byte(`{"type":"t","input":`+nested(`{"a":`, "1", "}", MaxDepth-1)+`}`), nil); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
	if _, err := DecodeIntake(nil, []byte(`{"type":"t"}`), make([]Header, MaxHeaders+1)); err == nil {
		t.Error("too many headers accepted")
	}
}

func TestDecodeControl(t *testing.T) {
	got, err := DecodeControl(nil, []byte(`{"kind":"admin","type":"t","id":"o-1","action":"close","operator":"ann","reason":"paid by hand","expectRev":9}`), nil)
	want := &Admin{Type: "t", ID: "o-1", Action: ActionClose, Operator: "ann", Reason: "paid by hand", ExpectRev: 9}
	if err != nil || !cmp.Equal(got, any(want)) {
		t.Errorf("got %+v, %v", got, err)
	}
	for rest, want := range map[string]map[string]string{
		`"action":"retry","path":"a"`:                                                        nil,
		`"action":"retry-new-key","path":"lines[a]/pay"`:                                     nil,
		`"action":"resolve","path":"a","args":{"effect":"none"}`:                             {"effect": "none"},
		`"action":"resolve","path":"a","args":{"effect":"done","output":{"id":"x"}}`:         {"effect": "done", "output": `{"id":"x"}`},
		`"action":"waive","path":"a"`:                                                        nil,
		`"action":"skip","path":"a","args":{"output":{"id":7}}`:                              {"output": `{"id":7}`},
		`"action":"compensate"`:                                                              nil,
		`"action":"suspend"`:                                                                 nil,
		`"action":"resume"`:                                                                  nil,
		`"action":"extend","args":{"byMs":60000}`:                                            {"byMs": "60000"},
		`"action":"extend","path":"a","args":{"byMs":"60000"}`:                               {"byMs": "60000"},
		`"action":"signal","args":{"name":"decision/desk","payload":{"decision":"approve"}}`: {"name": "decision/desk", "payload": `{"decision":"approve"}`},
		`"action":"signal","args":{"name":"n","signalId":"s","payload":[1,"x"]}`:             {"name": "n", "signalId": "s", "payload": `[1,"x"]`},
	} {
		got, err := DecodeControl([]byte("t/x"), []byte(`{"kind":"admin","type":"t","operator":"a","reason":"r",`+rest+`}`), nil)
		if a, ok := got.(*Admin); err != nil || !ok || !cmp.Equal(a.Args, want) {
			t.Errorf("%s: got %+v, %v", rest, got, err)
		}
	}
	for rest, want := range map[string]string{
		`"action":"retry"`:                                                   "path: the field is missing",
		`"action":"close","path":"a"`:                                        "path: this action is about the whole instance",
		`"action":"retry","path":"a","args":{"efect":"x"}`:                   "args.efect: not an argument",
		`"action":"resolve","path":"a"`:                                      "args.effect: want done or none",
		`"action":"resolve","path":"a","args":{"efect":"done"}`:              `Did you mean "effect"?`,
		`"action":"resolve","path":"a","args":{"effect":"maybe"}`:            "args.effect: want done or none",
		`"action":"resolve","path":"a","args":{"effect":"none","output":{}}`: "args.output: a step without effect",
		`"action":"skip","path":"a","args":{"output":[1]}`:                   "args.output: want a JSON object",
		`"action":"extend"`:                                                  "args.byMs: want a positive",
		`"action":"extend","args":{"byMs":"1h"}`:                             "args.byMs: want a positive",
		`"action":"signal"`:                                                  "args.name: the field is missing",
		`"action":"suspend","args":[]`:                                       "args: want an object",
		`"action":"skip","path":"a","args":{"output":{},"output":{}}`:        "args.output: the field occurs twice",
		`"action":"migrate"`:                                                 "not supported",
	} {
		if _, err := DecodeControl([]byte("t/x"), []byte(`{"kind":"admin","type":"t","operator":"a","reason":"r",`+rest+`}`), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", rest, err, want)
		}
	}
	for value, want := range map[string]string{
		`{"type":"t","id":"x"}`:                                                                             `kind: want "admin"`,
		`{"kind":"start","type":"t"}`:                                                                       "intake topic",
		`{"kind":"admin","type":"t","id":"x"}`:                                                              "operator: the field is missing",
		`{"kind":"admin","type":"t","id":"x","operator":"a","action":"close"}`:                              "reason: the field is missing",
		`{"kind":"admin","type":"t","id":"x","operator":"a","reason":"r"}`:                                  "action: the field is missing",
		`{"kind":"admin","type":"t","id":"x","operator":"a","reason":"r","action":"closed"}`:                `Did you mean "close"?`,
		`{"kind":"admin","type":"t","operator":"a","reason":"r","action":"close"}`:                          "id: the field is missing",
		`{"kind":"admin","type":"t","id":"x","operator":"a","reason":"r","action":"close","expectRev":"9"}`: "expectRev: want an integer",
	} {
		if _, err := DecodeControl(nil, []byte(value), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", value, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]int64{"1ms": 1, "90s": 90_000, "15m": 900_000, "2h": 7_200_000, "7d": 7 * day, "1d2h3m4s5ms": day + 2*hour + 3*60_000 + 4_005} {
		if got, ok := parseDuration(s); !ok || got != want {
			t.Errorf("%s: got %d, %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "5", "s", "-1s", "1.5h", "0s", "1 h", "99999999999999999999d", "9007199254740993d", "1w"} {
		if got, ok := parseDuration(s); ok {
			t.Errorf("%q accepted as %d", s, got)
		}
	}
}

func TestSplitWorkflowID(t *testing.T) {
	typ, id, err := SplitWorkflowID("card-payment/2026/17")
	if typ != "card-payment" || id != "2026/17" || err != nil {
		t.Errorf("got %q %q %v", typ, id, err)
	}
	for _, wid := range []string{"", "a", "/a", "a/", "a b/c", "a/\n"} {
		if _, _, err := SplitWorkflowID(wid); err == nil {
			t.Errorf("%q accepted", wid)
		}
	}
}

func FuzzDecodeIntake(f *testing.F) {
	f.Add([]byte("k"), []byte(`{"type":"t","id":"o-1","input":{"a":[1,"\u00e9",null]},"tags":{"a":"b"}}`))
	f.Add([]byte(nil), []byte(`{"kind":"cancel","type":"t","id":"x"}`))
	f.Add([]byte(nil), []byte(`{"kind":"signal","type":"t","id":"x","name":"n","signalId":"s","payload":{"a":[1]},"ttl":"7d","actor":"ann"}`))
	f.Add([]byte(nil), []byte(`{"specversion":"1.0","id":"e1","source":"/s","type":"x","n":1,"data":{"type":"t","id":"o-1"}}`))
	for _, b := range sampleAvro() {
		f.Add([]byte(nil), b)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var e *Error
		if _, err := DecodeIntake(key, value, []Header{{HeaderContentType, []byte(ContentCloudEvents)}}); err != nil && (!errors.As(err, &e) || e.Class == "") {
			t.Fatalf("structured: an error without a class: %v", err)
		}
		got, err := DecodeIntake(key, value, nil)
		if err != nil {
			if !errors.As(err, &e) || e.Class == "" {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		// What was accepted can be written, and is accepted again.
		b, err := AppendAvro(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeIntake(key, b, nil)
		if err != nil {
			t.Fatalf("%v of %+v", err, got)
		}
		if s, ok := again.(*Signal); ok && !cmp.Equal(s, got, cmpopts.IgnoreFields(Signal{}, "IDFromKey"), cmpopts.EquateEmpty()) {
			t.Fatalf("got %+v, want %+v", again, got)
		}
		if s, ok := again.(*Start); ok && s.WorkflowID() != got.(*Start).WorkflowID() {
			t.Fatalf("got %+v, want %+v", again, got)
		}
	})
}

func FuzzDecodeControl(f *testing.F) {
	f.Add([]byte("k"), []byte(`{"kind":"admin","type":"t","id":"o-1","action":"close","operator":"ann","reason":"r"}`))
	f.Add([]byte("k"), []byte(`{"kind":"admin","type":"t","id":"o-1","action":"resolve","path":"a","operator":"ann","reason":"r","args":{"effect":"done","output":{"a":1}}}`))
	f.Add([]byte("k"), []byte(`{"kind":"admin","type":"t","id":"o-1","action":"signal","operator":"ann","reason":"r","args":{"name":"n","payload":[1]}}`))
	for _, b := range sampleAvro() {
		f.Add([]byte(nil), b)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		got, err := DecodeControl(key, value, nil)
		if err != nil {
			return
		}
		b, err := AppendAvro(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeControl(key, b, nil)
		if err != nil || !cmp.Equal(again, got, cmpopts.IgnoreFields(Admin{}, "IDFromKey"), cmpopts.EquateEmpty()) {
			t.Fatalf("%v: got %+v, want %+v", err, again, got)
		}
	})
}

func BenchmarkDecodeIntakeJSON(b *testing.B) {
	value := []byte(`{"type":"card-payment","id":"order-000123","input":{"orderId":"order-000123","total":"19.90","currency":"EUR","lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, err := DecodeIntake(nil, value, nil); err != nil {
			b.Fatal(err)
		}
	}
}
