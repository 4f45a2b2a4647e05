package prove

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Options say what is explored. The zero value is what `amends prove` does without flags.
//
// Of the counts of what may go wrong in one run, 0 means the default and a negative number none.
type Options struct {
	// Step is the machine that is explored; nil = sagas.Step. A test puts a broken one here.
	Step func(*sagas.Plan, *sagas.Instance, sagas.Event, sagas.Time) (*sagas.Instance, []sagas.Effect)

	Attempts   int // most attempts of a do, an undo and a question; 0 = 2
	Duplicates int // deliveries, of a command or a reply, that come twice; 0 = 1
	Cancels    int // cancels, each at any moment; 0 = 1
	Operators  int // operator actions, each wherever attention asks for one; 0 = 1
	Signals    int // signals that nobody waits for yet, each at any moment; 0 = 1

	States int // most states; 0 = DefaultStates. More are not looked at, and the report says so
	Depth  int // most events of one run; 0 = no limit

	// FailingExpressions lets a run go on to people when an expression fails, where otherwise that is a
	// counterexample: for a definition whose values are drawn as its participants never give them.
	FailingExpressions bool

	Faults  Fault    // how the participants break their contract; 0 = they keep it
	Inputs  [][]byte // inputs of the start, JSON objects; nil = drawn from the definition
	Workers int      // 0 = one per processor

	// Plain turns the reductions off that are not needed to end: for tests that compare.
	Plain bool
	// FullKeys keeps each state's whole description and compares it, where otherwise 128 bits of its
	// SHA-256 stand for it.
	FullKeys bool

	// Progress hears once per depth how far the exploration is; nil = nobody asks.
	Progress func(Progress)
}

// Progress is how far an exploration is.
type Progress struct {
	States      int
	Transitions int
	Depth       int
	Frontier    int // states of this depth
	Elapsed     time.Duration
}

// DefaultStates is the most states that are explored when the caller does not say otherwise.
const DefaultStates = 4_000_000

// Fault is a set of ways in which participants break their contract.
type Fault uint32

const (
	// NoTombstone: an undo that finds no do leaves nothing behind, so the do may come after it.
	NoTombstone Fault = 1 << iota
	// NoRefusals: a refusal is forgotten, so the next delivery is decided anew.
	NoRefusals
	// NoDedupe: each delivery of a do takes effect again.
	NoDedupe
	// NoNullCompensation: an undo reverses although nothing took effect.
	NoNullCompensation
	// SuppressedOK: a do behind its undo is answered ok, though it does nothing.
	SuppressedOK
	// HastyInquiry: not-executed is answered while the do may still come, and is not kept.
	HastyInquiry
	allFaults Fault = 1<<iota - 1
)

var faultNames = []string{"no-tombstone", "no-refusals", "no-dedupe", "no-null-compensation", "suppressed-ok", "hasty-inquiry"}

// FaultNames lists the names that ParseFault knows.
func FaultNames() []string { return slices.Clone(faultNames) }

// ParseFault reads a fault by its name.
func ParseFault(name string) (Fault, error) {
	i := slices.Index(faultNames, name)
	if i < 0 {
		return 0, fmt.Errorf("%q is not a way to break the contract (%s)", name, strings.Join(faultNames, ", "))
	}
	return 1 << i, nil
}

func (f Fault) String() string {
	var names []string
	for i, name := range faultNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	if o.Step == nil {
		o.Step = sagas.Step
	}
	if o.Attempts <= 0 {
		o.Attempts = 2
	}
	for _, n := range []*int{&o.Duplicates, &o.Cancels, &o.Operators, &o.Signals} {
		switch {
		case *n == 0:
			*n = 1
		case *n < 0:
			*n = 0
		}
		*n = min(*n, 100)
	}
	if o.States <= 0 {
		o.States = DefaultStates
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Faults &= allFaults
	return o
}
