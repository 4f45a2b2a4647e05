// Package blackbox tests the built binary from outside, on a real Kafka:
// processes on loopback ports with data directories of their own, killed,
// stopped and restarted; participants and producers that know nothing but
// docs/protocol.md.
//
// It holds tests only. They run by make kafka-test and are skipped elsewhere
// with a visible reason.
//
//   - The participants are written from the protocol text, with header names
//     as text: they would notice if the constants of package protocol drifted
//     from it.
//   - Every random choice comes from one seed that the test prints.
//     AMENDS_SEED repeats the choices; the order of events is the machine's.
//   - What is checked is what a business would check: each effect once,
//     balanced ledgers, no saga half done.
package blackbox
