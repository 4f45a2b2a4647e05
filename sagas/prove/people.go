package prove

import (
	"fmt"

	"github.com/amendsio/amends/sagas"
)

// action is one thing that an operator may do. What an operator says of an effect is true.
type action struct {
	verb   sagas.AdminAction
	path   string
	effect sagas.Certainty // resolve
}

// actions lists what an operator may do in a state that asks for a person.
func (x *explorer) actions(s *state) []action {
	inst := s.inst
	if len(inst.Attention) == 0 || int(s.used.operators) >= x.opts.Operators {
		return nil
	}
	var out []action
	if inst.Phase.Active() {
		out = append(out, action{verb: sagas.AdminClose})
	}
	if inst.Phase == sagas.Running {
		out = append(out, action{verb: sagas.AdminCompensate})
	}
	last := ""
	for i := range inst.Attention {
		path := inst.Attention[i].Path
		if path == "" || path == last {
			continue
		}
		last = path
		if inst.Phase.Active() {
			out = append(out, action{verb: sagas.AdminRetry, path: path})
		}
		out = append(out, action{verb: sagas.AdminWaive, path: path})
		if effect := x.truthOf(s, path); effect != "" {
			out = append(out, action{sagas.AdminResolve, path, effect})
		}
	}
	return out
}

// truthOf is whether the effect of a step is there, "" = that cannot be said yet, because a do is on
// its way.
func (x *explorer) truthOf(s *state, path string) sagas.Certainty {
	b := s.find(path)
	if b == nil || x.stepOf(path).Node != sagas.NodeCall {
		return ""
	}
	if did, back := b.total(); did > back {
		return sagas.EffectDone
	}
	for i := range s.msgs {
		if m := &s.msgs[i]; m.path == path && m.op == sagas.OpDo && !m.reply {
			return ""
		}
	}
	return sagas.EffectNone
}

// operate lets an operator act; nil = the machine does not let him.
func (x *explorer) operate(s, next *state, a action) (*state, *violation) {
	next.used.operators++
	ev := sagas.Admin{Action: a.verb, Path: a.path, Effect: a.effect, Operator: "ops", Reason: "prove", RequestID: fmt.Sprintf("ops-%d", next.used.operators)}
	_, effects, _ := x.run(s.inst, ev, base)
	for _, e := range effects {
		if _, is := e.(sagas.Ignored); is {
			return nil, nil
		}
	}
	if a.path != "" {
		b := next.open(a.path)
		switch {
		case a.verb == sagas.AdminWaive:
			b.waived = true
		case a.effect == sagas.EffectDone:
			b.done, b.undone = true, false
		case a.effect == sagas.EffectNone:
			b.undone, b.undoNoop = true, false
			if !b.done && !b.refused {
				b.refused, b.onlyOne, b.tooLate = true, b.ever == 1, b.tried
			}
		}
	}
	return x.feed(s, next, ev, base)
}
