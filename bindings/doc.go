// Package bindings reads topics of others for a namespace: a Rule says what becomes of a record, and a
// Router runs the rules.
//
// A Binding is the rule of an entry of `start` or `on` in a definition: a record becomes a start or a
// signal on the intake topic, or nothing, or a dead letter. Evaluating it is pure: the same record gives
// the same result.
//
// # Once
//
// Each record has its outputs exactly once, as seen by readers of committed data: they are in the
// transaction that holds the position (package topology). Beyond that, an event has an id: what `dedupe`
// gives, or the CloudEvents source and id, or else topic, partition and offset. It is the startId of a
// start and, with the name of the signal, the signalId. So an event with an id of its own that is published
// twice counts once: an instance remembers the id of its start and of its newest 256 signals. A copy
// without one is another event: as a start it finds the instance, and is a duplicate when its input is
// the same and a conflict with a dead letter when it is not.
//
// # Promises
//
//   - No record stops a partition. What cannot be read or evaluated goes to the dead letters with its
//     reason, its place and its binding. (TestHostile, TestRouter)
//   - What cannot be read now (schema.ErrUnavailable) stops the reading of the task, not longer than the
//     reason lasts; what came before it is through. Nothing is lost. (TestRegistryDown)
//   - Rules come and go without a restart, and without touching instances. A rule that comes back goes on
//     where it stopped. (TestRulesComeAndGo)
//   - A record is judged by the rule as it is when the record is read, so a new version of a definition
//     has no gap and no overlap.
//
// # Files
//
// rule.go and evaluate.go are the pure part. reader.go runs one rule as a topology of its own, named
// <ns>.bind.<type>.<name>: its group, transactional ids and changelog, so that lag, pause and the place to
// begin belong to each binding. router.go keeps the readers in step with the rules. replay.go reads a part of
// a topic again.
package bindings
