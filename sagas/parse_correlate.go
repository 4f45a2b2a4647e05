package sagas

import (
	"slices"
	"time"
)

var (
	eventFields     = []string{"topic", "match", "equals", "ttl"} // of an await, beside awaitFields
	correlateFields = []string{"topic", "when", "match", "equals", "op", "outcome", "code", "effect", "ttl"}
)

// awaitEvent reads what an await of events has in place of signal:.
func (dec *decoder) awaitEvent(n *node, path string, a *AwaitDef) {
	if s := n.child("signal"); s != nil {
		dec.fault(s.at, "SG01", path+"/signal", "Take one of them out.", "an await has either signal or topic")
	}
	a.Topic = dec.topic(n, path)
	a.Match = dec.expression(dec.required(n, path, "match", "Say which value of the event it is, for example match: '=event.ref'."), path+"/match")
	a.Equals = dec.expression(dec.required(n, path, "equals", "Say which value is waited for, for example equals: '=step.book.ref'."), path+"/equals")
	a.TTL = dec.ttl(n, path)
}

// topic reads the required name of a topic.
func (dec *decoder) topic(n *node, path string) string {
	t := dec.required(n, path, "topic", "Name the topic of the events.")
	if t == nil {
		return ""
	}
	s, ok := dec.str(t, path+"/topic", "topic")
	if !ok {
		return ""
	}
	if why := topicName.check(s); why != "" {
		dec.fault(t.at, "SG03", path+"/topic", "", "%s", why)
		return ""
	}
	return s
}

// ttl reads how long an early event waits.
func (dec *decoder) ttl(n *node, path string) time.Duration {
	if v := n.child("ttl"); v != nil {
		if s, ok := v.scalar.(string); ok && s != "none" {
			if d, err := parseDuration(s); err == nil && d == 0 {
				dec.fault(v.at, "SG01", path+"/ttl", "Write none for an event that does not wait.", "ttl must be longer than 0")
				return DefaultEventTTL
			}
		}
	}
	d := dec.duration(n, path, "ttl", DefaultEventTTL, true)
	if d > MaxEventTTL {
		dec.fault(dec.src.place(path+"/ttl"), "SG01", path+"/ttl", "", "ttl is %s, the limit is %s", formatDuration(d), formatDuration(MaxEventTTL))
		return MaxEventTTL
	}
	return d
}

// correlate reads how a participant answers by events.
func (dec *decoder) correlate(n *node, path string) *CorrelateDef {
	if n == nil {
		return nil
	}
	c := &CorrelateDef{}
	if !dec.fields(n, path, "correlate", correlateFields, nil) {
		return nil
	}
	c.Topic = dec.topic(n, path)
	c.When = dec.expression(n.child("when"), path+"/when")
	c.Match = dec.expression(dec.required(n, path, "match", "Say where the event has the saga-key of the command, for example match: '=event.ref'."), path+"/match")
	c.Equals = dec.expression(n.child("equals"), path+"/equals")
	c.Op = dec.expression(n.child("op"), path+"/op")
	c.Outcome = dec.expression(dec.required(n, path, "outcome", `Say what the event means, for example outcome: '=event.paid ? "ok" : "rejected"'.`), path+"/outcome")
	c.Code = dec.expression(n.child("code"), path+"/code")
	c.Effect = dec.expression(n.child("effect"), path+"/effect")
	c.TTL = dec.ttl(n, path)
	return c
}

// isEvent says whether an await has a field of events.
func isEvent(n *node) bool {
	return slices.ContainsFunc(eventFields, func(f string) bool { return n.child(f) != nil })
}
