package build

import (
	"maps"
	"slices"
	"time"
)

// LaneOf is one lane of Par or Race. Lane makes it.
type LaneOf struct {
	name  string
	nodes []Node
}

// Lane is a named list of nodes.
func Lane(name string, nodes ...Node) LaneOf { return LaneOf{name, nodes} }

func (s *Step) lanes(lanes []LaneOf) map[string]any {
	m := map[string]any{}
	for _, l := range lanes {
		if _, twice := m[l.name]; twice {
			s.fault("SG02", "", "", "the lane %q occurs twice", l.name)
		}
		m[l.name] = s.lane(l.nodes)
	}
	return m
}

// Par runs its lanes side by side.
func Par(id string, lanes ...LaneOf) *Step {
	s := newStep(id)
	s.doc["parallel"] = s.lanes(lanes)
	return s
}

// Branch is a branch of Choose. When and Else make it.
type Branch struct {
	when  Expr // "" = else
	nodes []Node
}

// When is a branch that is taken when its condition is the first that holds.
func When(condition Expr, nodes ...Node) Branch { return Branch{condition, nodes} }

// Else is the branch that is taken when no condition holds.
func Else(nodes ...Node) Branch { return Branch{"", nodes} }

// Choose takes one of its branches. The last one must be Else.
func Choose(id string, branches ...Branch) *Step {
	s := newStep(id)
	s.keep = []string{"branch"}
	var all []any
	for _, b := range branches {
		if b.when == "" {
			all = append(all, map[string]any{"else": s.lane(b.nodes)})
			continue
		}
		all = append(all, map[string]any{"when": b.when.text(), "do": s.lane(b.nodes)})
	}
	s.doc["choose"] = all
	return s
}

// Items says what Each runs over. Zero fields have the defaults.
type Items struct {
	In       Expr   // the list
	As       string // name of an item in expressions
	Key      Expr   // unique key of an item
	AtOnce   uint32
	Max      uint32
	Collect  bool   // a failed item is undone and noted, the others go on
	Tolerate uint32 // as Collect, but more than this many fail the saga
}

// Each runs the nodes once for each item of a list.
func Each(id string, items Items, nodes ...Node) *Step {
	s := newStep(id)
	s.keep = []string{"count", "failed"}
	d := map[string]any{"in": items.In.text()}
	if items.As != "" {
		d["as"] = items.As
	}
	if items.Key != "" {
		d["key"] = items.Key.text()
	}
	if items.AtOnce > 0 {
		d["atOnce"] = items.AtOnce
	}
	if items.Max > 0 {
		d["max"] = items.Max
	}
	switch {
	case items.Tolerate > 0:
		d["onItemFailure"] = map[string]any{"tolerate": items.Tolerate}
	case items.Collect:
		d["onItemFailure"] = "collect"
	}
	s.doc["each"], s.doc["do"] = d, s.lane(nodes)
	return s
}

// Race lets its lanes run against each other; the first few that get through win.
func Race(id string, first uint32, lanes ...LaneOf) *Step {
	s := newStep(id)
	s.keep = []string{"winners"}
	s.doc["race"], s.doc["lanes"] = map[string]any{"first": first}, s.lanes(lanes)
	return s
}

// ScopeStep is a scope in the making.
type ScopeStep struct{ *Step }

// Scope is a save-point: on a failure only its nodes are undone, then Retry or Catch goes on.
func Scope(id string, nodes ...Node) ScopeStep {
	s := newStep(id)
	s.keep = []string{"rounds", "caught"}
	s.doc["scope"], s.doc["do"] = map[string]any{}, s.lane(nodes)
	return ScopeStep{s}
}

// Retry runs the nodes again on one of the codes, with fresh keys. wait are the pauses before the
// second round, the third and so on.
func (s ScopeStep) Retry(rounds uint32, on []string, wait ...time.Duration) ScopeStep {
	d := map[string]any{"rounds": rounds, "on": on}
	if len(wait) > 0 {
		d["wait"] = durations(wait)
	}
	s.doc["scope"].(map[string]any)["retry"] = d
	return s
}

// Catch runs other nodes on one of the codes; "*" is every code.
func (s ScopeStep) Catch(on []string, nodes ...Node) ScopeStep {
	s.doc["scope"].(map[string]any)["catch"] = map[string]any{"on": on, "do": s.lane(nodes)}
	return s
}

// Rounds says how often Repeat runs its nodes.
type Rounds struct {
	Most  uint32
	Until Expr            // asked after each round
	Wait  []time.Duration // before round 1, 2, ...; the last one also before all later ones
	Wake  []string        // signals that end a wait early
}

// Repeat runs the nodes in rounds.
func Repeat(id string, rounds Rounds, nodes ...Node) *Step {
	s := newStep(id)
	s.keep = []string{"rounds", "satisfied"}
	d := map[string]any{"rounds": rounds.Most, "until": rounds.Until.text()}
	if len(rounds.Wait) > 0 {
		d["wait"] = durations(rounds.Wait)
	}
	if len(rounds.Wake) > 0 {
		d["wake"] = rounds.Wake
	}
	s.doc["repeat"], s.doc["do"] = d, s.lane(nodes)
	return s
}

// ChildSaga says which saga Child starts.
type ChildSaga struct {
	Type       string
	Version    uint32 // 0 = the active one
	ID         Expr
	Input      With
	Reversible bool
}

// Child starts another saga and waits for its end. Of the options it takes Keep.
func Child(id string, child ChildSaga, options ...Option) *Step {
	s := newStep(id)
	d := map[string]any{"type": child.Type, "id": child.ID.text()}
	if child.Version > 0 {
		d["version"] = child.Version
	}
	if child.Input != nil {
		d["input"] = child.Input
	}
	if child.Reversible {
		d["reversible"] = true
	}
	s.doc["saga"] = d
	for _, o := range options {
		o.apply(s)
	}
	return s
}

// OnTimeout says what the end of a wait means. The zero value is a failure with the code TIMEOUT.
type OnTimeout struct {
	goOn  bool
	nodes []Node
	lane  bool
}

// GoOn goes on without an answer.
func GoOn() OnTimeout { return OnTimeout{goOn: true} }

// Instead runs other nodes.
func Instead(nodes ...Node) OnTimeout { return OnTimeout{lane: true, nodes: nodes} }

func (s *Step) wait(d map[string]any, within time.Duration, rule OnTimeout) {
	if within != 0 {
		d["within"] = limit(within)
	}
	switch {
	case rule.lane:
		d["onTimeout"] = map[string]any{"do": s.lane(rule.nodes)}
	case rule.goOn:
		d["onTimeout"] = "continue"
	}
}

// EventOf says which event AwaitEvent waits for. Match and When see the event, and the record that it came in.
type EventOf struct {
	Topic     string
	Match     Expr          // the value of the event
	Equals    Expr          // the value that is waited for
	When      Expr          // which ones; "" = all
	TTL       time.Duration // how long one waits that came early; 0 = an hour, NoLimit = not at all
	Within    time.Duration
	OnTimeout OnTimeout
}

// AwaitEvent waits for an event of a topic with a value. Of the options it takes Keep.
func AwaitEvent(id string, event EventOf, options ...Option) *Step {
	s := newStep(id)
	d := map[string]any{"topic": event.Topic, "match": event.Match.text(), "equals": event.Equals.text()}
	if event.When != "" {
		d["when"] = event.When.text()
	}
	if event.TTL != 0 {
		d["ttl"] = limit(event.TTL)
	}
	s.wait(d, event.Within, event.OnTimeout)
	s.doc["await"] = d
	for _, o := range options {
		o.apply(s)
	}
	return s
}

// Signal says what Await waits for.
type Signal struct {
	Name      string
	When      Expr // over the payload, named event; "" = the first one
	Within    time.Duration
	OnTimeout OnTimeout
}

// Await waits for a signal. Of the options it takes Keep.
func Await(id string, signal Signal, options ...Option) *Step {
	s := newStep(id)
	d := map[string]any{"signal": signal.Name}
	if signal.When != "" {
		d["when"] = signal.When.text()
	}
	s.wait(d, signal.Within, signal.OnTimeout)
	s.doc["await"] = d
	for _, o := range options {
		o.apply(s)
	}
	return s
}

// SleepFor waits for a while. Signals named by wake end it early.
func SleepFor(id string, d time.Duration, wake ...string) *Step {
	return sleep(id, "for", duration(d), wake)
}

// SleepUntil waits until the time that the expression gives.
func SleepUntil(id string, until Expr, wake ...string) *Step {
	return sleep(id, "until", until.text(), wake)
}

func sleep(id, key, v string, wake []string) *Step {
	s := newStep(id)
	s.keep = []string{"woken"}
	d := map[string]any{key: v}
	if len(wake) > 0 {
		d["wake"] = wake
	}
	s.doc["sleep"] = d
	return s
}

// People says who decides.
type People struct {
	Roles       []string
	Not         Expr   // a list of persons who may not
	Quorum      uint32 // 0 = one
	Within      time.Duration
	RemindEvery time.Duration
	OnTimeout   OnTimeout
}

// Approve waits until people have decided.
func Approve(id string, people People) *Step {
	s := newStep(id)
	s.keep = []string{"decision", "actor", "comment"}
	d := map[string]any{"roles": people.Roles}
	if people.Not != "" {
		d["not"] = people.Not.text()
	}
	if people.Quorum > 0 {
		d["quorum"] = people.Quorum
	}
	if people.RemindEvery != 0 {
		d["remindEvery"] = limit(people.RemindEvery)
	}
	s.wait(d, people.Within, people.OnTimeout)
	s.doc["approve"] = d
	return s
}

// Event says what Emit publishes.
type Event struct {
	Topic string
	Type  string
	Key   Expr // "" = the workflow ID
	With  With
}

// Emit publishes a domain event.
func Emit(id string, event Event) *Step {
	s := newStep(id)
	d := map[string]any{"topic": event.Topic, "type": event.Type}
	if event.Key != "" {
		d["key"] = event.Key.text()
	}
	if event.With != nil {
		d["with"] = event.With
	}
	s.doc["emit"] = d
	return s
}

// Set names values for later expressions.
func Set(id string, values With) *Step {
	s := newStep(id)
	s.keep = slices.Sorted(maps.Keys(values))
	s.doc["set"] = values.tree()
	return s
}

// Fail ends the saga, or what a scope around it catches, with a code. message may be empty.
func Fail(id, code, message string) *Step {
	s := newStep(id)
	s.doc["fail"] = code
	if message != "" {
		s.doc["fail"] = map[string]any{"code": code, "message": message}
	}
	return s
}

// Finish ends the saga early in success, with a code.
func Finish(id, code string) *Step {
	s := newStep(id)
	s.doc["finish"] = code
	return s
}

// Continue goes on as the next run, with a new input.
func Continue(id string, input With) *Step {
	s := newStep(id)
	s.doc["continue"] = map[string]any{"input": input.tree()}
	return s
}
