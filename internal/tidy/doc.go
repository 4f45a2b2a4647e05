// Package tidy holds the rules of the house that a compiler cannot check, as
// tests: who may import what, a doc.go in every package, and nothing in the
// tree that only works on one machine.
//
// Each rule has one place, and the failure message says the cure. To change
// a rule, change its table entry in the same commit as the code that needs it.
package tidy
