package sagas

import (
	"strconv"
	"strings"
)

var (
	startFields = []string{"name", "topic", "when", "id", "input", "dedupe", "from"}
	onFields    = []string{"name", "topic", "when", "id", "action", "signal", "input", "payload", "ttl", "dedupe", "from"}
)

// bindings reads start: and on:. The first is short for an entry of the second with action: start.
func (dec *decoder) bindings(n *node) {
	if s := n.child("start"); s != nil && dec.fields(s, "start", "start", startFields, nil) {
		dec.binding(s, "start", BindStart)
	}
	on := n.child("on")
	if on == nil {
		return
	}
	if !on.isList {
		dec.fault(on.at, "SG01", "on", "Each binding starts with a dash.", "on must be a list of bindings, got %s", on.kind())
		return
	}
	if len(on.items) > MaxBindings {
		dec.fault(on.at, "SG01", "on", "", "%d bindings, the limit is %d", len(on.items), MaxBindings)
		return
	}
	for i, x := range on.items {
		path := join("on", strconv.Itoa(i))
		dec.src.places[path] = x.at
		if !dec.fields(x, path, "a binding", onFields, nil) {
			continue
		}
		action := BindStart
		if a := dec.required(x, path, "action", "Use one of start, signal, startOrSignal."); a != nil {
			action = BindingAction(dec.choice(a, path+"/action", "action", bindingActionNames, int(BindStart)))
		}
		dec.binding(x, path, action)
	}
}

// binding reads one binding. A doubled name is dropped.
func (dec *decoder) binding(n *node, path string, action BindingAction) {
	b := BindingDef{Action: action}
	if t := dec.required(n, path, "topic", "Name the topic of the events."); t != nil {
		if s, ok := dec.str(t, path+"/topic", "topic"); ok {
			if why := topicName.check(s); why != "" {
				dec.fault(t.at, "SG03", path+"/topic", "", "%s", why)
			} else {
				b.Topic = s
			}
		}
	}
	b.Name = dec.bindingName(n, path, b.Topic)
	b.When = dec.expression(n.child("when"), path+"/when")
	b.ID = dec.expression(n.child("id"), path+"/id")
	if b.ID == "" && !dec.bad[path+"/id"] && (dec.d.ID == "" || !action.Starts()) && !dec.bad["id"] {
		dec.fault(n.at, "SG01", path, "Say which instance the event is for, for example id: '=event.orderId'.", "id is missing")
	}
	if only := "start or startOrSignal"; !action.Starts() {
		dec.unfit(n, path, "input", action, only)
	} else {
		b.Input = dec.tree(n.child("input"), path+"/input")
	}
	if only := "signal or startOrSignal"; !action.Signals() {
		dec.unfit(n, path, "signal", action, only)
		dec.unfit(n, path, "payload", action, only)
		dec.unfit(n, path, "ttl", action, only)
	} else {
		b.Signal = dec.bindingSignal(n, path)
		b.Payload = dec.tree(n.child("payload"), path+"/payload")
		if b.TTL = dec.duration(n, path, "ttl", DefaultBindingTTL, true); b.TTL > MaxBindingTTL {
			dec.fault(n.child("ttl").at, "SG01", path+"/ttl", "", "ttl is longer than %s", formatDuration(MaxBindingTTL))
		}
	}
	b.Dedupe = dec.expression(n.child("dedupe"), path+"/dedupe")
	b.From = BindingOrigin(dec.choice(n.child("from"), path+"/from", "from", bindingOriginNames, int(FromLatest)))
	for i := range dec.d.On {
		if b.Name != "" && dec.d.On[i].Name == b.Name {
			dec.fault(n.at, "SG02", path, "Give each of them a name.", "the name %q is already that of another binding", b.Name)
			return
		}
	}
	dec.d.On = append(dec.d.On, b)
	dec.src.bindings = append(dec.src.bindings, path)
}

// unfit reports a field that the action has no use for.
func (dec *decoder) unfit(n *node, path, key string, action BindingAction, only string) {
	if v := n.child(key); v != nil {
		dec.fault(v.at, "SG01", path+"/"+key, "", "%s is for action %s, this is %s", key, only, action)
	}
}

// bindingName is the name, or the topic with what a name cannot have as hyphens.
func (dec *decoder) bindingName(n *node, path, topic string) string {
	v := n.child("name")
	if v == nil {
		if len(topic) > MaxNameBytes {
			dec.fault(n.at, "SG01", path, "Add name:.", "name is missing: the topic is too long to be one")
		}
		return strings.ReplaceAll(topic, ".", "-")
	}
	s, ok := dec.str(v, path+"/name", "name")
	if !ok {
		return ""
	}
	if why := bindingName.check(s); why != "" {
		dec.fault(v.at, "SG03", path+"/name", "", "%s", why)
		return ""
	}
	return s
}

func (dec *decoder) bindingSignal(n *node, path string) string {
	v := dec.required(n, path, "signal", "Name the signal.")
	if v == nil {
		return ""
	}
	s, ok := dec.str(v, path+"/signal", "signal")
	if !ok {
		return ""
	}
	if why := signalName.check(s); why != "" {
		dec.fault(v.at, "SG03", path+"/signal", "", "%s", why)
		return ""
	}
	return s
}
