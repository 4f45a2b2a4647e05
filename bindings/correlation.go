package bindings

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Correlation is the rule of a topic whose events come to instances by a value: for awaits of events, and for
// participants that answer by events. There is one for each such topic, whatever the number of definitions.
// An event that is meant goes to the correlation topic, keyed by its value.
type Correlation struct {
	topic  string
	out    string // the correlation topic
	routes []routed
}

// routed is a route with everybody who waits on it.
type routed struct {
	route  *sagas.Route
	groups []string // sorted
	ttl    int64    // ms: the longest of all
}

// CorrelationsOf lists the rules for plans: those of all versions that instances may be pinned to. out is the
// correlation topic.
func CorrelationsOf(plans []*sagas.Plan, out string) []*Correlation {
	byTopic := map[string]*Correlation{}
	for _, p := range plans {
		for i := range p.Routes {
			r := &p.Routes[i]
			c := byTopic[r.Topic]
			if c == nil {
				c = &Correlation{topic: r.Topic, out: out}
				byTopic[r.Topic] = c
			}
			c.add(r)
		}
	}
	var list []*Correlation
	for _, c := range byTopic {
		slices.SortFunc(c.routes, func(a, b routed) int { return strings.Compare(a.route.Name, b.route.Name) })
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Correlation) int { return strings.Compare(a.topic, b.topic) })
	return list
}

func (c *Correlation) add(r *sagas.Route) {
	k := slices.IndexFunc(c.routes, func(x routed) bool { return x.route.Name == r.Name })
	if k < 0 {
		k = len(c.routes)
		c.routes = append(c.routes, routed{route: r})
	}
	x := &c.routes[k]
	x.ttl = max(x.ttl, r.TTL.Milliseconds())
	if at, there := slices.BinarySearch(x.groups, r.Group); !there && len(x.groups) < protocol.MaxEventGroups {
		x.groups = slices.Insert(x.groups, at, r.Group)
	}
}

// correlationType is the first part of the keys of these rules.
const correlationType = "correlate"

// Key implements Rule. It has no dot, which would end it in the name of a group.
func (c *Correlation) Key() string {
	sum := sha256.Sum256([]byte(c.topic))
	name := strings.ReplaceAll(c.topic, ".", "-")
	return correlationType + "/" + name[:min(len(name), 40)] + "-" + hex.EncodeToString(sum[:4])
}

// Name is the part of the key after the slash.
func (c *Correlation) Name() string { return strings.TrimPrefix(c.Key(), correlationType+"/") }

// Topic implements Rule.
func (c *Correlation) Topic() string { return c.topic }

// From implements Rule: what was published before anybody could wait for it is nobody's.
func (c *Correlation) From() sagas.BindingOrigin { return sagas.FromLatest }

// Evaluate implements Rule: one output for each route that the event is meant for and that finds a value in
// it. Routes do not know of each other: one whose expressions fail makes a dead letter, and the others stand.
func (c *Correlation) Evaluate(ev *Event, dst []Output) ([]Output, error) {
	var failed *Fault
	for i := range c.routes {
		out, err := c.routes[i].evaluate(ev)
		var f *Fault
		switch {
		case errors.As(err, &f):
			if failed == nil {
				failed = &Fault{f.Class, c.routes[i].route.Name + ": " + f.Message}
			}
		case err != nil:
			return dst, err
		case out != nil:
			out.Topic = c.out
			dst = append(dst, *out)
		}
	}
	if failed != nil {
		return dst, besideFault{failed}
	}
	return dst, nil
}

// evaluate gives the event as a record of the correlation topic, nil when it is not meant.
func (x *routed) evaluate(ev *Event) (*Output, error) {
	r := x.route
	holds, err := ev.Values.Bool(r.When)
	if err != nil {
		return nil, &Fault{ClassFilter, "when: " + err.Error()}
	}
	if !holds {
		return nil, nil
	}
	value, err := ev.Values.Text(r.Match)
	switch {
	case err == nil && value == "": // it is about nothing, as .orValue("") says
		return nil, nil
	case err != nil:
		return nil, &Fault{ClassMapping, "match: " + err.Error()}
	case len(value) > protocol.MaxMatchValue:
		return nil, &Fault{ClassMapping, "match: the value has " + strconv.Itoa(len(value)) + " bytes, the limit is " + strconv.Itoa(protocol.MaxMatchValue)}
	case len(ev.Record.Value) > maxEventBytes:
		return nil, &Fault{ClassTooLarge, "the event has " + strconv.Itoa(len(ev.Record.Value)) + " bytes, the limit is " + strconv.Itoa(maxEventBytes)}
	}
	id, _ := ev.ID()
	rec := protocol.Correlation{
		Kind: protocol.CorrelateEvent, Route: r.Name, Value: value, EventID: eventID("", id), Source: ev.Position(), Binding: r.Topic, Groups: x.groups, TTL: x.ttl,
	}
	if r.Reply() {
		if err := answer(&rec, r, &ev.Values); err != nil {
			return nil, &Fault{ClassMapping, err.Error()}
		}
	}
	headers := rec.Headers()
	if _, err := protocol.ParseCorrelation(headers); err != nil {
		return nil, &Fault{ClassMapping, err.Error()}
	}
	out := &Output{Key: protocol.CorrelationKey(r.Name, value), Value: ev.Record.Value, Headers: make([]sagas.KV, len(headers))}
	for i, h := range headers {
		out.Headers[i] = sagas.KV{Key: h.Key, Value: string(h.Value)}
	}
	return out, nil
}

// maxEventBytes is how large an event may be that becomes a signal: correlate.MaxEventBytes.
const maxEventBytes = 60 << 10

// answer says what the event means as a reply.
func answer(rec *protocol.Correlation, r *sagas.Route, v *sagas.EventValues) error {
	for _, field := range []struct {
		name string
		expr *sagas.Expr
		set  func(string)
	}{
		{"op", r.Op, func(s string) { rec.Op = protocol.Op(s) }},
		{"outcome", r.Outcome, func(s string) { rec.Outcome = protocol.Outcome(s) }},
		{"code", r.Code, func(s string) { rec.Code = s }},
		{"effect", r.Effect, func(s string) { rec.Effect = protocol.Effect(s) }},
	} {
		if field.expr == nil {
			continue
		}
		s, err := v.Text(field.expr)
		if err != nil {
			return errors.New(field.name + ": " + err.Error())
		}
		field.set(s)
	}
	if rec.Outcome == "" {
		return errors.New("outcome: the result is empty")
	}
	return nil
}
