package derive

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/common/ast"

	"github.com/amendsio/amends/sagas"
)

// path is an expression that only picks a field.
type path struct {
	keys     []string
	slots    []int // of all prefixes
	optional int
	orValue  []byte
}

func pathOf(e ast.Expr, s *slots) *path {
	p, ok := sagas.RecordPathOf(e)
	if !ok {
		return nil
	}
	return &path{keys: p.Keys, slots: s.add(p.Keys), optional: p.Optional, orValue: p.Default}
}

// sure says that a condition may be decided on the bytes: a number with more digits than an expression
// can hold is an error of the condition, also when only a field of it is asked for.
func (p *path) sure(s *scanner) bool {
	for _, id := range p.slots {
		if at := s.found[id]; at.to != 0 && !holdable(s.b[at.from:at.to]) {
			return false
		}
	}
	return true
}

// holdable says that an expression can hold a value.
func holdable(raw []byte) bool {
	return raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') || sagas.RecordNumberFits(raw)
}

var errField = errors.New("a field of something that is not an object")

// find gives the field's bytes in the record; has is false for an empty optional.
func (p *path) find(s *scanner) (raw []byte, has bool, err error) {
	if at := s.found[p.slots[len(p.slots)-1]]; at.to != 0 {
		return s.b[at.from:at.to], true, nil
	}
	first := byte('{') // of what holds the next key
	for i, id := range p.slots {
		optional := i >= p.optional
		if first != '{' {
			if optional && first != '[' { // CEL asks a list for its indexes only
				break
			}
			return nil, false, errField
		}
		at := s.found[id]
		if at.to == 0 {
			if optional {
				break
			}
			return nil, false, fmt.Errorf("the record has no field %s", p.keys[i])
		}
		first = s.b[at.from]
	}
	return p.orValue, p.orValue != nil, nil
}
