package sagas

import (
	"cmp"
	"slices"
	"strings"
)

// raise asks for a person's attention. It says whether this is news: a reason is raised once per
// path until it is settled.
func (m *machine) raise(path string, reason Reason, text string) bool {
	at, found := m.findAttention(path, reason)
	if found {
		return false
	}
	a := Attention{Path: path, Reason: reason, Since: m.now, Text: clip(text, maxMessage)}
	m.inst.Attention = slices.Insert(slices.Clone(m.inst.Attention), at, a)
	m.transitions++
	m.fact(KindAttention, path, KV{"reason", string(reason)}, KV{"text", a.Text})
	return true
}

// settle takes reasons of a path back: what they asked for has resolved itself.
func (m *machine) settle(path string, reasons ...Reason) {
	if len(m.inst.Attention) == 0 {
		return
	}
	for _, reason := range reasons {
		at, found := m.findAttention(path, reason)
		if !found {
			continue
		}
		m.inst.Attention = slices.Delete(slices.Clone(m.inst.Attention), at, at+1)
		if len(m.inst.Attention) == 0 {
			m.inst.Attention = nil
		}
		m.fact(KindAttentionCleared, path, KV{"reason", string(reason)})
	}
}

func (m *machine) hasAttention(path string, reason Reason) bool {
	_, found := m.findAttention(path, reason)
	return found
}

func (m *machine) findAttention(path string, reason Reason) (int, bool) {
	return slices.BinarySearchFunc(m.inst.Attention, Attention{Path: path, Reason: reason}, compareAttention)
}

func compareAttention(a, b Attention) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.Reason), string(b.Reason)))
}
