package sagas

import (
	"strings"
	"testing"
	"time"
)

const boundHead = `saga: t
version: 1
id: =input.orderId
deadline: 1h
participants: {psp: {}}
`

const boundSteps = `
steps:
  - {id: a, call: psp.x, undo: {call: psp.y}}
`

func bound(t *testing.T, on string) *Plan {
	t.Helper()
	d, err := ParseDefinition("t.yaml", []byte(boundHead+on+boundSteps))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start is only another way to write an entry of on, and defaults are written out.
func TestBindingForms(t *testing.T) {
	short := bound(t, `start: {topic: shop.orders, when: =event.kind == "PLACED", input: =event.order}`)
	long := bound(t, `on: [{name: shop-orders, action: start, topic: shop.orders, from: latest, when: =event.kind == "PLACED", input: =event.order}]`)
	if short.Digest != long.Digest {
		t.Errorf("%s\n%s", short.Definition.Canonical(), long.Definition.Canonical())
	}
	want := `"on":[{"action":"start","from":"latest","input":"=event.order","name":"shop-orders","topic":"shop.orders","when":"=event.kind == \"PLACED\""}]`
	if got := string(short.Definition.Canonical()); !strings.Contains(got, want) {
		t.Errorf("canonical form: %s", got)
	}
	again, err := ParseDefinition("", short.Definition.Canonical())
	if err != nil || again.Digest() != short.Digest {
		t.Errorf("read again: %v", err)
	}
	if other := bound(t, `start: {topic: shop.orders, when: =event.kind == "PLACED", input: =event.order, from: earliest}`); other.Digest == short.Digest {
		t.Error("from makes no difference")
	}
}

// A definition with bindings needs level 3. Its instances need no more than its steps do.
func TestBindingLevel(t *testing.T) {
	p := bound(t, `start: {topic: shop.orders}`)
	if p.Requires != 3 || p.Definition.Level() != 3 || p.level() != 1 && p.level() != 0 {
		t.Errorf("requires %d, level %d, instances %d", p.Requires, p.Definition.Level(), p.level())
	}
	made := *p.Definition
	made.src = nil
	if made.Level() != 3 || made.Digest() != p.Digest {
		t.Errorf("made in Go: level %d", made.Level())
	}
	if tagged := bound(t, "tags: {a: =input.orderId}\nstart: {topic: shop.orders}"); tagged.level() != 2 {
		t.Errorf("with tags the instances have level %d", tagged.level())
	}
	if none := bound(t, ""); none.Requires != 1 || strings.Contains(string(none.Definition.Canonical()), `"on"`) {
		t.Errorf("without: level %d", none.Requires)
	}
	_, err := ParseDefinition("t.yaml", []byte(boundHead+"requires: 2\nstart: {topic: x}"+boundSteps))
	if err == nil || !strings.Contains(err.Error(), "requires is 2, but the definition uses level 3") {
		t.Errorf("%v", err)
	}
}

// What expressions of a binding see, by results.
func TestEventValues(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rec := EventRecord{
		Value:   []byte(`{"amount":12345678901234567890123,"id":"o-1","n":3,"none":null,"order":{"lines":[1,2]}}`),
		Headers: []KV{{"type", "first"}, {"type", "placed"}, {"trace", "\xff\xfe"}},
		Key:     []byte("k-1"), Topic: "shop.orders", Partition: 4, Offset: 17, Time: Time(at.UnixMilli()),
	}
	var v EventValues
	for expr, want := range map[string]string{
		`event.id`:                       `"o-1"`,
		`event.amount`:                   `12345678901234567890123`, // a copied number keeps its digits
		`event.order.lines[1] + event.n`: `5`,
		`event`:                          string(rec.Value),
		`headers.type`:                   `"placed"`,
		`headers.?trace.orValue("none")`: `"none"`,
		`"ce_id" in headers`:             `false`,
		`key`:                            `"k-1"`,
		`[topic, string(partition), string(offset)]`: `["shop.orders","4","17"]`,
		`time`:                          `"2026-03-01T12:00:00Z"`,
		`time.getHours()`:               `12`,
		`event.?gone.orValue("x")`:      `"x"`,
		`event.none == null`:            `true`,
		`event.order.lines.map(x, x*2)`: `[2,4]`,
	} {
		p := bound(t, "on: [{topic: x, action: start, input: {r: '="+expr+"'}}]")
		v.Reset(rec)
		for range 2 { // a value that was parsed gives the same
			got, err := v.JSON(p.Bindings[0].Input)
			if err != nil || string(got) != `{"r":`+want+`}` {
				t.Errorf("%s: %s %v, want %s", expr, got, err, want)
			}
		}
	}
	for expr, want := range map[string]string{
		`event.gone`:       "no such key",
		`headers.trace`:    "no such key",
		`event.id.x`:       "not an object",
		`event.amount > 1`: "more digits",
	} {
		p := bound(t, "on: [{topic: x, action: start, input: {r: '="+expr+"'}}]")
		v.Reset(rec)
		if got, err := v.JSON(p.Bindings[0].Input); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s %v", expr, got, err)
		}
	}
	byKey := bound(t, "on: [{topic: x, action: start, id: =key, when: =size(headers) > 0}]").Bindings[0]
	rec.Key = []byte{0xff}
	v.Reset(rec)
	if got, err := v.Text(byKey.ID); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("key that is no text: %q %v", got, err)
	}
	rec.Headers = make([]KV, maxEventHeaders+1)
	v.Reset(rec)
	if _, err := v.Bool(byKey.When); err == nil || !strings.Contains(err.Error(), "headers") {
		t.Errorf("too many headers: %v", err)
	}
	if holds, err := v.Bool(nil); !holds || err != nil {
		t.Error("no condition does not hold")
	}
}

func TestPlanIDOf(t *testing.T) {
	p := bound(t, `start: {topic: x}`)
	if id, err := p.IDOf([]byte(`{"orderId":"7"}`)); id != "7" || err != nil {
		t.Errorf("%q %v", id, err)
	}
	for _, input := range []string{`[]`, `null`, ``, `{}`} {
		if id, err := p.IDOf([]byte(input)); err == nil {
			t.Errorf("%s: %q", input, id)
		}
	}
}
