package sagas

import (
	"strings"
	"unicode"
)

// checkEnds is about continue and finish in places where something may still owe an undo.
func (c *checker) checkEnds() {
	for i, def := range c.defs {
		if def.Node != NodeContinue && def.Node != NodeFinish {
			continue
		}
		bad := []NodeKind{NodeRace}
		if def.Node == NodeContinue {
			bad = append(bad, NodeEach)
		}
		if x := c.around(i, bad...); x >= 0 {
			c.fault(c.paths[i], "SG29", "Move it behind "+c.defs[x].ID+".", "%s is reached while other parts of the %s %s may still owe an undo", def.ID, c.defs[x].Node, c.defs[x].ID)
			continue
		}
		if def.Node == NodeFinish || c.surelyCommitted(i) {
			continue // without a pivot, the end is the commit
		}
		for x := range c.defs {
			if c.owes(x) && (c.follows(i, x) || c.order.of(i, x) == relBeside) {
				c.fault(c.paths[i], "SG29", "Put a pivot between them.", "%s is reached while %s may still owe an undo", def.ID, c.defs[x].ID)
				break
			}
		}
	}
}

// surelyCommitted says whether a pivot ran in every run that gets to node i.
func (c *checker) surelyCommitted(i int) bool {
	for _, p := range c.pivots {
		if c.order.of(p, i) != relBefore {
			continue
		}
		if _, b := c.order.meet(i, p); c.always(p, b) {
			return true
		}
	}
	return false
}

var (
	creditWords = []string{"credit", "deposit", "payout"}
	debitWords  = []string{"debit", "withdraw", "withdrawal"}
)

// checkCredit warns of money that is given before it is taken.
func (c *checker) checkCredit() {
	for i := range c.defs {
		if !c.owes(i) || !hasWord(c.plan.Steps[i].Command, creditWords) {
			continue
		}
		for j := range c.defs {
			if hasWord(c.plan.Steps[j].Command, debitWords) && c.follows(j, i) {
				c.warn(c.paths[i], "SG26", "Consider the other order.", "%s runs before %s: if %s fails, the money may be gone when it is to be taken back", c.defs[i].ID, c.defs[j].ID, c.defs[j].ID)
				break
			}
		}
	}
}

// hasWord says whether a name has one of the words, by its capitals and signs.
func hasWord(name string, words []string) bool {
	var parts []string
	start := 0
	for i, r := range name {
		if unicode.IsUpper(r) || !unicode.IsLetter(r) {
			parts = append(parts, name[start:i])
			start = i
			if !unicode.IsLetter(r) {
				start = i + 1 // names are ASCII
			}
		}
	}
	parts = append(parts, name[start:])
	for _, p := range parts {
		for _, w := range words {
			if strings.EqualFold(p, w) {
				return true
			}
		}
	}
	return false
}
