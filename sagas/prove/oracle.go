package prove

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Property is one thing that holds in every run, or does not.
type Property string

// The properties, by the names under which reports and documentation know them.
const (
	Crash      Property = "crash"      // the record reads back as it was, and the machine does not break
	Early      Property = "early"      // a do goes out only when what it waits for is resolved, and never on the way back
	OneKey     Property = "one-key"    // a key has one meaning, attempts of a round share key and payload
	Atomic     Property = "atomic"     // compensated: every effect was reversed exactly once
	Complete   Property = "complete"   // completed: every step took effect exactly once
	NoReturn   Property = "no-return"  // nothing is undone once the pivot was sent and not refused
	Order      Property = "order"      // an undo waits for the debts of what depends on its step
	NoDebtLost Property = "debt"       // what may have an effect is on the books of the instance
	NoIdleUndo Property = "idle-undo"  // a step without effect for sure is never undone
	Liveness   Property = "liveness"   // every run can end, or asks for a person
	Stale      Property = "stale"      // a timer that is not due changes nothing
	OneAnswer  Property = "one-answer" // each cancel is answered once
	Budget     Property = "budget"     // attempts, within and the key window are kept
	Expr       Property = "expr"       // no expression fails, and no value is impossible where it is used
)

// Properties lists all of them in the order of reports.
func Properties() []Property {
	return []Property{Atomic, Complete, NoDebtLost, NoReturn, Order, NoIdleUndo, Early, OneKey, Budget, OneAnswer, Expr, Stale, Liveness, Crash}
}

// Says is the property as a sentence.
func (p Property) Says() string {
	switch p {
	case Crash:
		return "the record reads back as it was written"
	case Early:
		return "no command goes out before what it waits for, or on the way back"
	case OneKey:
		return "one key, one meaning, one payload"
	case Atomic:
		return "compensated means that every effect was reversed exactly once"
	case Complete:
		return "completed means that every step took effect exactly once"
	case NoReturn:
		return "nothing is undone once the pivot may have taken effect"
	case Order:
		return "an undo waits for what depends on its step"
	case NoDebtLost:
		return "no debt is forgotten"
	case NoIdleUndo:
		return "a step without effect is never undone"
	case Liveness:
		return "every run can end, or asks for a person"
	case Stale:
		return "a timer that is not due changes nothing"
	case OneAnswer:
		return "each cancel is answered once"
	case Expr:
		return "no expression fails with a value that the run may have"
	case Budget:
		return "attempts, within and the key window are kept"
	}
	return ""
}

// violation is a property that does not hold, and why.
type violation struct {
	property Property
	text     string
}

func violated(p Property, format string, args ...any) *violation {
	return &violation{p, fmt.Sprintf(format, args...)}
}

// debt says that the step may have an effect that nobody has undone: a do went out, and neither a
// refusal nor an undo settled it.
func (b *books) debt() bool {
	if b.ever == 0 || b.undone || b.waived {
		return false
	}
	return b.done || !b.refused
}

// mayOwe is debt, also counting a refusal of one of several attempts: another one may have taken effect.
func (b *books) mayOwe() bool {
	return b.debt() || b.refused && !b.onlyOne && !b.undone && !b.waived
}

// bookReply notes what a participant said, before the effects of the same event.
func (s *state) bookReply(m *message) {
	b := s.open(m.path)
	a := m.answer
	switch m.op {
	case sagas.OpDo, sagas.OpInquire:
		did := a.outcome == ok || a.outcome == executed
		refused := a.outcome == rejected || a.outcome == notExecuted || a.outcome == fatal && a.effect == effectNone
		switch {
		case did:
			b.done = true
			if b.undone && b.undoNoop {
				b.undone = false // the undo found nothing, and yet there was something
			}
		case refused && !b.refused && !b.done:
			b.refused = true
			b.onlyOne = b.ever == 1
			b.tooLate = b.tried
		}
	case sagas.OpUndo:
		if a.outcome != ok || a.noop && b.done && m.round == 1 {
			return // a contradiction counts as undone only after another round
		}
		b.undone, b.undoNoop = true, a.noop
	}
}

// bookCommand notes a command and says what is wrong with it.
func (x *explorer) bookCommand(s *state, before, after *sagas.Instance, c *sagas.Command) *violation {
	node := x.nodeOf(c.Path)
	if node < 0 || after == nil {
		return violated(Crash, "a command for %q, which the definition does not have", c.Path)
	}
	d := &x.plan.Steps[node]
	b := s.open(c.Path)
	if want := sagas.IdempotencyKey(x.plan.Namespace, c.WorkflowID, c.Run, c.Path, c.Op, c.Round); c.Key != want {
		return violated(OneKey, "%s of %s has a key that is not that of its round", c.Op, c.Path)
	}
	hash := hashOf(c.Payload)
	forward := uint32(0)
	if c.Op != sagas.OpDo {
		for r := uint32(1); r <= max(b.round, 1); r++ {
			if sagas.IdempotencyKey(x.plan.Namespace, c.WorkflowID, c.Run, c.Path, sagas.OpDo, r) == c.ForwardKey {
				forward = r
			}
		}
		if forward == 0 {
			return violated(OneKey, "%s of %s: the forward key is not that of its do", c.Op, c.Path)
		}
	}
	operated := s.used.operators > 0
	switch c.Op {
	case sagas.OpDo:
		again := c.Round == b.round
		switch {
		case again && c.Attempt != b.sent+1 || !again && (c.Attempt != 1 || c.Round != b.round+1):
			return violated(OneKey, "do of %s: attempt %d of round %d after attempt %d of round %d", c.Path, c.Attempt, c.Round, b.sent, b.round)
		case again && b.doHash != 0 && b.doHash != hash:
			return violated(OneKey, "do of %s: attempt %d has another payload than the one before", c.Path, c.Attempt)
		}
		if !again {
			b.first = after.LastNow
		}
		b.round, b.sent, b.doHash = c.Round, c.Attempt, hash
		b.ever = min(b.ever+1, 2)
		b.undone = false
		if v := x.early(s, before, after, c, d); v != nil {
			return v
		}
		if limit := d.Retry.Attempts; limit > 0 && c.Attempt > limit && d.Kind != sagas.Retriable && !operated {
			return violated(Budget, "do of %s: attempt %d of %d", c.Path, c.Attempt, limit)
		}
		if age := after.LastNow - b.first; b.first != 0 && !operated {
			if d.Within > 0 && d.Kind != sagas.Retriable && age > sagas.Time(d.Within.Milliseconds()) {
				return violated(Budget, "do of %s: attempt %d comes later than within allows", c.Path, c.Attempt)
			}
			if d.KeyWindow > 0 && age > sagas.Time(d.KeyWindow.Milliseconds()) {
				return violated(Budget, "do of %s: attempt %d comes after the key window", c.Path, c.Attempt)
			}
		}
	case sagas.OpUndo:
		again := c.Round == b.undoRnd
		switch {
		case again && c.Attempt != b.undoSent+1 || !again && (c.Attempt != 1 || c.Round != b.undoRnd+1):
			return violated(OneKey, "undo of %s: attempt %d of round %d after attempt %d of round %d", c.Path, c.Attempt, c.Round, b.undoSent, b.undoRnd)
		case again && b.undoHash != 0 && b.undoHash != hash:
			return violated(OneKey, "undo of %s: attempt %d has another payload than the one before", c.Path, c.Attempt)
		}
		if v := x.undoAllowed(s, after, c, b); v != nil {
			return v
		}
		b.undoRnd, b.undoSent, b.undoHash, b.tried = c.Round, c.Attempt, hash, true
	default:
		if c.Attempt <= b.asked && c.Round == b.round {
			return violated(OneKey, "question %d about %s after question %d", c.Attempt, c.Path, b.asked)
		}
		b.asked = c.Attempt
	}
	s.put(message{path: c.Path, op: c.Op, round: c.Round, attempt: c.Attempt, forward: forward})
	return nil
}

// early says what is wrong with the moment of a do.
func (x *explorer) early(s *state, before, after *sagas.Instance, c *sagas.Command, d *sagas.PlanStep) *violation {
	if before != nil && before.Phase == sagas.Compensating && after.Phase == sagas.Compensating {
		return violated(Early, "do of %s while the saga compensates", c.Path)
	}
	prefix := c.Path[:strings.LastIndexByte(c.Path, '/')+1]
	for _, dep := range d.Deps {
		other := &x.plan.Steps[dep]
		i := after.StepIndex(prefix + other.Path)
		if i < 0 {
			continue
		}
		if st := &after.Steps[i]; !through(st, other) {
			return violated(Early, "do of %s while %s is %s", c.Path, st.Path, st.State)
		}
	}
	return nil
}

// through says whether what waits for the step may go on.
func through(st *sagas.StepState, d *sagas.PlanStep) bool {
	switch st.State {
	case sagas.StepDone, sagas.StepSkipped:
		return true
	case sagas.StepRefused, sagas.StepFailed, sagas.StepUnknown:
		return d.Kind == sagas.Optional || st.State == sagas.StepRefused && d.OnReject
	}
	// A race lets its followers start while its losers are undone; other blocks are DONE first.
	return false
}

// undoAllowed says what is wrong with an undo at this moment.
func (x *explorer) undoAllowed(s *state, after *sagas.Instance, c *sagas.Command, b *books) *violation {
	if b.ever == 0 && !b.done {
		return violated(NoIdleUndo, "undo of %s, which was never sent", c.Path)
	}
	if b.refused && b.onlyOne && !b.tooLate && !b.done {
		return violated(NoIdleUndo, "undo of %s, whose only attempt was refused", c.Path)
	}
	i := after.StepIndex(c.Path)
	if i < 0 {
		return violated(NoDebtLost, "undo of %s, which the instance does not have", c.Path)
	}
	st := &after.Steps[i]
	if turned(after, st) == 0 {
		if v := x.pivotOpen(s, after, st); v != "" {
			return violated(NoReturn, "undo of %s although the pivot %s was sent and not refused", c.Path, v)
		}
	}
	for k := range after.Steps {
		y := &after.Steps[k]
		if k == i || !owes(x.stepOf(y.Path)) || slices.Contains(after.Residue, y.Path) { // residue is with an operator
			continue
		}
		if o := s.find(y.Path); o != nil && o.mayOwe() && x.dependsOn(after, y, st) {
			return violated(Order, "undo of %s before %s, which depends on it, is out of debt", c.Path, y.Path)
		}
	}
	return nil
}

// pivotOpen is the path of a pivot that was sent and not refused, "" = there is none. A pivot that
// was undone itself, as in a reversible child, is none either.
func (x *explorer) pivotOpen(s *state, inst *sagas.Instance, of *sagas.StepState) string {
	if inst.Parent != nil && inst.Parent.Reversing {
		return ""
	}
	for i := range s.steps {
		b := &s.steps[i]
		if b.ever == 0 || b.refused && !b.done || b.waived {
			continue
		}
		if of != nil && b.path == of.Path || x.stepOf(b.path).Kind != sagas.Pivot {
			continue
		}
		return b.path
	}
	return ""
}

// judgeFact looks at what the machine tells people. An expression that failed holds its step until a
// person acts, although every participant keeps its contract: that is a mistake of the definition.
func (x *explorer) judgeFact(e *sagas.Lifecycle) *violation {
	if e.Kind != sagas.KindAttention || x.opts.FailingExpressions {
		return nil
	}
	reason, text := "", ""
	for _, d := range e.Detail {
		switch d.Key {
		case "reason":
			reason = d.Value
		case "text":
			text = d.Value
		}
	}
	switch sagas.Reason(reason) {
	case sagas.ReasonExpr, sagas.ReasonTooLarge, sagas.ReasonOutput:
		if e.Path == "" {
			return violated(Expr, "the saga cannot go on: %s", text)
		}
		return violated(Expr, "%s cannot go on: %s", e.Path, text)
	}
	return nil
}

// judge looks at a state that was just reached.
func (x *explorer) judge(s *state) *violation {
	inst := s.inst
	if s.used.answered > s.used.cancels {
		return violated(OneAnswer, "a cancel was answered twice")
	}
	if inst == nil {
		return nil
	}
	if !inst.Phase.Active() && inst.Phase != sagas.Parked && s.used.answered != s.used.cancels {
		return violated(OneAnswer, "the saga has ended, and a cancel was not answered")
	}
	for i := range s.steps {
		if v := x.judgeDebt(s, &s.steps[i]); v != nil {
			return v
		}
	}
	switch inst.Phase {
	case sagas.Compensating, sagas.Compensated:
		if path := x.pivotOpen(s, inst, nil); path != "" && x.stepOf(path).Undo == nil && inst.Cause.Kind != sagas.CauseLateEffect && inst.Phase == sagas.Compensating && s.used.operators == 0 {
			return violated(NoReturn, "%s although the pivot %s was sent and not refused", inst.Phase, path)
		}
	}
	switch inst.Phase {
	case sagas.Compensated:
		return x.judgeCompensated(s)
	case sagas.Completed:
		return x.judgeCompleted(s)
	case sagas.Running, sagas.Finishing:
	}
	if inst.Phase.Active() && !x.moves(s) {
		return violated(Liveness, "%s, and nothing will ever move it", inst.Phase)
	}
	return nil
}

// judgeDebt looks for a debt that is not on the books of the instance.
func (x *explorer) judgeDebt(s *state, b *books) *violation {
	inst := s.inst
	if !b.debt() || inst.Phase == sagas.Marker || inst.Phase == sagas.Void || inst.Phase == sagas.Parked {
		return nil
	}
	d := x.stepOf(b.path)
	if !owes(d) {
		if inst.Phase == sagas.Compensated && (d.Kind == sagas.Pivot || d.Kind == sagas.Retriable) {
			return violated(NoDebtLost, "%s may have an effect that cannot be undone, but the saga is compensated", b.path)
		}
		return nil
	}
	i := inst.StepIndex(b.path)
	if i < 0 {
		return violated(NoDebtLost, "%s may have an effect, but the instance has forgotten it", b.path)
	}
	if problem := forgotten(inst, &inst.Steps[i]); problem != "" {
		return violated(NoDebtLost, "%s may have an effect, but %s", b.path, problem)
	}
	return nil
}

// forgotten says what is wrong with a step that is in debt, "" = it is on the books.
func forgotten(inst *sagas.Instance, st *sagas.StepState) string {
	if slices.Contains(inst.Residue, st.Path) {
		return "" // an operator took it on
	}
	listed := slices.ContainsFunc(inst.Attention, func(a sagas.Attention) bool { return a.Path == st.Path })
	forward := st.Undo == sagas.UndoWaived
	switch st.State {
	case sagas.StepPending, sagas.StepBackoff, sagas.StepInquiring, sagas.StepOpen, sagas.StepDone, sagas.StepFailed, sagas.StepUnknown:
		forward = true
	}
	backward := st.Undo == sagas.UndoWaived
	switch st.Undo {
	case sagas.UndoOwed, sagas.UndoPending, sagas.UndoBackoff, sagas.UndoInquiring, sagas.UndoStopped:
		backward = true
	}
	settling := st.State == sagas.StepPending || st.State == sagas.StepInquiring || st.State == sagas.StepOpen
	if turned(inst, st) == sagas.FrameUndone && !backward && !listed {
		return "what it is part of counts as undone"
	}
	switch inst.Phase {
	case sagas.Completed:
		if turned(inst, st) != 0 && !listed {
			return "the saga is completed, and what it is part of was to be undone"
		}
		if !forward && st.Kind != sagas.Optional {
			return "it is " + st.State.String()
		}
	case sagas.Running, sagas.Finishing:
		if !forward && !backward && !listed {
			return "it is " + st.State.String()
		}
	case sagas.Compensating:
		if !backward && !settling && !listed {
			return fmt.Sprintf("the saga compensates and it is %s %s", st.State, st.Undo)
		}
	case sagas.Compensated:
		if !listed {
			return "the saga is compensated"
		}
	case sagas.Closed:
		return "the saga is closed and does not list it as residue"
	}
	return ""
}

// total is how often a step took effect and was reversed, over its rounds.
func (b *books) total() (executed, reversed int) {
	for i := range b.rows {
		if r := &b.rows[i]; r.op == sagas.OpDo {
			executed += int(r.executed)
			reversed += int(r.reversed)
		}
	}
	return executed, reversed
}

func (x *explorer) judgeCompensated(s *state) *violation {
	for i := range s.steps {
		b := &s.steps[i]
		if b.waived {
			continue
		}
		d := x.stepOf(b.path)
		did, back := b.total()
		switch {
		case owes(d) && did != back:
			return violated(Atomic, "compensated, but %s took effect %s and was reversed %s", b.path, times(did), times(back))
		case !owes(d) && d.Node == sagas.NodeCall && (d.Kind == sagas.Pivot || d.Kind == sagas.Retriable) && did > 0:
			return violated(Atomic, "compensated, but %s took effect and has no undo", b.path)
		}
	}
	return nil
}

func (x *explorer) judgeCompleted(s *state) *violation {
	inst := s.inst
	for i := range inst.Steps {
		st := &inst.Steps[i]
		d := x.stepOf(st.Path)
		if d.Node != sagas.NodeCall || d.Kind == sagas.Optional {
			continue
		}
		did, back := 0, 0
		if b := s.find(st.Path); b != nil {
			if b.waived {
				continue
			}
			did, back = b.total()
		}
		if turned(inst, st) != 0 {
			if did != back && owes(d) {
				return violated(Complete, "completed, but %s, which was to be undone, took effect %s and was reversed %s", st.Path, times(did), times(back))
			}
			continue
		}
		switch {
		case back != 0:
			return violated(Complete, "completed, but %s was reversed", st.Path)
		case st.State == sagas.StepDone && did != 1:
			return violated(Complete, "completed, but %s took effect %s", st.Path, times(did))
		case st.State == sagas.StepDone, (st.State == sagas.StepSkipped || st.State == sagas.StepAbandoned) && did == 0:
		case st.State == sagas.StepRefused && d.OnReject && did == 0:
		default:
			return violated(Complete, "completed, but %s is %s and took effect %s", st.Path, st.State, times(did))
		}
	}
	return nil
}

// judgeContinued looks at a run that has just gone on as the next one: the record is already that of
// the next run, so only the books can tell. before is the instance at the event that ended the run.
func (x *explorer) judgeContinued(s *state, before *sagas.Instance) *violation {
	if s.used.answered != s.used.cancels {
		return violated(OneAnswer, "the next run has begun, and a cancel was not answered")
	}
	for i := range s.steps {
		b := &s.steps[i]
		d := x.stepOf(b.path)
		if d.Node != sagas.NodeCall || d.Kind == sagas.Optional || b.waived {
			continue
		}
		back := b.undone
		if k := before.StepIndex(b.path); k >= 0 {
			back = back || turned(before, &before.Steps[k]) != 0
		}
		did, reversed := b.total()
		switch {
		case back:
			if owes(d) && did != reversed {
				return violated(Complete, "the next run has begun, but %s, which was to be undone, took effect %s and was reversed %s", b.path, times(did), times(reversed))
			}
		case reversed != 0:
			return violated(Complete, "the next run has begun, but %s was reversed", b.path)
		case b.done && did != 1, !b.done && b.refused && did != 0:
			return violated(Complete, "the next run has begun, but %s took effect %s", b.path, times(did))
		case !b.done && !b.refused:
			return violated(NoDebtLost, "the next run has begun, and nobody knows whether %s took effect", b.path)
		}
	}
	return nil
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// moves says whether something other than a person can move an active instance, or a person is asked.
func (x *explorer) moves(s *state) bool {
	if len(s.inst.Attention) > 0 || len(s.msgs) > 0 || s.inst.Suspended || x.waits(s) {
		return true
	}
	for i := range s.inst.Steps {
		if s.inst.Steps[i].Timer.Due != 0 {
			return true
		}
	}
	return false
}

func hashOf(b []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(b)
	return h.Sum32() | 1
}
