// Package client starts and cancels sagas from Go. It writes the same JSON records to the intake
// topic that any producer can write; see docs/protocol.md.
package client
