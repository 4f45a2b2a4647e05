package sagas

import (
	"cmp"
	"slices"
	"strings"
)

// helps says for each reason which operator actions can settle it. What the present state allows of
// them is in the comment of admin.go. AdminClose is not listed: it ends any active instance.
var helps = map[Reason][]AdminAction{
	ReasonExpr:           {AdminRetry, AdminSkip, AdminResolve, AdminWaive},
	ReasonTooLarge:       {AdminRetry, AdminSkip, AdminResolve, AdminWaive},
	ReasonOutput:         {AdminResolve},
	ReasonUnknownOutcome: {AdminRetry, AdminRetryNewKey, AdminResolve, AdminSkip},
	ReasonBudgetSpent:    {AdminRetry, AdminRetryNewKey, AdminResolve, AdminSkip},
	ReasonSlow:           {AdminRetry, AdminRetryNewKey, AdminResolve, AdminSkip, AdminExtend},
	ReasonRefused:        {AdminRetryNewKey, AdminSkip},
	ReasonContradiction:  {AdminResolve},
	ReasonPhantom:        {AdminResolve},
	ReasonDeadline:       {AdminExtend, AdminResolve},
	ReasonUndoSlow:       {AdminRetry, AdminRetryNewKey, AdminResolve, AdminWaive},
	ReasonUndoFailed:     {AdminRetry, AdminRetryNewKey, AdminResolve, AdminWaive},
	ReasonUndoNoop:       {AdminRetry, AdminRetryNewKey, AdminResolve, AdminWaive},
	ReasonKeyWindow:      {AdminRetryNewKey, AdminResolve, AdminWaive, AdminSkip},
	ReasonNoUndo:         {AdminResolve, AdminWaive},
	ReasonLateEffect:     {AdminResolve, AdminWaive},
	ReasonTwice:          {AdminResolve, AdminWaive},
	ReasonLivelock:       {AdminRetry},
	ReasonChildClosed:    {AdminResolve, AdminWaive, AdminSkip},
	ReasonSignals:        {AdminRetry},
}

// Helps lists the operator actions that can settle the reason, the mildest first. The DEADLINE of a
// saga is settled by resolving its pivot, LIVELOCK and SIGNALS by retry without a path. The caller
// must not change the list.
func (r Reason) Helps() []AdminAction { return helps[r] }

// raise asks for a person's attention. It says whether this is news: a reason is raised once per
// path until it is settled.
func (m *machine) raise(path string, reason Reason, text string) bool {
	at, found := m.findAttention(path, reason)
	if found {
		return false
	}
	a := Attention{Path: path, Reason: reason, Since: m.now, Text: clip(m.clean(text), maxMessage)}
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
