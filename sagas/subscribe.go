package sagas

import (
	"errors"
	"slices"
)

// An await of events is an await of a signal whose name has the value in it. What it adds is the
// subscription: who waits for which value. A step that waits keeps its subscription in Payload, so that it
// can be taken back whatever has become of the definition.
//
// Subscriptions are not emitted where waits begin and end, of which there are many. They are what an
// instance has, and Step compares: what is there after an event and was not before is subscribed, what is
// gone is taken back. So a wait that ends in any way at all ends its subscription.

// subscription is what an open await of events waits for.
type subscription struct {
	run          uint32
	path         string
	route, value string
}

// signal is the name of the signal that its events become.
func (s *subscription) signal() string { return eventSignal(s.route, s.value) }

// openEvent fixes which value the READY step i waits for, and says whether it could: a value that
// cannot be had holds the step.
func (m *machine) openEvent(i int) bool {
	d := m.plan(i).Await
	value, err := d.Equals.String(m.scopeAt(i))
	if err == nil && (value == "" || len(value) > MaxMatchBytes) {
		err = errMatchValue
	}
	if err != nil {
		m.hold(i, ReasonExpr, "await.equals: "+err.Error())
		return false
	}
	o := &object{}
	o.set("route", d.Route)
	o.set("value", value)
	m.inst.Steps[i].Payload = appendJSON(nil, o)
	return true
}

// awaitSignal is the name of the signal that the open await i waits for.
func (m *machine) awaitSignal(i int) string {
	if d := m.plan(i).Await; d.Route == "" {
		return d.Signal
	}
	return AwaitedSignal(m.plan(i), &m.inst.Steps[i])
}

// AwaitedSignal is the name of the signal that a step waits for, "" when it waits for none. The events of
// an await of events become signals of that name.
func AwaitedSignal(d *PlanStep, s *StepState) string {
	if s.State != StepOpen || s.Lane != 0 || d.Await == nil {
		return ""
	}
	if d.Await.Route == "" {
		return d.Await.Signal
	}
	if sub, ok := s.subscription(); ok {
		return sub.signal()
	}
	return ""
}

// AwaitedValue is the value that the events have for which a step waits, and the route that brings them.
func AwaitedValue(s *StepState) (route, value string, ok bool) {
	sub, ok := s.subscription()
	return sub.route, sub.value, ok
}

// subscription reads what an open step waits for, if it is an event. No other step that is OPEN has a
// payload.
func (s *StepState) subscription() (subscription, bool) {
	if s.State != StepOpen || s.Lane != 0 || len(s.Payload) == 0 {
		return subscription{}, false
	}
	o, err := parseObject(s.Payload)
	if err != nil {
		return subscription{}, false
	}
	route, _ := o.get("route")
	value, _ := o.get("value")
	sub := subscription{path: s.Path}
	sub.route, _ = route.(string)
	sub.value, _ = value.(string)
	return sub, sub.route != "" && sub.value != ""
}

// subscriptions are those of an instance, in the order of its steps; nil is none.
func (i *Instance) subscriptions() []subscription {
	if i == nil || !i.Phase.Active() || !i.dynamic() {
		return nil
	}
	var out []subscription
	for k := range i.Steps {
		if sub, ok := i.Steps[k].subscription(); ok {
			sub.run = i.Run
			out = append(out, sub)
		}
	}
	return out
}

// forget drops what the step at path waited for.
func (i *Instance) forget(path string) {
	if k := i.StepIndex(path); k >= 0 {
		i.Steps[k].Payload = nil
	}
}

// subscribe tells what has changed of the subscriptions since before.
func (m *machine) subscribe(before *Instance) {
	after := m.inst
	if m.dropped {
		after = nil
	}
	was, is := before.subscriptions(), after.subscriptions()
	for _, s := range was {
		if !slices.Contains(is, s) {
			if after != nil && after.Run == s.run {
				after.forget(s.path)
			}
			m.effects = append(m.effects, Unsubscribe{Route: s.route, Value: s.value, WorkflowID: before.WorkflowID, Run: s.run, Path: s.path})
		}
	}
	for _, s := range is {
		// One event ends a subscription. Whoever looked at it and goes on waiting asks for the next one.
		if slices.Contains(was, s) && (m.came == "" || m.came != s.signal()) {
			continue
		}
		m.effects = append(m.effects, Subscribe{Route: s.route, Value: s.value, WorkflowID: after.WorkflowID, Run: s.run, Path: s.path, Group: after.Type, Signal: s.signal()})
	}
}

// expectReply subscribes to the events that answer a command of a participant that cannot echo its token.
// It may come late, and then counts as long as the state of the run is kept.
func (m *machine) expectReply(i int, c *Command) {
	value, err := m.replyValue(c)
	if err != nil {
		m.raise(c.Path, ReasonExpr, "correlate.equals: "+err.Error())
		return
	}
	if value != "" {
		until := after(max(m.now, m.inst.Steps[i].Timer.Due), orDefault(m.p.Retention, DefaultStateRetention))
		m.effects = append(m.effects, Subscribe{Route: m.p.Correlates[c.Participant].Name, Value: value, WorkflowID: c.WorkflowID, Run: c.Run, Path: c.Path,
			Reply: &Address{Run: c.Run, Path: c.Path, Op: c.Op, Round: c.Round, Attempt: c.Attempt}, Until: until})
	}
}

// replyValue is the value that the answers to a command have; "" when they come with its token.
func (m *machine) replyValue(c *Command) (string, error) {
	d := m.p.Correlates[c.Participant]
	switch {
	case d == nil:
		return "", nil
	case d.Equals == nil:
		return c.Key, nil
	}
	value, err := d.Equals.String(commandScope{c})
	if err == nil && (value == "" || len(value) > MaxMatchBytes) {
		err = errMatchValue
	}
	return value, err
}

var errMatchValue = errors.New("the value is empty or longer than 512 bytes")

// commandScope shows a command to an expression.
type commandScope struct{ c *Command }

func (s commandScope) Input() []byte                      { return s.c.Payload }
func (s commandScope) Step(string) ([]byte, string, bool) { return nil, "", false }
func (s commandScope) Now() Time                          { return 0 }
func (s commandScope) Key() string                        { return s.c.Key }
func (s commandScope) Item(string) ([]byte, uint32)       { return nil, 0 }
func (s commandScope) Round() uint32                      { return 0 }
func (s commandScope) Signal(string) []byte               { return nil }
func (s commandScope) Event() []byte                      { return nil }
