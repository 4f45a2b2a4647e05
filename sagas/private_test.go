package sagas

import (
	"strings"
	"testing"
)

const privateSaga = `
saga: t
version: 1
pii: [input.card.number, input.name, input.guests.name, step.kyc.passport, signals.correct.iban]
participants: {p: {ops: [do, undo, inquire]}}
steps:
  - {id: kyc, call: p.kyc, with: {name: =input.name, order: =input.order}, kind: readonly, keep: [passport, level]}
  - {id: about, set: {greeting: '="for " + input.name', level: =step.kyc.level, again: =step.kyc.passport}}
  - {id: correct, await: {signal: correct, within: 1h}, keep: [iban, at]}
  - {id: tell, emit: {topic: told, type: told, key: =input.order, with: {of: =step.about, n: 1}}}
  - {id: pay, call: p.pay, with: {card: =input.card, whole: =input, cards: ['=input.card.number', '=input.order'], iban: =step.correct.iban}, undo: {call: p.unpay, with: {greeting: =step.about.greeting}}}
  - id: guests
    each: {in: =input.guests, as: guest, key: =guest.seat, max: 10}
    do:
      - {id: seat, call: p.seat, with: {guest: =guest, seat: =guest.seat, upper: '=guest.name + "!"'}, undo: {call: p.unseat}}
output: {passport: =step.kyc.passport, order: =input.order}
`

// What a definition names is masked, and so is all that expressions make of it; what is beside it is not.
func TestPrivate(t *testing.T) {
	d, err := ParseDefinition("", []byte(strings.Replace(privateSaga, "of: =step.about, ", "of: =step.about.greeting, level: =step.about.level, ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	x := p.Private()
	if x == nil || d.Level() != 3 {
		t.Fatalf("private %v, level %d", x, d.Level())
	}
	again, err := ParseDefinition("", d.Canonical())
	if err != nil || again.Digest() != d.Digest() {
		t.Fatalf("the canonical form does not parse to the same: %v", err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"input", string(x.Input([]byte(`{"card":{"number":"4111","type":"visa"},"guests":[{"name":"Ann","seat":"1"},{"name":null}],"name":"Bob","order":"o-1"}`))),
			`{"card":{"number":"[pii]","type":"visa"},"guests":[{"name":"[pii]","seat":"1"},{"name":null}],"name":"[pii]","order":"o-1"}`},
		{"input that is not what it should be", string(x.Input([]byte(`{"card":7,"guests":{"name":"Ann"}}`))), `{"card":7,"guests":{"name":"[pii]"}}`},
		{"input that is not JSON", string(x.Input([]byte(`{"card`))), `"[pii]"`},
		{"answer", string(x.Output("kyc", []byte(`{"passport":{"no":"C01"},"level":2}`))), `{"level":2,"passport":"[pii]"}`},
		{"set", string(x.Output("about", []byte(`{"greeting":"for Bob","level":2,"again":"C01"}`))), `{"again":"[pii]","greeting":"[pii]","level":2}`},
		{"await", string(x.Output("correct", []byte(`{"iban":"DE00","at":1}`))), `{"at":1,"iban":"[pii]"}`},
		{"signal", string(x.Signal("correct", []byte(`{"iban":"DE00","at":1}`))), `{"at":1,"iban":"[pii]"}`},
		{"another signal", string(x.Signal("other", []byte(`{"iban":"DE00"}`))), `{"iban":"DE00"}`},
		{"with of a call", string(x.Payload("kyc", OpDo, []byte(`{"name":"Bob","order":"o-1"}`))), `{"name":"[pii]","order":"o-1"}`},
		{"inquire with the same", string(x.Payload("kyc", OpInquire, []byte(`{"name":"Bob","order":"o-1"}`))), `{"name":"[pii]","order":"o-1"}`},
		{"nested", string(x.Payload("pay", OpDo, []byte(`{"card":{"number":"4111","type":"visa"},"cards":["4111","o-1"],"iban":"DE00","whole":{"name":"Bob"}}`))),
			`{"card":{"number":"[pii]","type":"visa"},"cards":"[pii]","iban":"[pii]","whole":"[pii]"}`},
		{"undo", string(x.Payload("pay", OpUndo, []byte(`{"greeting":"for Bob"}`))), `{"greeting":"[pii]"}`},
		{"item", string(x.Payload("guests[1]/seat", OpDo, []byte(`{"guest":{"name":"Ann","seat":"1"},"seat":"1","upper":"ANN"}`))), `{"guest":{"name":"[pii]","seat":"1"},"seat":"1","upper":"[pii]"}`},
		{"undo without a with of its own", string(x.Payload("guests[1]/seat", OpUndo, []byte(`{"upper":"ANN"}`))), `{"upper":"[pii]"}`},
		{"a step that is not there", string(x.Payload("gone", OpDo, []byte(`{"a":1}`))), `"[pii]"`},
		{"event", string(x.Published("tell", []byte(`{"of":"for Bob","level":2,"n":1}`))), `{"level":2,"n":1,"of":"[pii]"}`},
		{"result", string(x.Result([]byte(`{"passport":"C01","order":"o-1"}`))), `{"order":"o-1","passport":"[pii]"}`},
		{"hidden", string(x.Hidden([]byte("anything"))), `"[pii]"`},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
	var none *Private
	if got := string(none.Input([]byte(`{"a":1}`))); got != `{"a":1}` {
		t.Errorf("without pii: %s", got)
	}
	if other := compile(t, "saga: u\nversion: 1\npii: [input.order]\nsteps: [{id: s, sleep: {for: 1h}}]\n").Private(); true {
		if got := string(x.Join(other).Input([]byte(`{"name":"Bob","order":"o-1","n":1}`))); got != `{"n":1,"name":"[pii]","order":"[pii]"}` {
			t.Errorf("of two versions: %s", got)
		}
	}
}

func compile(t *testing.T, src string) *Plan {
	t.Helper()
	d, err := ParseDefinition("", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A participant that repeats a personal value in its refusal does not bring it into the state, the lifecycle or an
// attention, and a view shows it nowhere.
func TestPrivateIsNotKeptInTexts(t *testing.T) {
	p := compile(t, `
saga: t
version: 1
pii: [input.card, input.amount, input.pin]
participants: {p: {ops: [do, undo]}}
steps:
  - {id: pay, call: p.pay, with: {card: =input.card}, keep: [echo], undo: {call: p.unpay}}
  - {id: ship, call: p.ship, undo: {call: p.unship}}
`)
	const canary, amount = "4111-1111", "123456789"
	var effects []Effect
	var inst *Instance
	now := Time(1000)
	step := func(ev Event) {
		var more []Effect
		inst, more = Step(p, inst, ev, now)
		effects = append(effects, more...)
		now++
	}
	step(Start{WorkflowID: "t/1", Type: "t", Version: 1, Input: []byte(`{"amount":` + amount + `,"card":"` + canary + `","pin":7}`), StartID: "s", Tags: map[string]string{"last": canary}})
	answer := func(path string, outcome Outcome, message, output string) {
		for _, e := range effects {
			if c, ok := e.(Command); ok && c.Path == path {
				effects = nil
				step(Reply{Address: c.Address, Outcome: outcome, Code: "NO", Message: message, Output: []byte(output)})
				return
			}
		}
		t.Fatalf("no command for %s", path)
	}
	answer("pay", OutcomeOK, "", `{"echo":"card `+canary+`"}`)
	answer("ship", OutcomeRejected, "card "+canary+" with "+amount+" is no card", "")
	if got := inst.Steps[1].Message; got != "card [pii] with [pii] is no card" {
		t.Errorf("kept: %q", got)
	}
	for _, e := range effects {
		if l, ok := e.(Lifecycle); ok {
			for _, kv := range append(l.Detail, KV{"cause", l.Cause}) {
				if strings.Contains(kv.Value, canary) || strings.Contains(kv.Value, amount) {
					t.Errorf("fact %s: %s = %q", l.Kind, kv.Key, kv.Value)
				}
			}
		}
	}
	v := p.Private().View(inst, inst.View(p))
	if string(v.Input) != `{"amount":"[pii]","card":"[pii]","pin":"[pii]"}` || string(v.Steps[0].Output) != `{"echo":"card [pii]"}` || v.Tags[0].Value != Masked {
		t.Errorf("shown: %s, %s, %v", v.Input, v.Steps[0].Output, v.Tags)
	}
	if v := inst.View(p); string(v.Steps[0].Output) != `{"echo":"card `+canary+`"}` {
		t.Errorf("masking changed the instance: %s", v.Steps[0].Output)
	}
}

func TestUnmask(t *testing.T) {
	for _, c := range []struct{ edited, masked, clear, want string }{
		{`{"a":1}`, `{"a":"[pii]"}`, `{"a":"x"}`, `{"a":1}`},
		{`{"a":"[pii]","b":2}`, `{"a":"[pii]","b":1}`, `{"a":{"deep":[1]},"b":1}`, `{"a":{"deep":[1]},"b":2}`},
		{`{"l":[{"n":"[pii]"},{"n":"new"}]}`, `{"l":[{"n":"[pii]"}]}`, `{"l":[{"n":"Ann"}]}`, `{"l":[{"n":"Ann"},{"n":"new"}]}`},
		{`{"t":"card [pii]"}`, `{"t":"card [pii]"}`, `{"t":"card 4111"}`, `{"t":"card 4111"}`},
		{`"[pii]"`, `"[pii]"`, `{"broken`, `{"broken`},
		{`{"a":"[pii]"}`, `"[pii]"`, `{"broken`, ""},
		{`{"b":"[pii]"}`, `{"a":"[pii]"}`, `{"a":"x"}`, ""},
		{`{"t":"card [pii]!"}`, `{"t":"card [pii]"}`, `{"t":"card 4111"}`, ""},
		{`["[pii]","[pii]"]`, `["[pii]"]`, `["x"]`, ""},
		{`{"a":"[pii]"`, `{"a":"[pii]"}`, `{"a":"x"}`, ""},
	} {
		got, err := Unmask([]byte(c.edited), []byte(c.masked), []byte(c.clear))
		if string(got) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %s, %v, want %s", c.edited, got, err, c.want)
		}
	}
}
