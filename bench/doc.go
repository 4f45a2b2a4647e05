// Package bench puts load on a namespace and measures it: closed and open loops of sagas, a participant
// that answers at once, what each process used, what the topics grew by, and beside it the same work
// done by a loop written by hand (Ceiling), in one invocation. `amends bench` is its command.
//
// Figures are for comparison within one run on one machine. docs/performance.md has the method and the
// figures that were seen.
package bench
