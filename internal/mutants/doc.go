// Package mutants tests the tests of the saga machine: it plants one known mistake after the other in
// the source of package sagas and expects the suite to notice every one.
//
// mutants.txt lists them. A mutant is a piece of source that occurs exactly once in its file, and what
// stands there instead; it is compiled through the overlay of the go command, so the tree is never
// touched. A piece that no longer occurs fails the test: whoever changes the machine keeps the list
// true. `make mutants` runs all of them, `make test` only checks that each still fits and compiles.
package mutants
