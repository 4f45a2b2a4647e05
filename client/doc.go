// Package client starts, signals and cancels sagas from Go, waits for their ends, and writes operator
// actions. It writes the same JSON records to the intake
// topic that any producer can write; see docs/protocol.md.
package client
