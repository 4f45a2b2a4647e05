// Package sagasgen makes random definitions that pass every check, for property tests.
//
// A definition depends on the draws alone, so a test that records its draws, as rapid does, can repeat
// and shrink it:
//
//	src := sagasgen.Definition(func(what string, n int) int {
//		return rapid.IntRange(0, n-1).Draw(t, what)
//	}, sagasgen.Options{})
//	def, err := sagas.ParseDefinition("drawn", []byte(src))
//
// Draws of 0 give the smallest definitions. Whatever the input of a run is, no expression of a drawn
// definition fails: every field of the input that it reads is optional and has a default.
package sagasgen
