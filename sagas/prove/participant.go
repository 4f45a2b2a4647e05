package prove

import (
	"github.com/amendsio/amends/sagas"
)

// Codes that participants answer with when the definition does not care which.
const (
	codeRefused     = "REFUSED"
	codeUnavailable = "UNAVAILABLE"
	codeBroken      = "BROKEN"
	codeSuppressed  = "SUPPRESSED"
)

// choice is one way for a participant to take a command.
type choice struct {
	answer   answer
	executes bool // the command takes effect
	passing  bool // nothing is stored: the next delivery is decided anew
}

// choices lists what a participant may do with a command: one thing when its inbox decides.
//
// Silence needs no choice of its own: a command that stays on its way, or a reply that does, is just
// that. A passing answer to an attempt that is not the newest would change nothing anywhere, so it is
// left out; at the bound of attempts everybody answers for good.
func (x *explorer) choices(s *state, m *message) []choice {
	b := s.find(m.path)
	if m.child {
		return x.childChoices(b, m)
	}
	step := x.stepOf(m.path)
	switch m.op {
	case sagas.OpDo:
		return x.doChoices(b, m, step)
	case sagas.OpUndo:
		if r := b.row(sagas.OpUndo, m.round); r != nil {
			return []choice{{answer: r.kept}}
		}
		out := []choice{{answer: answer{outcome: ok}}}
		if m.attempt == b.undoSent && m.round == b.undoRnd && int(m.attempt) < x.opts.Attempts {
			out = append(out, choice{answer: answer{outcome: retriable, code: codeUnavailable}, passing: true})
		}
		return append(out, choice{answer: answer{outcome: fatal, code: codeBroken}})
	default:
		out := []choice{{}} // the truth
		if m.attempt == b.asked && int(m.attempt) < x.opts.Attempts {
			out = append(out, choice{answer: answer{outcome: running}, passing: true})
		}
		return out
	}
}

func (x *explorer) doChoices(b *books, m *message, step *sagas.PlanStep) []choice {
	if r := b.row(sagas.OpDo, m.round); r != nil {
		switch {
		case r.tomb && x.opts.Faults&SuppressedOK != 0:
			return []choice{{answer: answer{outcome: ok, output: first(x.outputs(m.path))}}}
		case r.tomb:
			return []choice{{answer: answer{outcome: rejected, effect: effectNone, code: codeSuppressed}}}
		case r.kept.outcome != 0:
			return []choice{{answer: r.kept, executes: x.opts.Faults&NoDedupe != 0 && r.kept.outcome == ok}}
		case r.executed > 0:
			return []choice{{answer: answer{outcome: ok, output: r.kept.output}, executes: x.opts.Faults&NoDedupe != 0}}
		}
	}
	outputs := x.outputs(m.path)
	var out []choice
	for i := range max(len(outputs), 1) {
		a := answer{outcome: ok}
		if len(outputs) > 0 {
			a.output = uint8(i + 1)
		}
		out = append(out, choice{answer: a, executes: true})
	}
	newest := m.round == b.round && m.attempt == b.sent
	if step.Kind == sagas.Retriable {
		if newest && int(m.attempt) < x.opts.Attempts {
			out = append(out, choice{answer: answer{outcome: retriable, code: codeUnavailable}, passing: true})
		}
		return out
	}
	for _, code := range x.codes[x.nodeOf(m.path)] {
		out = append(out, choice{answer: answer{outcome: rejected, code: code}, passing: x.opts.Faults&NoRefusals != 0})
	}
	out = append(out, choice{answer: answer{outcome: fatal, code: codeBroken}})
	if newest {
		out = append(out, choice{answer: answer{outcome: retriable, code: codeUnavailable}, passing: true})
	}
	if step.Kind == sagas.ReadOnly {
		return out
	}
	out = append(out, choice{answer: answer{outcome: fatal, code: codeBroken, output: first(outputs)}, executes: true})
	if newest { // it took effect behind the back of the one who answers
		out = append(out, choice{answer: answer{outcome: retriable, code: codeUnavailable, output: first(outputs)}, executes: true})
	}
	return out
}

func first(outputs [][]byte) uint8 { return uint8(min(len(outputs), 1)) }

// handle lets the participant take a command in the way of c, and returns its reply. The state is
// changed.
func (x *explorer) handle(s *state, m message, c choice) message {
	b := s.open(m.path)
	reply := m
	reply.reply = true
	reply.forward, reply.again = 0, false
	reply.answer = c.answer
	switch m.op {
	case sagas.OpDo:
		x.handleDo(b, &m, c)
		if c.answer.outcome != ok {
			reply.answer.output = 0
		}
	case sagas.OpUndo:
		reply.answer = x.handleUndo(b, &m, c)
	default:
		if c.answer.outcome == 0 {
			reply.answer = x.truth(b, &m)
		}
	}
	return reply
}

func (x *explorer) handleDo(b *books, m *message, c choice) {
	old := b.row(sagas.OpDo, m.round)
	known := old != nil && (old.tomb || old.kept.outcome != 0 || old.executed > 0)
	if known && !c.executes {
		return
	}
	if !c.executes && c.passing {
		return
	}
	r := b.write(sagas.OpDo, m.round)
	if c.executes && r.executed < 250 {
		r.executed++
	}
	switch c.answer.outcome {
	case ok, rejected, fatal:
		r.kept = c.answer
	default:
		r.kept.output = c.answer.output
	}
}

func (x *explorer) handleUndo(b *books, m *message, c choice) answer {
	if b.row(sagas.OpUndo, m.round) != nil || c.answer.outcome == retriable {
		return c.answer
	}
	a := c.answer
	if a.outcome == ok {
		fwd := b.row(sagas.OpDo, m.forward)
		switch {
		case fwd != nil && fwd.executed > 0 && fwd.reversed > 0: // what an earlier round reversed stays so
		case fwd != nil && fwd.executed > 0:
			b.write(sagas.OpDo, m.forward).reversed++
		case fwd == nil && x.opts.Faults&NoNullCompensation != 0:
			b.write(sagas.OpDo, m.forward).reversed++
		case fwd == nil && x.opts.Faults&NoTombstone == 0:
			b.write(sagas.OpDo, m.forward).tomb = true
			a.noop = true
		default:
			a.noop = true
		}
	}
	b.write(sagas.OpUndo, m.round).kept = a
	return a
}

// truth answers a question. A do that never came is refused from now on, because not-executed
// promises that it will not take effect later either.
func (x *explorer) truth(b *books, m *message) answer {
	fwd := b.row(sagas.OpDo, m.forward)
	switch {
	case fwd == nil:
		if x.opts.Faults&HastyInquiry == 0 {
			b.write(sagas.OpDo, m.forward).tomb = true
		}
		return answer{outcome: notExecuted}
	case fwd.executed > 0 && fwd.reversed == 0:
		return answer{outcome: executed, output: fwd.kept.output}
	}
	return answer{outcome: notExecuted}
}

// inert says whether taking the command could change nothing at its participant, and returns the
// reply it would give.
func (x *explorer) inert(s *state, m message) (message, bool) {
	cs := x.choices(s, &m)
	if len(cs) != 1 || cs[0].executes {
		return message{}, false
	}
	b := s.find(m.path)
	switch m.op {
	case sagas.OpDo:
		r := b.row(sagas.OpDo, m.round)
		if r == nil || !r.tomb && r.kept.outcome == 0 && r.executed == 0 {
			return message{}, false
		}
	case sagas.OpUndo:
		if b.row(sagas.OpUndo, m.round) == nil {
			return message{}, false
		}
	default:
		if b.row(sagas.OpDo, m.forward) == nil {
			return message{}, false
		}
	}
	probe := *s
	probe.steps = append([]books(nil), s.steps...)
	return x.handle(&probe, m, cs[0]), true
}
