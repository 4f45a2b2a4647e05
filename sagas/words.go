package sagas

import (
	"slices"
	"strings"
)

// Words are the personal values of one instance as texts, to find them where they are repeated. Short
// ones are left out, because they would be found everywhere: texts of fewer than four bytes and numbers of
// fewer than six digits are masked by their place alone. Words is empty for a plan without such values.
type Words struct{ list []string } // the longest first

// Limits of words.
const (
	minWord       = 4
	minNumberWord = 6
	maxWords      = 1000
)

// Words are those of an instance.
func (x *Private) Words(i *Instance) Words {
	var w Words
	if x == nil || i == nil {
		return w
	}
	w.collect(x.shade(x.input), i.Input)
	w.collect(x.shade(x.result), i.Output)
	for k := range i.Steps {
		s := &i.Steps[k]
		if len(s.Output) > 0 {
			w.collect(x.shade(x.steps[idOf(s.Path)]), s.Output)
		}
	}
	for k := range i.Signals {
		w.collect(x.shade(x.signals[i.Signals[k].Name]), i.Signals[k].Payload)
	}
	w.sort()
	return w
}

func (x *Private) shade(s *shade) *shade {
	if x.all {
		return wholeShade
	}
	return s
}

// With adds those of records: the inputs of starts, what steps answered by path, the payloads of signals by name.
func (w Words) With(x *Private, inputs [][]byte, answers, signals map[string][][]byte) Words {
	if x == nil {
		return w
	}
	w.list = slices.Clone(w.list)
	for _, value := range inputs {
		w.collect(x.shade(x.input), value)
	}
	for path, list := range answers {
		for _, value := range list {
			w.collect(x.shade(x.steps[idOf(path)]), value)
		}
	}
	for name, list := range signals {
		for _, value := range list {
			w.collect(x.shade(x.signals[name]), value)
		}
	}
	w.sort()
	return w
}

func (w *Words) sort() {
	slices.SortFunc(w.list, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	w.list = slices.Compact(w.list)
}

func (w *Words) collect(s *shade, value []byte) {
	if s == nil || len(value) == 0 {
		return
	}
	if v, err := parseJSON(value); err == nil {
		s.mask(v, w.add)
	}
}

func (w *Words) add(v any) {
	if len(w.list) >= maxWords {
		return
	}
	switch v := v.(type) {
	case *object:
		for _, f := range v.fields {
			w.add(f.val)
		}
	case []any:
		for _, x := range v {
			w.add(x)
		}
	case string:
		if len(v) >= minWord {
			w.list = append(w.list, v)
		}
	case int64, float64, bigNum:
		if text := string(appendJSON(nil, v)); len(text) >= minNumberWord {
			w.list = append(w.list, text)
		}
	}
}

// Text is a text in which the values are masked.
func (w Words) Text(text string) string {
	for _, word := range w.list {
		if strings.Contains(text, word) {
			text = strings.ReplaceAll(text, word, Masked)
		}
	}
	return text
}

// JSON is a JSON text in which the values are masked, in texts and as numbers. What is no JSON is masked as
// a text is.
func (w Words) JSON(value []byte) []byte {
	if len(w.list) == 0 || len(value) == 0 {
		return value
	}
	v, err := parseJSON(value)
	if err != nil {
		return []byte(w.Text(string(value)))
	}
	return appendJSON(nil, w.replace(v))
}

func (w Words) replace(v any) any {
	switch v := v.(type) {
	case *object:
		out := &object{fields: slices.Clone(v.fields)}
		for i := range out.fields {
			out.fields[i].val = w.replace(out.fields[i].val)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = w.replace(x)
		}
		return out
	case string:
		return w.Text(v)
	case int64, float64, bigNum:
		if slices.Contains(w.list, string(appendJSON(nil, v))) {
			return Masked
		}
	}
	return v
}
