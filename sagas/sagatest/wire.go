package sagatest

import (
	"fmt"
	"strconv"

	"github.com/amendsio/amends/sagas"
)

func uitoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// wireRule is what happens to the next messages of a step on their way.
type wireRule struct {
	path  string
	op    sagas.Op
	reply bool
	fate  Fate
	left  uint64 // messages it still applies to
}

// wire loses, delays or doubles what is on its way between the saga and a virtual participant.
func (s *Script) wire(a *arguments, _ string) error {
	r := wireRule{op: sagas.OpDo, reply: true, left: 1}
	var ok bool
	if r.path, ok = a.text("step"); !ok {
		return fmt.Errorf("step= is needed")
	}
	if name, ok := a.text("op"); ok {
		if r.op = opNamed(name); r.op == 0 {
			return fmt.Errorf("%q is not an operation (do, undo, inquire)", name)
		}
	}
	if name, ok := a.text("message"); ok {
		if name != "reply" && name != "command" {
			return fmt.Errorf("%q is not a message (command, reply)", name)
		}
		r.reply = name == "reply"
	}
	if n, given, err := a.uint("times"); err != nil {
		return err
	} else if given {
		r.left = n
	}
	r.fate.Lost = a.flag("lost")
	if a.flag("twice") {
		r.fate.Copies = 1
	}
	late, _, err := a.duration("late")
	if err != nil {
		return err
	}
	r.fate.Delay = late
	if r.fate == (Fate{}) {
		return fmt.Errorf("what becomes of it is needed: lost, twice, or late=7d")
	}
	s.wires = append(s.wires, r)
	s.world.Faults.Command = func(c sagas.Command) Fate { return s.fate(c.Path, c.Op, false) }
	s.world.Faults.Reply = func(r sagas.Reply) Fate { return s.fate(r.Path, r.Op, true) }
	return nil
}

func opNamed(name string) sagas.Op {
	for _, op := range []sagas.Op{sagas.OpDo, sagas.OpUndo, sagas.OpInquire} {
		if op.String() == name {
			return op
		}
	}
	return 0
}

func (s *Script) fate(path string, op sagas.Op, reply bool) Fate {
	for i := range s.wires {
		if r := &s.wires[i]; r.left > 0 && r.path == path && r.op == op && r.reply == reply {
			r.left--
			return r.fate
		}
	}
	return Fate{}
}
