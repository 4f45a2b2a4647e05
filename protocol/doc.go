// Package protocol is what is on the wire between producers, the orchestrator and participants:
// topic names, header names, the token, the records of the intake, control and lifecycle topics,
// and the headers of a dead letter. docs/protocol.md says the same for people who write a
// participant in another language.
//
// The package knows nothing of a Kafka client and nothing of the saga machine. It has its own
// Header type; callers convert.
//
// What it promises:
//
//   - Every decoder is strict and bounded. Lengths are checked against Limits before anything is
//     allocated for them, so a record of n bytes costs O(n) memory. No input makes a decoder panic.
//   - Every error about input is an *Error with a Class (stable, for counters and dead letters) and
//     the Field it is about. It never holds payload bytes.
//   - Encoders are deterministic: the same value gives the same bytes.
//   - Decoded byte slices may alias the input. Callers that keep them longer than the record copy
//     them.
package protocol
