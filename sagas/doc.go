// Package sagas is the saga machine: definitions, plans, instances and Step.
//
// The package is pure. Step takes a plan, the instance, one event and the time of that event, and
// returns the next instance and a list of effects as data. Nothing here reads a clock, starts a
// goroutine, does I/O, draws a random number or depends on the order of a map. The runtime does the
// I/O, so whatever fails in production can be reproduced from (plan, instance, events).
package sagas
