package sagas

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// list is the input of a saga over n items.
func list(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("%q", fmt.Sprintf("k%d", i))
	}
	return `{"lines":[` + strings.Join(items, ",") + `]}`
}

// dos are the do commands of the last event.
func (w *world) dos() int {
	n := 0
	for _, e := range w.effects {
		if c, ok := e.(Command); ok && c.Op == OpDo {
			n++
		}
	}
	return n
}

// Two eaches beside each other, a few items at a time: all of them run, and all steps stay.
func TestManyItems(t *testing.T) {
	const items = 40
	w := blockWorld(t, `
saga: big
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- {id: e0, each: {in: '=input.lines', as: x, key: '=x', max: 400, atOnce: 2}, do: [{id: a0, call: svc.a, undo: {call: svc.b}}, {id: b0, call: svc.a, undo: {call: svc.b}}]}
- {id: e1, each: {in: '=input.lines', as: y, key: '=y', max: 400, atOnce: 2}, do: [{id: a1, call: svc.a, undo: {call: svc.b}}], after: []}
`, list(items))
	if w.dos() != 4 {
		t.Fatalf("%d sent%s", w.dos(), w.state())
	}
	for w.inst.Phase == Running {
		i := slices.IndexFunc(w.inst.Steps, func(s StepState) bool { return s.State == StepPending })
		w.reply(w.inst.Steps[i].Path, OutcomeOK)
	}
	w.phase(Completed)
	if n := len(w.inst.Steps); n != 2+3*items {
		t.Errorf("%d steps", n)
	}
}

// What waits for its turn counts: the second each does not fit, though the first opened only two items.
func TestWaitingItemsCount(t *testing.T) {
	p, _ := compileText(t, `
saga: big
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- {id: e0, each: {in: '=input.lines', as: x, key: '=x', max: 500, atOnce: 2}, do: [{id: a0, call: svc.a, undo: {call: svc.b}}]}
- {id: e1, each: {in: '=input.lines', as: y, key: '=y', max: 500, atOnce: 2}, do: [{id: a1, call: svc.a, undo: {call: svc.b}}], after: []}
`)
	for i := range p.Steps { // as in a definition whose limits the checks could not see
		if d := p.Steps[i].Each; d != nil {
			wide := *d
			wide.Max = 1500
			p.Steps[i].Each = &wide
		}
	}
	w := newWorld(t, p)
	start := startEvent()
	start.WorkflowID, start.Type, start.Input = "big/1", "big", []byte(list(1200))
	w.send(start)
	w.attention("TOO_LARGE e1")
	if w.dos() != 2 {
		t.Errorf("%d sent", w.dos())
	}
	if b := w.inst.Append(nil); len(b) > MaxRecordBytes {
		t.Errorf("%d bytes", len(b))
	}
}

// Items whose turn never comes make room for those of the next round.
func TestTurnedItemsMakeRoom(t *testing.T) {
	w := blockWorld(t, `
saga: big
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- id: try
  scope: {retry: {rounds: 3, on: [NO]}}
  do: [{id: lines, each: {in: '=input.lines', as: x, key: '=x', max: 600, atOnce: 1}, do: [{id: a, call: svc.a, undo: {call: svc.b}}]}]
`, list(600))
	for _, path := range []string{"try[1]/lines[k0]/a", "try[2]/lines[k0]/a"} {
		w.reply(path, OutcomeRejected, code("NO"))
		w.attention("")
	}
	w.reply("try[3]/lines[k0]/a", OutcomeOK)
	w.phase(Running)
	if b := w.inst.Append(nil); len(b) > MaxRecordBytes {
		t.Errorf("%d bytes", len(b))
	}
}

// A loop whose rounds leave debts ends at the limit with a person, and what is owed is still undone, the
// last round first.
func TestLoopOfDebtsEndsAtTheLimit(t *testing.T) {
	w := blockWorld(t, `
saga: loop
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- {id: again, repeat: {rounds: 100, until: '=false'}, do: [{id: a, call: svc.a, with: {big: '=input.big'}, undo: {call: svc.b}}]}
`, `{"big":"`+strings.Repeat("x", 60<<10)+`"}`)
	rounds := 0
	for ; len(w.inst.Attention) == 0; rounds++ {
		w.reply(w.inst.Steps[len(w.inst.Steps)-1].Path, OutcomeOK)
	}
	w.attention(fmt.Sprintf("TOO_LARGE again[%d]/a", rounds+1))
	if b := w.inst.Append(nil); len(b) > maxForwardBytes || rounds < 10 || w.dos() != 0 {
		t.Errorf("%d rounds, %d bytes", rounds, len(b))
	}
	w.send(Cancel{WorkflowID: "loop/1", RequestID: "c"})
	for n := rounds; n > 0; n-- {
		w.reply(fmt.Sprintf("undo again[%d]/a", n), OutcomeOK)
	}
	w.phase(Compensated)
}

// Step never changes the instance that it was given, whatever frames come and go.
func TestFramesAreNotShared(t *testing.T) {
	w := blockWorld(t, tourSource, `{"fast":false,"legs":["x","y"]}`)
	for _, ev := range []Reply{
		{Address: Address{Run: 1, Path: "legs[x]/seat", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeOK},
		{Address: Address{Run: 1, Path: "legs[x]/meal", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeRejected},
		{Address: Address{Run: 1, Path: "legs[y]/seat", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeRejected},
	} {
		before := w.inst
		bytesBefore := before.Append(nil)
		w.send(ev)
		if !bytes.Equal(before.Append(nil), bytesBefore) {
			t.Fatalf("%s changed the instance that it was given", ev.Path)
		}
	}
}

// What a lane did for one item is not seen by another, in which that lane did not run.
func TestItemsDoNotSeeOneAnother(t *testing.T) {
	w := blockWorld(t, `
saga: big
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- id: lines
  each: {in: '=input.lines', as: x, key: '=x', max: 10, atOnce: 2}
  do:
  - {id: s, scope: {catch: {on: ['*'], do: [{id: k, call: svc.k, kind: readonly, keep: [v]}]}}, do: [{id: a, call: svc.a, undo: {call: svc.b}}]}
  - {id: z, call: svc.z, with: {seen: '=step.k.?v.orValue("none")'}, kind: readonly}
`, `{"lines":["p","q"]}`)
	w.reply("lines[p]/s[1]/a", OutcomeRejected, code("NO"))
	w.reply("lines[p]/k", OutcomeOK, output(`{"v":"of p"}`))
	w.has(`command do lines[p]/z round 1 attempt 1 {"seen":"of p"}`)
	w.reply("lines[q]/s[1]/a", OutcomeOK)
	w.has(`command do lines[q]/z round 1 attempt 1 {"seen":"none"}`)
}

func compileText(t testing.TB, src string) (*Plan, *Definition) {
	t.Helper()
	d, err := ParseDefinition("test", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	p.Namespace = "test"
	return p, d
}
