package prove

import (
	"fmt"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// trace tells the run that leads to a finding.
func (x *explorer) trace(f *finding) (*Counterexample, error) {
	var moves []int
	if f.move >= 0 {
		moves = append(moves, f.move)
	}
	for id := f.from; ; {
		s := x.state(id)
		if s.parent == noParent {
			break
		}
		moves = append(moves, int(s.move))
		id = s.parent
	}
	c := &Counterexample{Property: f.property, Text: f.text}
	t := teller{x: x}
	s := &state{}
	for i := len(moves) - 1; i >= 0; i-- {
		all := x.successors(s)
		if moves[i] >= len(all) {
			return nil, fmt.Errorf("the run cannot be repeated: state %d has %d moves, not %d", len(moves)-i, len(all), moves[i])
		}
		m := all[moves[i]]
		t.tell(s, m)
		next, _ := x.apply(s, m)
		s, _ = decodeState(next.append(nil))
	}
	c.Events = t.events
	c.Script = t.script()
	return c, nil
}

// teller writes a run down, as sentences and as a script.
type teller struct {
	x      *explorer
	events []string
	verbs  []string
}

func (t *teller) say(format string, args ...any) {
	t.events = append(t.events, fmt.Sprintf(format, args...))
}

func (t *teller) verb(format string, args ...any) {
	t.verbs = append(t.verbs, fmt.Sprintf(format, args...))
}

// tell writes one move down.
func (t *teller) tell(s *state, m move) {
	switch m.kind {
	case moveStart:
		input := t.x.inputs[m.at]
		t.say("start with %s", input)
		t.verb("start id=prove\n%s", input)
	case moveDeliver:
		msg := s.msgs[m.at]
		if m.twice {
			t.say("%s arrives, and will arrive once more", describe(&msg))
		} else {
			t.say("%s arrives", describe(&msg))
		}
		t.reply(&msg)
	case moveTake, moveTakeOnly:
		msg := s.msgs[m.at]
		probe := s.clone()
		reply := t.x.handle(probe, msg, m.choice)
		what := "takes"
		if m.twice {
			what = "takes (the first of two deliveries of)"
		}
		t.say("%s %s %s: %s", t.x.participant(&msg), what, describe(&msg), t.x.consequence(s, probe, &msg, &reply))
		if m.kind == moveTake {
			t.say("%s arrives", describe(&reply))
			t.reply(&reply)
		} else {
			t.verb("# %s", t.events[len(t.events)-1])
		}
	case moveTime:
		d := time.Duration(t.x.nextDue(s)-base) * time.Millisecond
		t.say("%s pass, and the next timer fires", d)
		t.verb("advance %s", d)
	case moveDeadline:
		t.say("the deadline of the saga passes")
		t.verb("deadline")
	case moveCancel:
		t.say("somebody cancels")
		t.verb("cancel id=prove request=cancel-%d", s.used.cancels+1)
	case moveSignal:
		sig := t.x.arriving(s)[m.at]
		who := ""
		if sig.actor != "" {
			who = " of " + sig.actor
		}
		t.say("the signal %s%s comes with %s", sig.name, who, sig.payload)
		line := "signal name=" + sig.name
		if sig.actor != "" {
			line += " actor=" + sig.actor
		}
		t.verb("%s\n%s", line, sig.payload)
	case moveOperate:
		a := t.x.actions(s)[m.at]
		says, args := string(a.verb), ""
		if a.path != "" {
			says, args = says+" "+a.path, " step="+a.path
		}
		if a.effect != "" {
			says, args = says+" as "+string(a.effect), args+" effect="+string(a.effect)
		}
		t.say("an operator acts: %s", says)
		t.verb("admin %s%s operator=ops reason=prove", a.verb, args)
	}
}

// reply is the verb that gives the machine a reply.
func (t *teller) reply(m *message) {
	a := m.answer
	var b strings.Builder
	if m.child {
		phase := sagas.Compensated
		if m.op == sagas.OpDo && a.outcome == ok {
			phase = sagas.Completed
		}
		fmt.Fprintf(&b, "childdone step=%s phase=%s", m.path, phase)
		if a.code != "" {
			fmt.Fprintf(&b, " code=%s", a.code)
		}
		if a.output > 0 {
			fmt.Fprintf(&b, "\n%s", t.x.outputs(m.path)[a.output-1])
		}
		t.verb("%s", b.String())
		return
	}
	fmt.Fprintf(&b, "reply step=%s op=%s round=%d attempt=%d outcome=%s", m.path, m.op, m.round, m.attempt, outcomes[a.outcome])
	if a.effect != effectDefault {
		fmt.Fprintf(&b, " effect=%s", effects[a.effect])
	}
	if a.code != "" {
		fmt.Fprintf(&b, " code=%s", a.code)
	}
	if a.noop {
		b.WriteString(" noop")
	}
	if a.output > 0 {
		fmt.Fprintf(&b, "\n%s", t.x.outputs(m.path)[a.output-1])
	}
	t.verb("%s", b.String())
}

// describe names a message.
func describe(m *message) string {
	name := fmt.Sprintf("%s %s#%d", m.op, m.path, m.attempt)
	if m.round > 1 {
		name = fmt.Sprintf("%s %s#%d of round %d", m.op, m.path, m.attempt, m.round)
	}
	if !m.reply {
		return name
	}
	out := "the reply " + string(outcomes[m.answer.outcome])
	if m.answer.code != "" {
		out += " " + m.answer.code
	}
	if m.answer.noop {
		out += " (noop)"
	}
	return out + " to " + name
}

// participant is who takes a command.
func (x *explorer) participant(m *message) string {
	d := x.stepOf(m.path)
	if m.child {
		return "the child " + m.path
	}
	if m.op == sagas.OpUndo && d.Undo != nil {
		return d.Undo.Participant
	}
	return d.Participant
}

// consequence says what taking a command does at its participant.
func (x *explorer) consequence(before, after *state, m, reply *message) string {
	was, is := before.find(m.path), after.find(m.path)
	did, back := was.total()
	did2, back2 := is.total()
	says := "it answers " + string(outcomes[reply.answer.outcome])
	if reply.answer.code != "" {
		says += " " + reply.answer.code
	}
	switch {
	case did2 > did:
		return "it takes effect, and " + says
	case back2 > back:
		return "it reverses the effect, and " + says
	}
	return "it does nothing, and " + says
}

// script writes the run as a script, without the definition and without the answers.
func (t *teller) script() string {
	var b strings.Builder
	for _, v := range t.verbs {
		if strings.HasPrefix(v, "#") {
			fmt.Fprintf(&b, "\n%s\n", v)
			continue
		}
		fmt.Fprintf(&b, "\n%s\n----\n", v)
	}
	return b.String()
}
