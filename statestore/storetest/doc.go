// Package storetest holds what every task store must do: Model, a map-backed reference that derives
// its index by looking at everything, and Conformance, which takes one random list of operations through a
// store and through the Model and compares all that can be seen of them.
package storetest
