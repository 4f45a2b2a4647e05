package storetest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/amendsio/amends/statestore"
)

// Row is one line of a dump.
type Row struct {
	Kind       byte
	Key, Value string
}

// Model is the reference store.
type Model struct {
	Index    statestore.Indexer
	Data     map[string]string
	Position statestore.Position
}

// NewModel returns an empty model.
func NewModel(index statestore.Indexer) *Model {
	return &Model{Index: index, Data: map[string]string{}}
}

// Clone returns a copy.
func (m *Model) Clone() *Model {
	c := *m
	c.Data = maps.Clone(m.Data)
	return &c
}

// Apply does what Store.Apply and Store.Load do.
func (m *Model) Apply(muts []statestore.Mutation, p statestore.Position) {
	for _, mut := range muts {
		if mut.Value == nil {
			delete(m.Data, string(mut.Key))
		} else {
			m.Data[string(mut.Key)] = string(mut.Value)
		}
	}
	p.Time = max(p.Time, m.Position.Time)
	m.Position = p
}

// Timer is one entry of the timer index.
type Timer struct {
	Due int64
	Key string
}

// Timers returns all timers in order.
func (m *Model) Timers() []Timer {
	var timers []Timer
	for key, value := range m.Data {
		if e := m.entry(key, value); e.Due > 0 {
			timers = append(timers, Timer{e.Due, key})
		}
	}
	slices.SortFunc(timers, func(a, b Timer) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), strings.Compare(a.Key, b.Key))
	})
	return timers
}

// Keys returns the data keys with a prefix, in order, after a key.
func (m *Model) Keys(prefix, after string) []string {
	var keys []string
	for key := range m.Data {
		if strings.HasPrefix(key, prefix) && key > after && (prefix != "" || key[0] != 0) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// With returns the keys that have an attribute, in order.
func (m *Model) With(attr string) []string {
	var keys []string
	for key, value := range m.Data {
		if slices.Contains(m.entry(key, value).Attrs, attr) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Dump returns all rows in the order of Store.Dump.
func (m *Model) Dump() []Row {
	var rows []Row
	for key, value := range m.Data {
		rows = append(rows, Row{statestore.KindData, key, value})
		e := m.entry(key, value)
		for _, attr := range e.Attrs {
			rows = append(rows, Row{statestore.KindAttr, attr + "\x00" + key, ""})
		}
	}
	for _, t := range m.Timers() {
		var due [8]byte
		for i := range due {
			due[i] = byte(t.Due >> (56 - 8*i))
		}
		rows = append(rows, Row{statestore.KindTimer, string(due[:]) + t.Key, ""})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(rows)
}

// entry drops what the store does not index.
func (m *Model) entry(key, value string) statestore.Entry {
	if m.Index == nil || key[0] == 0 {
		return statestore.Entry{}
	}
	e := m.Index([]byte(key), []byte(value))
	var attrs []string
	for _, attr := range e.Attrs {
		if attr != "" && len(attr) <= statestore.AttrMax && !strings.Contains(attr, "\x00") {
			attrs = append(attrs, attr)
		}
	}
	return statestore.Entry{Due: max(e.Due, 0), Attrs: attrs}
}

// Dump returns all rows of a store.
func Dump(s *statestore.Store) ([]Row, error) {
	var rows []Row
	err := s.Dump(func(kind byte, key, value []byte) {
		rows = append(rows, Row{kind, string(key), string(value)})
	})
	return rows, err
}

// Index is an indexer for tests: the first byte of a value is the due time
// (0: none), each further byte below 'z' is an attribute. It also returns
// attributes that the store must leave out, and the same one twice.
func Index(_, value []byte) statestore.Entry {
	if len(value) == 0 {
		return statestore.Entry{}
	}
	e := statestore.Entry{Due: int64(value[0]) * 1000}
	for _, c := range value[1:min(len(value), 5)] {
		switch {
		case c < 'z':
			e.Attrs = append(e.Attrs, "s/"+string(rune('a'+c%4)))
		case c == 'z':
			e.Attrs = append(e.Attrs, "", "a\x00b", strings.Repeat("x", statestore.AttrMax+1))
		case c == '{':
			e.Due = -e.Due
		}
	}
	return e
}

// Clone copies mutations, whose slices may be reused.
func Clone(muts []statestore.Mutation) []statestore.Mutation {
	out := make([]statestore.Mutation, len(muts))
	for i, m := range muts {
		out[i] = statestore.Mutation{Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value)}
	}
	return out
}
