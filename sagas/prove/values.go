package prove

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"

	"github.com/amendsio/amends/sagas"
)

// Most combinations of values that are drawn for one command, and for the input.
const (
	maxOutputs = 8
	maxInputs  = 12
)

// draw chooses the inputs of the start, the outputs of the commands, the codes of refusals and the
// payloads of signals: one value for each way in which the expressions of the definition can come out,
// as far as their comparisons with literals tell.
func (x *explorer) draw(p *sagas.Plan) error {
	x.outs = make([][][]byte, len(p.Steps))
	x.codes = make([][]string, len(p.Steps))
	x.payloads = make([][][]byte, len(p.Steps))
	a, err := newAsker()
	if err != nil {
		return err
	}
	if p.Definition != nil {
		a.definition(p.Definition)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		x.codes[i] = codesOf(p, i)
		x.outs[i] = x.combine("step."+s.Path, a.steps[s.Path], s.Keep, maxOutputs)
		if s.Await != nil {
			f := a.events[s.Path]
			if f == nil {
				f = &field{}
			}
			for _, name := range s.Keep {
				f.child(name)
			}
			x.payloads[i] = x.combine("event of "+s.Path, f, names(f), maxOutputs)
		}
	}
	x.named = named(x.plan, p.Definition, a.texts.String())
	sort.Strings(a.asked)
	x.asked = a.asked
	x.inputs = x.opts.Inputs
	if len(x.inputs) > 0 {
		return nil
	}
	declare(a.input, p.Definition)
	x.inputs = x.combine("input", a.input, names(a.input), maxInputs)
	if len(x.inputs) == 0 {
		x.inputs = [][]byte{[]byte("{}")}
	}
	if p.Input != nil {
		for _, in := range x.inputs {
			if err := p.Input.Check(in); err != nil {
				return fmt.Errorf("the input %s that was drawn does not fit (%w): give one with --input", in, err)
			}
		}
	}
	return nil
}

// codesOf are the codes that a refusal of a step may carry: those that a scope around it looks for,
// and another.
func codesOf(p *sagas.Plan, i int) []string {
	codes := []string{codeRefused}
	for at := p.Steps[i].Parent; at >= 0 && at < len(p.Steps) && at != i; at = p.Steps[at].Parent {
		if d := p.Steps[at].Scope; d != nil {
			for _, list := range [][]string{d.RetryOn, d.CatchOn} {
				for _, code := range list {
					if code != "*" && !slices.Contains(codes, code) {
						codes = append(codes, code)
					}
				}
			}
		}
		if at == p.Steps[at].Parent {
			break
		}
	}
	return codes
}

func names(f *field) []string {
	if f == nil {
		return nil
	}
	var out []string
	for name := range f.fields {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// declare takes in what the definition says about the types of its input.
func declare(f *field, d *sagas.Definition) {
	if d == nil || d.Input == nil {
		return
	}
	for name, typ := range d.Input.Properties {
		c := f.fields[name]
		if c == nil {
			continue
		}
		switch typ {
		case "integer", "number":
			c.number = true
		case "boolean":
			c.boolean = true
		case "array":
			c.item()
		case "object":
			if c.fields == nil {
				c.fields = make(map[string]*field)
			}
		}
	}
}

// missing stands for a field that is not there.
type missing struct{}

// combine draws objects with these fields.
func (x *explorer) combine(path string, f *field, keep []string, most int) [][]byte {
	if len(keep) == 0 {
		return nil
	}
	objects := []map[string]any{{}}
	all := true
	for _, name := range keep {
		var c *field
		if f != nil {
			c = f.fields[name]
		}
		values := c.values(0)
		if len(values) > 1 {
			v := Value{Path: path + "." + name}
			for _, val := range values {
				v.Values = append(v.Values, show(val))
			}
			x.values = append(x.values, v)
		}
		var next []map[string]any
		for k, val := range values {
			for i, o := range objects {
				if k > 0 && i > 0 && len(objects)*len(values) > most {
					all = false
					continue // one field at a time, beside the first choice of the others
				}
				c := make(map[string]any, len(o)+1)
				for n, v := range o {
					c[n] = v
				}
				if _, gone := val.(missing); !gone {
					c[name] = val
				}
				next = append(next, c)
			}
		}
		objects = next
	}
	if !all {
		x.sizes = append(x.sizes, "values of "+path+" are not combined with each other: there would be too many")
	}
	var out [][]byte
	for _, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			continue
		}
		if raw, err = sagas.CanonicalJSON(raw); err == nil {
			out = append(out, raw)
		}
	}
	return out
}

func show(v any) string {
	if _, gone := v.(missing); gone {
		return "(absent)"
	}
	raw, _ := json.Marshal(v)
	return string(raw)
}

// values draws what the field may be, the plainest first. n tells items of a list apart.
func (f *field) values(n int) []any {
	if f == nil {
		return []any{text(n)}
	}
	var out []any
	switch {
	case f.list != nil || f.least > 0:
		list := []any{}
		for i := range max(f.least, 1) {
			list = append(list, f.item().values(i + 1)[0])
		}
		return []any{list}
	case len(f.asked) > 0:
		out = f.classes()
	case f.boolean:
		out = []any{true, false}
	case f.fields != nil:
		o := make(map[string]any)
		for name, c := range f.fields {
			o[name] = c.values(n)[0]
		}
		out = []any{o}
		if n == 0 { // what the fields inside are compared with, one at a time
			for _, name := range names(f) {
				for _, v := range f.fields[name].values(n)[1:] {
					c := make(map[string]any)
					for k, w := range o {
						c[k] = w
					}
					if _, gone := v.(missing); gone {
						delete(c, name)
					} else {
						c[name] = v
					}
					out = append(out, c)
				}
			}
		}
	case f.moment:
		out = []any{"2026-01-01T01:00:00Z"}
	case f.decimal:
		out = []any{"10.00"}
	case f.number:
		out = []any{n + 1}
	default:
		out = []any{text(n)}
	}
	if f.absent {
		out = append(out, missing{})
	}
	return out
}

func text(n int) string {
	if n == 0 {
		return "x"
	}
	return "x" + strconv.Itoa(n)
}

// classes draws one value for each way in which the comparisons can come out.
func (f *field) classes() []any {
	var numbers []float64
	var texts []string
	bools := false
	for _, c := range f.asked {
		switch v := c.to.(type) {
		case float64:
			numbers = append(numbers, v-1, v, v+1)
		case bool:
			bools = true
		case string:
			n, err := strconv.ParseFloat(v, 64)
			if f.decimal && err == nil {
				numbers = append(numbers, n-1, n, n+1)
			} else if !slices.Contains(texts, v) {
				texts = append(texts, v)
			}
		}
	}
	var out []any
	if bools {
		out = append(out, true, false)
	}
	if len(texts) > 0 {
		out = append(out, "other")
		sort.Strings(texts)
		for _, t := range texts {
			out = append(out, t)
		}
	}
	sort.Float64s(numbers)
	seen := make(map[string]bool)
	for _, n := range numbers {
		if sign := f.sign(n); !seen[sign] {
			seen[sign] = true
			out = append(out, f.numeral(n))
		}
	}
	return out
}

func (f *field) numeral(n float64) any {
	switch {
	case f.decimal:
		return strconv.FormatFloat(n, 'f', 2, 64)
	case n == math.Trunc(n):
		return int64(n)
	}
	return n
}

// sign is how all comparisons come out for a number.
func (f *field) sign(n float64) string {
	out := ""
	for _, c := range f.asked {
		v, is := c.to.(float64)
		if s, isText := c.to.(string); isText && f.decimal {
			var err error
			v, err = strconv.ParseFloat(s, 64)
			is = err == nil
		}
		if !is {
			continue
		}
		holds := false
		switch c.op {
		case "==":
			holds = n == v
		case "<":
			holds = n < v
		case "<=":
			holds = n <= v
		case ">":
			holds = n > v
		case ">=":
			holds = n >= v
		}
		if holds {
			out += "1"
		} else {
			out += "0"
		}
	}
	return out
}
