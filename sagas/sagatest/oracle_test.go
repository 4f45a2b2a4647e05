package sagatest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// oracle keeps the books of one instance from the outside: it sees the commands that went out and
// the replies that went in, never the machine's own state. It is deliberately naive, so that it can
// disagree with the machine.
type oracle struct {
	plan  *sagas.Plan
	run   uint32 // the books are those of one run
	steps map[string]*account
}

// account is what the books say about one step.
type account struct {
	sent      map[uint32]uint32 // round -> attempts of the do that were emitted
	undoSent  map[uint32]uint32 // round -> attempts of the undo
	executed  bool              // a reply said that the do took effect
	refused   bool              // a reply said definitely that it did not
	onlyOne   bool              // that reply came while a single attempt had been emitted
	tooLate   bool              // that reply came when an undo was on its way already
	undone    bool              // an undo was answered ok and nothing has contradicted it since
	undoNoop  bool              // that answer was a noop
	undoRound uint32            // the round of that undo
}

func newOracle(plan *sagas.Plan) *oracle {
	return &oracle{plan: plan, run: 1, steps: make(map[string]*account)}
}

// of is the account of a path; one of a step that was never sent is empty.
func (o *oracle) of(path string) *account {
	a := o.steps[path]
	if a == nil {
		a = &account{sent: make(map[uint32]uint32), undoSent: make(map[uint32]uint32)}
		o.steps[path] = a
	}
	return a
}

func (a *account) attempts() uint32 {
	var n uint32
	for _, k := range a.sent {
		n += k
	}
	return n
}

// debt says that the step may have an effect that nobody has undone: a do went out, and neither a
// refusal of the only attempt nor an undo settled it.
func (a *account) debt() bool {
	if a.attempts() == 0 || a.undone {
		return false
	}
	return a.executed || !a.refused
}

// mayOwe is debt, also counting a refusal of one of several attempts: an undo of it is due when the
// saga compensates, because another attempt may have taken effect.
func (a *account) mayOwe() bool {
	return a.debt() || a.refused && !a.onlyOne && !a.undone
}

// reply books what a participant said. It is booked before the effects of the same event.
func (o *oracle) reply(r sagas.Reply) {
	if r.Run != o.run {
		return
	}
	a := o.of(r.Path)
	switch r.Op {
	case sagas.OpDo, sagas.OpInquire:
		if r.Op == sagas.OpDo && r.Attempt > a.sent[r.Round] {
			return // never emitted
		}
		executed := r.Outcome == sagas.OutcomeOK || r.Outcome == sagas.OutcomeExecuted || r.Effect == sagas.EffectDone
		refused := r.Outcome == sagas.OutcomeRejected || r.Outcome == sagas.OutcomeNotExecuted ||
			r.Outcome == sagas.OutcomeFailedFatal && r.Effect == sagas.EffectNone
		switch {
		case executed:
			a.executed = true
			if a.undone && a.undoNoop {
				a.undone = false // the undo found nothing, and yet there was something
			}
		case refused && !a.refused && !a.executed:
			a.refused = true
			a.onlyOne = a.attempts() == 1
			a.tooLate = len(a.undoSent) > 0
		}
	case sagas.OpUndo:
		if r.Attempt > a.undoSent[r.Round] || r.Outcome != sagas.OutcomeOK {
			return
		}
		if r.Noop && a.executed && r.Round == 1 {
			return // a contradiction: it counts as undone only after another round
		}
		a.undone, a.undoNoop, a.undoRound = true, r.Noop, r.Round
	}
}

func (o *oracle) command(c sagas.Command) {
	if c.Run != o.run {
		return
	}
	a := o.of(c.Path)
	switch c.Op {
	case sagas.OpDo:
		a.sent[c.Round] = max(a.sent[c.Round], c.Attempt)
		a.undone = false
	case sagas.OpUndo:
		a.undoSent[c.Round] = max(a.undoSent[c.Round], c.Attempt)
	}
}

// turnPage begins new books when the saga goes on as another run.
func (o *oracle) turnPage(r sagatest.Record) {
	if r.After != nil && r.After.Run != o.run {
		o.run = r.After.Run
		clear(o.steps)
	}
}

// book takes one record of a trace.
func (o *oracle) book(r sagatest.Record) {
	if rep, ok := r.Event.(sagas.Reply); ok {
		o.reply(rep)
	}
	o.turnPage(r)
	for _, e := range r.Effects {
		switch e := e.(type) {
		case sagas.Command:
			o.command(e)
		case sagas.DeadLetter: // a step of a forgotten round took effect after all: a person has it
			if rep, ok := r.Event.(sagas.Reply); ok && e.Class == sagas.ClassOrphanReply && rep.Run == o.run {
				o.of(rep.Path).executed = false
			}
		}
	}
}

// place is where a path lies: the nodes around the step from the outside in and the step itself, each
// with the key of the frame below it, "" = none.
type place []struct {
	node int
	key  string
}

func placeOf(p *sagas.Plan, path string) place {
	keys := make(map[int]string)
	for _, part := range strings.Split(path, "/") {
		if id, rest, framed := strings.Cut(part, "["); framed {
			keys[p.StepIndex(id)] = strings.TrimSuffix(rest, "]")
		}
	}
	var out place
	for i := nodeOf(p, path); i >= 0; i = p.Steps[i].Parent {
		out = append(out, struct {
			node int
			key  string
		}{i, keys[i]})
	}
	slices.Reverse(out)
	return out
}

// nodeOf is the plan index of the node of a path.
func nodeOf(p *sagas.Plan, path string) int {
	return p.StepIndex(path[strings.LastIndexByte(path, '/')+1:])
}

// dependsOn says whether the step at path y depends on the one at path x: in the innermost list that
// holds both, or by the order of rounds, or of items that go one at a time. It is slow and obvious.
func dependsOn(p *sagas.Plan, y, x string) bool {
	a, b := placeOf(p, x), placeOf(p, y)
	for k := 0; k < len(a) && k < len(b); k++ {
		nx, ny := &p.Steps[a[k].node], &p.Steps[b[k].node]
		if a[k].node != b[k].node {
			if nx.Lane == ny.Lane {
				return waitsFor(p, b[k].node, a[k].node)
			}
			around := &p.Steps[nx.Parent]
			return around.Node == sagas.NodeScope && around.Lanes[ny.Lane].Name == sagas.LaneCatch
		}
		if a[k].key == b[k].key || k == len(a)-1 || k == len(b)-1 {
			continue
		}
		switch nx.Node {
		case sagas.NodeEach:
			return nx.Each.AtOnce == 1 && a[k].key < b[k].key // the items of these tests are sorted
		case sagas.NodeScope: // a step of the catch lane has no key there
			return b[k].key == "" || a[k].key != "" && number(a[k].key) < number(b[k].key)
		default:
			return number(a[k].key) < number(b[k].key)
		}
	}
	return false // the same step, or one around the other
}

func number(key string) int {
	n, err := strconv.Atoi(key)
	if err != nil {
		panic(err)
	}
	return n
}

// waitsFor says whether node y of a list waits for node x, directly or over others.
func waitsFor(p *sagas.Plan, y, x int) bool {
	for _, d := range p.Steps[y].Deps {
		if d == x || waitsFor(p, d, x) {
			return true
		}
	}
	return false
}

// stepOf finds a step, nil = it is not there.
func stepOf(inst *sagas.Instance, path string) *sagas.StepState {
	if inst == nil {
		return nil
	}
	if i := inst.StepIndex(path); i >= 0 {
		return &inst.Steps[i]
	}
	return nil
}

// framesOf are the numbers of the frames around a step, from the inside out.
func framesOf(inst *sagas.Instance, path string) []uint32 {
	step := stepOf(inst, path)
	if step == nil {
		return nil
	}
	var out []uint32
	for id := step.Frame; id != 0; {
		at := slices.IndexFunc(inst.Frames, func(f sagas.Frame) bool { return f.ID == id })
		out = append(out, id)
		id = inst.Frames[at].In
	}
	return out
}

// turnedFrame is the innermost frame around a step that was turned round by itself, 0 = none.
func turnedFrame(inst *sagas.Instance, path string) uint32 {
	for _, id := range framesOf(inst, path) {
		at := slices.IndexFunc(inst.Frames, func(f sagas.Frame) bool { return f.ID == id })
		if st := inst.Frames[at].State; st == sagas.FrameUndoing || st == sagas.FrameUndone {
			return id
		}
	}
	return 0
}

// commands of one record.
func commands(r sagatest.Record) []sagas.Command {
	var out []sagas.Command
	for _, e := range r.Effects {
		if c, ok := e.(sagas.Command); ok {
			out = append(out, c)
		}
	}
	return out
}

// describe is a trace as text, for failure messages.
func describe(trace []sagatest.Record, plan *sagas.Plan) string {
	out := ""
	for i, r := range trace {
		out += fmt.Sprintf("%3d %s\n", i, sagatest.Describe(r))
	}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		out += fmt.Sprintf("    step %d %s in %d %s kind=%d deps=%v attempts=%d attempt=%v within=%v keyWindow=%v inquire=%v undo=%v\n", i, s.Path, s.Parent, s.Node, s.Kind, s.Deps, s.Retry.Attempts, s.Attempt, s.Within, s.KeyWindow, s.Inquire != nil, s.Undo != nil)
	}
	return out
}
