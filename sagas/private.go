package sagas

import (
	"slices"
	"strings"
)

// Masked stands where a personal value was.
const Masked = "[pii]"

// Private knows which values of the instances of a plan are personal: those that the definition names
// under pii, and all that is made from them. What an expression reads is followed through with, undo,
// inquire, set, output, emit, continue, the input of children and the items of an each; an expression
// that does more than pick a field of a personal value is personal as a whole. A nil *Private masks
// nothing. A Private is immutable and safe for concurrent use.
//
// A value that is not JSON is hidden as a whole.
type Private struct {
	all bool // everything is personal, because nothing is known

	input   *shade
	result  *shade
	steps   map[string]*shade                // outputs, by id
	sent    map[string][OpInquire + 1]*shade // payloads, by id and operation
	other   map[string]*shade                // what an emit publishes and a child starts with, by id
	signals map[string]*shade
	items   map[string]*shade // by the name of the item
}

// AllPrivate is for instances and records of which nothing is known.
var AllPrivate = &Private{all: true}

// Private is nil when the definition names nothing.
func (p *Plan) Private() *Private {
	if p == nil {
		return nil
	}
	return p.private
}

// privateOf follows the personal values of a definition through its plan.
func privateOf(p *Plan) *Private {
	x := &Private{steps: map[string]*shade{}, sent: map[string][OpInquire + 1]*shade{}, other: map[string]*shade{}, signals: map[string]*shade{}, items: map[string]*shade{}}
	for _, text := range p.Definition.PII {
		path, ok := parsePrivate(text)
		switch {
		case !ok:
		case path.root == nameInput:
			x.input = x.input.with(path.fields...)
		case path.root == nameStep:
			x.steps[path.name] = x.steps[path.name].with(path.fields...)
		default:
			name, fields := signalPath(p, path)
			x.signals[name] = x.signals[name].with(fields...)
		}
	}
	// A later round of a repeat, and the next run, read what an earlier one made. Each turn adds a part of the
	// definition, so this ends.
	for changed := true; changed; {
		changed = false
		grow := func(to *shade, by *shade) *shade {
			out := to.join(by)
			changed = changed || !out.equal(to)
			return out
		}
		for i := range p.Steps {
			s := &p.Steps[i]
			switch {
			case s.Set != nil:
				x.steps[s.Path] = grow(x.steps[s.Path], x.mapping(s.Set))
			case s.Await != nil:
				x.steps[s.Path] = grow(x.steps[s.Path], x.signals[s.Await.Signal])
			case s.Each != nil && s.Each.In != nil:
				x.items[s.Each.As] = grow(x.items[s.Each.As], x.expr(s.Each.In))
			case s.Continue != nil:
				x.input = grow(x.input, x.mapping(s.Continue))
			}
		}
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.Node == NodeCall:
			sent := [OpInquire + 1]*shade{}
			sent[OpDo] = x.mapping(s.With)
			sent[OpUndo], sent[OpInquire] = sent[OpDo], sent[OpDo]
			if s.Undo != nil && s.Undo.With != nil {
				sent[OpUndo] = x.mapping(s.Undo.With)
			}
			if s.Inquire != nil && s.Inquire.With != nil {
				sent[OpInquire] = x.mapping(s.Inquire.With)
			}
			x.sent[s.Path] = sent
		case s.Emit != nil:
			x.other[s.Path] = x.mapping(s.Emit.With)
		case s.Saga != nil:
			x.other[s.Path] = x.mapping(s.Saga.Input)
		}
	}
	x.result = x.mapping(p.Output)
	return x
}

// signalPath cuts a path into the name of a signal and fields: a name may have dots, so the longest one that
// the definition waits for is meant.
func signalPath(p *Plan, path privatePath) (name string, fields []string) {
	for k := len(path.fields); k > 0; k-- {
		name := path.name + "." + strings.Join(path.fields[:k], ".")
		for i := range p.Steps {
			if a := p.Steps[i].Await; a != nil && a.Signal == name {
				return name, path.fields[k:]
			}
		}
	}
	return path.name, path.fields
}

func (x *Private) mapping(m *Mapping) *shade {
	if m == nil {
		return nil
	}
	return m.root.shadeOf(x.expr)
}

// expr is the shade of what an expression gives.
func (x *Private) expr(e *Expr) *shade {
	if e == nil {
		return nil
	}
	if p := e.plain; p != nil {
		path := make([]string, len(p.keys))
		for i, key := range p.keys {
			path[i] = fieldName(key)
		}
		switch {
		case p.item != "":
			return x.items[p.item].under(path...)
		case p.step != "":
			return x.steps[p.step].under(path...)
		}
		return x.input.under(path...)
	}
	hit := e.refs.wholeInput && x.input != nil || e.refs.signals && len(x.signals) > 0
	for _, f := range e.refs.fields {
		hit = hit || x.input.under(f.field) != nil
	}
	for _, s := range e.refs.steps {
		of := x.steps[s.step]
		if s.field != "" && s.field != nameState {
			of = of.under(s.field)
		}
		hit = hit || of != nil && s.field != nameState
	}
	for _, name := range e.refs.items {
		hit = hit || x.items[name] != nil
	}
	if hit {
		return wholeShade
	}
	return nil
}

// idOf is the id of the step at a path, which has the frames around it in front.
func idOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Input is the input of an instance without its personal values.
func (x *Private) Input(value []byte) []byte {
	if x == nil {
		return value
	}
	return x.maskJSON(x.input, value)
}

// Result is the output of an instance without its personal values.
func (x *Private) Result(value []byte) []byte {
	if x == nil {
		return value
	}
	return x.maskJSON(x.result, value)
}

// Output is what a step gave, without its personal values.
func (x *Private) Output(path string, value []byte) []byte {
	if x == nil {
		return value
	}
	return x.maskJSON(x.steps[idOf(path)], value)
}

// Payload is what a participant is sent for a step, without personal values.
func (x *Private) Payload(path string, op Op, value []byte) []byte {
	if x == nil {
		return value
	}
	sent, known := x.sent[idOf(path)]
	if !known || op < OpDo || op > OpInquire {
		return x.maskJSON(wholeShade, value)
	}
	return x.maskJSON(sent[op], value)
}

// Published is what an emit publishes, or a child starts with, without personal values. A path that is not
// known means all of them.
func (x *Private) Published(path string, value []byte) []byte {
	if x == nil {
		return value
	}
	s, known := x.other[idOf(path)]
	if !known {
		for _, o := range x.other {
			s = s.join(o)
		}
	}
	return x.maskJSON(s, value)
}

// Signal is the payload of a signal without its personal values.
func (x *Private) Signal(name string, value []byte) []byte {
	if x == nil {
		return value
	}
	return x.maskJSON(x.signals[name], value)
}

// Hidden is a value of which nothing is known: all of it is personal.
func (x *Private) Hidden(value []byte) []byte {
	if x == nil {
		return value
	}
	return x.maskJSON(wholeShade, value)
}

// Join is what is personal to one of the two: for a record that does not say its version.
func (x *Private) Join(o *Private) *Private {
	if x == nil || o == nil || x == o {
		if x == nil {
			return o
		}
		return x
	}
	out := &Private{all: x.all || o.all, input: x.input.join(o.input), result: x.result.join(o.result), steps: joinAll(x.steps, o.steps), other: joinAll(x.other, o.other),
		signals: joinAll(x.signals, o.signals), items: joinAll(x.items, o.items), sent: map[string][OpInquire + 1]*shade{}}
	for _, from := range []*Private{x, o} {
		for id, list := range from.sent {
			all := out.sent[id]
			for op := range all {
				all[op] = all[op].join(list[op])
			}
			out.sent[id] = all
		}
	}
	return out
}

func joinAll(a, b map[string]*shade) map[string]*shade {
	out := map[string]*shade{}
	for _, from := range []map[string]*shade{a, b} {
		for name, s := range from {
			out[name] = out[name].join(s)
		}
	}
	return out
}

// maskJSON masks a JSON text. Without a shade it stays as it is.
func (x *Private) maskJSON(s *shade, value []byte) []byte {
	if x.all {
		s = wholeShade
	}
	if s == nil || len(value) == 0 {
		return value
	}
	v, err := parseJSON(value)
	if err != nil {
		return appendString(nil, Masked)
	}
	return appendJSON(nil, s.mask(v, nil))
}

// View masks what a view shows: values by their place, and where one is repeated in another place, as in
// the text of a refusal or a tag, by what it is.
func (x *Private) View(i *Instance, v View) View {
	if x == nil {
		return v
	}
	words := x.Words(i)
	v.Input = words.JSON(x.Input(v.Input))
	v.Output = words.JSON(x.Result(v.Output))
	v.Cause = words.Text(v.Cause)
	v.Steps = slices.Clone(v.Steps)
	for k := range v.Steps {
		s := &v.Steps[k]
		s.Output = words.JSON(x.Output(s.Path, s.Output))
		s.Message, s.Code = words.Text(s.Message), words.Text(s.Code)
	}
	v.Tags = slices.Clone(v.Tags)
	for k := range v.Tags {
		v.Tags[k].Value = words.Text(v.Tags[k].Value)
	}
	v.Attention = slices.Clone(v.Attention)
	for k := range v.Attention {
		v.Attention[k].Text = words.Text(v.Attention[k].Text)
	}
	return v
}
