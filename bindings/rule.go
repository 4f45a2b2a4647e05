package bindings

import (
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Rule says what becomes of the records of one topic. It is immutable.
type Rule interface {
	// Key is <type>/<name>, unique in the namespace. The position belongs to it.
	Key() string
	// Topic is what is read.
	Topic() string
	// From says where to begin when there is no position.
	From() sagas.BindingOrigin
	// Evaluate appends what the record becomes to dst: nothing when it is not meant. A *Fault makes it
	// a dead letter.
	Evaluate(ev *Event, dst []Output) ([]Output, error)
}

// Output is one record that a record becomes.
type Output struct {
	Topic   string // "" = the intake of the namespace
	Key     []byte
	Value   []byte
	Headers []sagas.KV
}

// Fault is why a record has no outputs though it is meant.
type Fault struct {
	Class   string // stable
	Message string // for people; without payload
}

func (f *Fault) Error() string { return f.Message }

// besideFault is a fault of a part of a rule: what the other parts gave stands.
type besideFault struct{ *Fault }

// Unwrap gives the fault.
func (b besideFault) Unwrap() error { return b.Fault }

// Classes of faults.
const (
	ClassMalformed = "MALFORMED" // the value cannot be read
	ClassFilter    = "FILTER"    // the condition has no result
	ClassMapping   = "MAPPING"   // input, payload or dedupe have none, or not one that fits
	ClassNoID      = "NO_ID"     // id has no result that can be an id
	ClassTooLarge  = "TOO_LARGE"
	ClassFailed    = "FAILED" // anything else
)

// Binding is one entry of the bindings of a definition.
type Binding struct {
	Plan *sagas.Plan
	Def  *sagas.BindingPlan
}

// Of lists the bindings of the active versions, by key.
func Of(active []*sagas.Plan) []Rule {
	var out []Rule
	for _, p := range active {
		for i := range p.Bindings {
			out = append(out, &Binding{p, &p.Bindings[i]})
		}
	}
	slices.SortFunc(out, func(a, b Rule) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// Key implements Rule.
func (b *Binding) Key() string { return b.Plan.Type + "/" + b.Def.Name }

// Topic implements Rule.
func (b *Binding) Topic() string { return b.Def.Topic }

// From implements Rule.
func (b *Binding) From() sagas.BindingOrigin { return b.Def.From }
