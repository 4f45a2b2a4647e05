package build

import (
	"time"

	"github.com/amendsio/amends/sagas"
)

// BindingOption is one setting of a binding.
type BindingOption func(map[string]any)

// BindingName names the binding and its position; the topic with hyphens for dots without it.
func BindingName(name string) BindingOption {
	return func(b map[string]any) { b["name"] = name }
}

// EventWhen is the condition that events must meet; without it all do.
func EventWhen(when Expr) BindingOption {
	return func(b map[string]any) { b["when"] = when.text() }
}

// EventID makes the id of the instance from the event. Without it a start uses the id of the saga.
func EventID(e Expr) BindingOption {
	return func(b map[string]any) { b["id"] = e.text() }
}

// EventInput is the input of the start, a With or an Expr; the event without it.
func EventInput(tree any) BindingOption {
	return func(b map[string]any) { b["input"] = eventTree(tree) }
}

// EventPayload is the payload of the signal, a With or an Expr; the event without it.
func EventPayload(tree any) BindingOption {
	return func(b map[string]any) { b["payload"] = eventTree(tree) }
}

func eventTree(tree any) any {
	switch t := tree.(type) {
	case With:
		return t.tree()
	case Expr:
		return t.text()
	}
	return tree // which ParseDefinition looks at
}

// Dedupe says what makes two records one event.
func Dedupe(e Expr) BindingOption {
	return func(b map[string]any) { b["dedupe"] = e.text() }
}

// EventTTL is how long a signal may wait: for its instance, and then to be used. NoLimit: it needs an
// instance.
func EventTTL(d time.Duration) BindingOption {
	return func(b map[string]any) { b["ttl"] = limit(d) }
}

// From says where to begin in a topic that was not read before.
func From(o sagas.BindingOrigin) BindingOption {
	return func(b map[string]any) { b["from"] = o.String() }
}

// StartOn lets events of a topic start instances.
func (s *Saga) StartOn(topic string, options ...BindingOption) *Saga {
	return s.bind(topic, sagas.BindStart, "", options)
}

// SignalOn makes events of a topic signals.
func (s *Saga) SignalOn(topic, signal string, options ...BindingOption) *Saga {
	return s.bind(topic, sagas.BindSignal, signal, options)
}

// StartOrSignalOn lets an event of a topic start an instance, or be a signal to the one that is there.
func (s *Saga) StartOrSignalOn(topic, signal string, options ...BindingOption) *Saga {
	return s.bind(topic, sagas.BindStartOrSignal, signal, options)
}

func (s *Saga) bind(topic string, action sagas.BindingAction, signal string, options []BindingOption) *Saga {
	b := map[string]any{"topic": topic, "action": action.String()}
	if signal != "" {
		b["signal"] = signal
	}
	for _, o := range options {
		o(b)
	}
	all, _ := s.doc["on"].([]any)
	return s.set("on", append(all, b))
}
