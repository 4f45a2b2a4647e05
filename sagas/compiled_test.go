package sagas

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const compiledSaga = `
saga: pay
version: 1
deadline: 1h
participants:
  psp: {ops: [do, undo]}
  shop: {ops: [do]}
steps:
  - id: auth
    call: psp.authorise
    with: {amount: =input.amount}
    keep: [id]
    undo:
      call: psp.void
      with: {id: =step.auth.?id}
  - id: gift
    call: shop.gift
    kind: optional
    when: =input.amount > 100
  - id: capture
    call: psp.capture
    kind: pivot
    with: {id: =step.auth.id, rate: '=input.rates[0]'}
output: {id: =step.auth.id}
`

func compiledWorld(t *testing.T, input string) *world {
	t.Helper()
	def, err := ParseDefinition("pay.yaml", []byte(compiledSaga))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	p.Namespace = "test"
	w := newWorld(t, p)
	start := startEvent()
	start.Input = []byte(input)
	w.send(start)
	return w
}

func TestCompiledCompletes(t *testing.T) {
	w := compiledWorld(t, `{"amount":5,"rates":[2]}`)
	w.has(`command do auth round 1 attempt 1 {"amount":5}`)
	w.reply("auth", OutcomeOK, output(`{"id":"x","secret":"y"}`))
	w.has("fact step-skipped gift", `command do capture round 1 attempt 1 {"id":"x","rate":2}`)
	w.reply("capture", OutcomeOK)
	w.has(`result results completed {"id":"x"}`)
}

func TestCompiledUndoUsesOwnOutput(t *testing.T) {
	w := compiledWorld(t, `{"amount":500,"rates":[2]}`)
	w.reply("auth", OutcomeOK, output(`{"id":"x"}`))
	w.has("command do gift")
	w.send(Cancel{RequestID: "c"})
	w.reply("gift", OutcomeRejected)
	w.has(`command undo auth round 1 attempt 1 {"id":"x"}`)

	w = compiledWorld(t, `{"amount":500,"rates":[2]}`)
	w.reply("auth", OutcomeFailedFatal)
	w.has("command undo auth round 1 attempt 1 {")
	w.hasNot(`"x"`)
	w.reply("undo auth", OutcomeOK, noop)
	w.phase(Compensated)
	w.reply("auth", OutcomeOK, output(`{"id":"x"}`)) // now the undo can name it
	w.has(`command undo auth round 2 attempt 1 {"id":"x"}`)
}

// An expression that fails keeps the step from being sent; nothing is retried and nothing compensated
// because of it, and a person can end it.
func TestCompiledExpressionFails(t *testing.T) {
	w := compiledWorld(t, `{"amount":5,"rates":[]}`)
	w.reply("auth", OutcomeOK, output(`{"id":"x"}`))
	w.hasNot("command")
	w.attention("EXPR capture")
	w.steps("auth DONE, gift SKIPPED, capture READY")
	w.after(time.Minute)
	w.has("ignored stale")
	w.send(Cancel{RequestID: "c"})
	w.has("command undo auth")
	w.attention("")
	w.reply("undo auth", OutcomeOK)
	w.phase(Compensated)
}

func TestTooLarge(t *testing.T) {
	p := planOf("a", "b")
	p.Steps[0].Keep = []string{"big"}
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK, output(`{"big":"`+strings.Repeat("x", MaxOutputBytes)+`"}`))
	w.attention("OUTPUT a")
	w.steps("a DONE, b PENDING")
	w.reply("b", OutcomeProgress, handle(`[1]`))
	w.attention("OUTPUT a, OUTPUT b")
}

// However much replies say, the record stays under its limit.
func TestRecordIsBounded(t *testing.T) {
	words := make([]string, 40)
	for i := range words {
		words[i] = "s" + string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	p := planOf(words...)
	for i := range p.Steps {
		p.Steps[i].Keep = []string{"big"}
	}
	w := newWorld(t, p)
	w.start()
	for _, path := range words {
		w.reply(path, OutcomeOK, output(`{"big":"`+strings.Repeat("x", MaxOutputBytes-100)+`"}`))
	}
	w.phase(Completed)
	if n := len(w.inst.Append(nil)); n > MaxRecordBytes {
		t.Fatalf("%d bytes", n)
	}
}

func TestView(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "p!"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeRejected, code("NO"))
	w.reply("undo a", OutcomeFailedFatal, code("BROKEN"))
	v := w.inst.View(w.p)
	if v.Phase != "compensating" || v.Status != StatusAttention || v.ID != "1" || v.Cause != "b: NO" {
		t.Errorf("%+v", v)
	}
	if len(v.Obligations) != 1 || v.Obligations[0] != (Obligation{Path: "a", State: "DONE", Undo: "U_STOPPED"}) {
		t.Errorf("obligations %+v", v.Obligations)
	}
	if v.Steps[0].Participant != "svc" || v.Steps[0].Key != IdempotencyKey("test", "pay/1", 1, "a", OpDo, 1) || v.Steps[1].Code != "NO" {
		t.Errorf("steps %+v", v.Steps)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
	if v := w.inst.View(nil); v.Steps[0].Key != "" || len(v.Steps) != 3 {
		t.Errorf("without a plan: %+v", v.Steps)
	}
}
