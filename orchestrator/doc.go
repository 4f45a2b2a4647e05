// Package orchestrator runs sagas on Kafka: it joins the pure machine of package sagas to the
// stream runtime of package topology.
//
// One process is one Orchestrator. It checks or creates the topics of its namespace, reads the
// definitions topic to its end, and then processes its share of the partitions:
//
//	decode (envelope -> sagas.Event) -> load (instance) -> advance (sagas.Step) -> stage (effects -> records)
//
// The whole walk is Processor.Process in processor.go; everything it stages commits in one Kafka
// transaction with the position of the record that caused it.
//
// Promises:
//
//   - A record never stops its partition. What cannot be decoded, is too large or breaks the
//     machine ends on the dead-letter topic, byte for byte and with a reason, in the transaction
//     that moves past it.
//   - A participant whose topic takes nothing holds back its own commands only: the machine is asked to
//     go on when the topic is back (processor.go, Release). What was never sent has no clock.
//   - The record key of every topic of the namespace is the workflow ID, so that one task sees all
//     records of an instance in order.
//   - No task starts before the process has read the definitions topic to the end it had at start.
//     An instance is pinned to (type, version, digest); a process that does not know this version
//     parks it and never takes another.
//   - A published version is immutable (SG33), also when two publishers race.
//   - The state topic is compacted and never deletes by age; a namespace where this is not so is
//     refused.
//   - No payload is ever logged.
package orchestrator
