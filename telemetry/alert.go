package telemetry

import (
	"cmp"
	"slices"
	"strings"

	"github.com/amendsio/amends/protocol"
)

// MaxSamples is how many workflow IDs an alert names at most.
const MaxSamples = 10

// MaxGroups bounds the alerts of one delivery. What would be one more ends the window early.
const MaxGroups = 500

// Alert says that instances of one saga need a person, for one reason at one step.
type Alert struct {
	Saga   string `json:"saga"`           // <type>@<version>
	Step   string `json:"step,omitempty"` // its id in the definition, without items and rounds; empty = the instance itself
	Reason string `json:"reason"`         // see docs/operations.md
	Count  int    `json:"count"`          // facts in this window
	First  int64  `json:"first"`          // ms since 1970
	Last   int64  `json:"last"`
	// Instances are some of them, at most MaxSamples, each with the command that explains it.
	Instances []string `json:"instances"`
}

// Delivery is what a receiver gets: the body of a webhook, the value of a record.
type Delivery struct {
	Kind      string  `json:"kind"` // "amends.alerts.v1"
	Namespace string  `json:"namespace"`
	ID        string  `json:"id"` // the same when a delivery is tried again
	Alerts    []Alert `json:"alerts"`
}

const kindOfDelivery = "amends.alerts.v1"

// book gathers facts into alerts.
type book struct {
	by map[[3]string]*Alert
}

// take adds a fact, when it asks for a person. It says whether it did.
func (b *book) take(l *protocol.Lifecycle) bool {
	if l.Kind != "attention" {
		return false
	}
	reason := ""
	for _, kv := range l.Detail {
		if kv.Key == "reason" {
			reason = kv.Value
		}
	}
	step := l.Path[strings.LastIndexByte(l.Path, '/')+1:]
	key := [3]string{l.Definition, step, reason}
	if b.by == nil {
		b.by = map[[3]string]*Alert{}
	}
	a := b.by[key]
	if a == nil {
		a = &Alert{Saga: l.Definition, Step: step, Reason: reason, First: l.At, Last: l.At}
		b.by[key] = a
	}
	a.Count++
	a.First, a.Last = min(a.First, l.At), max(a.Last, l.At)
	if len(a.Instances) < MaxSamples && !slices.Contains(a.Instances, l.WorkflowID) {
		a.Instances = append(a.Instances, l.WorkflowID)
	}
	return true
}

func (b *book) full() bool { return len(b.by) >= MaxGroups }

// close gives the alerts in order and begins anew.
func (b *book) close() []Alert {
	out := make([]Alert, 0, len(b.by))
	for _, a := range b.by {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(x, y Alert) int {
		return cmp.Or(strings.Compare(x.Saga, y.Saga), strings.Compare(x.Step, y.Step), strings.Compare(x.Reason, y.Reason))
	})
	b.by = nil
	return out
}
