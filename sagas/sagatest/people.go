package sagatest

import (
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Verbs of signals, operators, parents and children.

func (s *Script) signal(a *arguments, body string) error {
	ev, err := s.readSignal(a, body)
	if err != nil {
		return err
	}
	s.feed(ev)
	return nil
}

// readSignal reads the arguments that signal and admin signal have in common.
func (s *Script) readSignal(a *arguments, body string) (sagas.Signal, error) {
	ev := sagas.Signal{IssuedAt: s.world.Now(), WorkflowID: s.world.View().WorkflowID}
	var ok bool
	if ev.Name, ok = a.text("name"); !ok {
		if ev.Name = s.awaited(a); ev.Name == "" {
			return ev, fmt.Errorf("name= is needed, or step= of an await that is open")
		}
	}
	ev.ID, _ = a.text("id")
	ev.Actor, _ = a.text("actor")
	if body != "" {
		ev.Payload = []byte(body)
	}
	if text, ok := a.text("payload"); ok {
		ev.Payload = []byte(text)
	}
	ttl, _, err := a.duration("ttl")
	if err != nil {
		return ev, err
	}
	ev.TTL = ttl.Milliseconds()
	if id, ok := a.text("to"); ok {
		typ := "unknown"
		if s.newest != nil {
			typ = s.newest.Type
		}
		ev.WorkflowID = typ + "/" + id
	}
	return ev, nil
}

// awaited is the name of the signal that an open await waits for: an event comes as a signal whose name
// has its value in it.
func (s *Script) awaited(a *arguments) string {
	path, _ := a.text("step")
	inst := s.world.Instance()
	if inst == nil || s.newest == nil {
		return ""
	}
	i := inst.StepIndex(path)
	if i < 0 {
		return ""
	}
	return sagas.AwaitedSignal(&s.newest.Steps[inst.Steps[i].Node], &inst.Steps[i])
}

// admin reads an operator's action: its name is the bare argument.
func (s *Script) admin(a *arguments, body string) error {
	ev := sagas.Admin{}
	for _, arg := range a.list {
		if len(arg.Values) == 0 && ev.Action == "" {
			a.used[arg.Name] = true
			ev.Action = sagas.AdminAction(arg.Name)
		}
	}
	if ev.Action == "" {
		return fmt.Errorf("an action is needed, as in: admin retry step=auth")
	}
	ev.Path, _ = a.text("step")
	ev.Operator, _ = a.text("operator")
	ev.Reason, _ = a.text("reason")
	ev.RequestID, _ = a.text("request")
	effect, _ := a.text("effect")
	ev.Effect = sagas.Certainty(effect)
	rev, _, err := a.uint("expect-rev")
	if err != nil {
		return err
	}
	ev.ExpectRev = rev
	by, _, err := a.duration("by")
	if err != nil {
		return err
	}
	ev.By = by.Milliseconds()
	if ev.Action == sagas.AdminSignal {
		sig, err := s.readSignal(a, body)
		if err != nil {
			return err
		}
		ev.Signal = &sig
	} else if body != "" {
		ev.Output = []byte(body)
	}
	if text, ok := a.text("output"); ok {
		ev.Output = []byte(text)
	}
	s.feed(ev)
	return nil
}

func (s *Script) childDone(a *arguments, body string) error {
	ev := sagas.ChildDone{Run: 1}
	var ok bool
	if ev.Path, ok = a.text("step"); !ok {
		return fmt.Errorf("step= is needed")
	}
	if inst := s.world.Instance(); inst != nil {
		ev.Run = inst.Run
		if i := inst.StepIndex(ev.Path); i >= 0 {
			ev.Child = inst.Steps[i].Child
		}
	}
	if child, ok := a.text("child"); ok {
		ev.Child = child
	}
	run, given, err := a.uint("run")
	if err != nil {
		return err
	}
	if given {
		ev.Run = uint32(run)
	}
	phase, _ := a.text("phase")
	switch phase {
	case "completed":
		ev.Phase = sagas.Completed
	case "compensated":
		ev.Phase = sagas.Compensated
	case "closed":
		ev.Phase = sagas.Closed
	case "rejected":
	default:
		return fmt.Errorf("phase=%s is not the end of a child (completed, compensated, closed, rejected)", phase)
	}
	ev.Code, _ = a.text("code")
	ev.Message, _ = a.text("message")
	if body != "" {
		ev.Output = []byte(body)
	}
	if text, ok := a.text("output"); ok {
		ev.Output = []byte(text)
	}
	s.feed(ev)
	return nil
}

// readParent reads parent=, parent-run= and parent-step=; by default those of the instance.
func (s *Script) readParent(a *arguments) (p sagas.Parent, err error) {
	p = sagas.Parent{Run: 1}
	if inst := s.world.Instance(); inst != nil && inst.Parent != nil {
		p = *inst.Parent
	}
	if text, ok := a.text("parent"); ok {
		p.WorkflowID = text
	}
	run, given, err := a.uint("parent-run")
	if err != nil {
		return p, err
	}
	if given {
		p.Run = uint32(run)
	}
	if text, ok := a.text("parent-step"); ok {
		p.Path = text
	}
	return p, nil
}

func (s *Script) reverse(a *arguments, _ string) error {
	p, err := s.readParent(a)
	if err != nil {
		return err
	}
	s.feed(sagas.Reverse{WorkflowID: s.world.View().WorkflowID, Parent: p.WorkflowID, Run: p.Run, Path: p.Path})
	return nil
}

func (s *Script) parentClosed(a *arguments, _ string) error {
	p, err := s.readParent(a)
	if err != nil {
		return err
	}
	s.feed(sagas.ParentClosed{WorkflowID: s.world.View().WorkflowID, Parent: p.WorkflowID, Run: p.Run, Path: p.Path})
	return nil
}

// formatPeople is one line about an effect that is neither a command nor a fact.
func formatPeople(e sagas.Effect, keys *keyNames) (string, bool) {
	switch e := e.(type) {
	case sagas.Emit:
		return fmt.Sprintf("> emit %s %s key=%s id=%s%s", e.Topic, e.Type, quoteIfNeeded(e.Key), keys.short(e.ID), compact(e.Payload)), true
	case sagas.StartChild:
		var b strings.Builder
		fmt.Fprintf(&b, "> start child %s", e.Start.WorkflowID)
		if e.Start.Version != 0 {
			fmt.Fprintf(&b, " version=%d", e.Start.Version)
		}
		if p := e.Start.Parent; p != nil && p.Reversible {
			b.WriteString(" reversible")
		}
		fmt.Fprintf(&b, " start-id=%s%s", e.Start.StartID, compact(e.Start.Input))
		return b.String(), true
	case sagas.TellParent:
		line := fmt.Sprintf("> tell parent %s %s: %s", e.WorkflowID, e.Done.Path, endOf(e.Done.Phase))
		if e.Done.Run > 1 {
			line += fmt.Sprintf(" run=%d", e.Done.Run)
		}
		if e.Done.Code != "" {
			line += " code=" + e.Done.Code
		}
		return line + compact(e.Done.Output), true
	case sagas.Subscribe:
		line := fmt.Sprintf("> subscribe %s %s=%s", e.Path, topicOf(e.Route), e.Value)
		if e.Reply != nil {
			line = fmt.Sprintf("> subscribe %s %s#%d.%d %s=%s", e.Path, e.Reply.Op, e.Reply.Round, e.Reply.Attempt, topicOf(e.Route), keys.short(e.Value))
		}
		return line, true
	case sagas.Unsubscribe:
		return fmt.Sprintf("> unsubscribe %s %s=%s", e.Path, topicOf(e.Route), e.Value), true
	case sagas.TellChild:
		return fmt.Sprintf("> tell child %s: %s", e.WorkflowID, eventName(e.Event)), true
	}
	return "", false
}

// topicOf is the topic of a route.
func topicOf(route string) string { return route[:strings.LastIndexByte(route, '/')] }

func endOf(p sagas.Phase) string {
	if p == 0 {
		return "rejected"
	}
	return p.String()
}

// eventName is the type of an event as a verb.
func eventName(ev sagas.Event) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", ev), "sagas."))
}

// statePeople prints what the verb state shows of waits, signals and relatives.
func (s *Script) statePeople(inst *sagas.Instance, now sagas.Time) {
	if p := inst.Parent; p != nil {
		s.printf("parent %s %s", p.WorkflowID, p.Path)
		for _, f := range []struct {
			name string
			set  bool
		}{{"reversible", p.Reversible}, {"reversing", p.Reversing}, {"released", p.Released}} {
			if f.set {
				s.printf(" %s", f.name)
			}
		}
		s.println("")
	}
	for i := range inst.Steps {
		step := &inst.Steps[i]
		if step.Child != "" {
			s.printf("child %s: %s\n", step.Path, step.Child)
		}
		if step.Lease != 0 {
			s.printf("lease %s: %s\n", step.Path, since(step.Lease, now))
		}
		for _, v := range step.Votes {
			word := "refuse"
			if v.Approve {
				word = "approve"
			}
			s.printf("vote %s: %s %s\n", step.Path, v.Actor, word)
		}
	}
	for _, sig := range inst.Signals {
		s.printf("signal %s", sig.Name)
		if sig.ID != "" {
			s.printf(" id=%s", sig.ID)
		}
		if sig.Expires != 0 {
			s.printf(" expires=%s", since(sig.Expires, now))
		}
		s.println(compact(sig.Payload))
	}
	for _, v := range inst.Latest {
		s.printf("latest %s%s\n", v.Name, compact(v.Value))
	}
}
