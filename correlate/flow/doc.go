// Package flow runs correlation on Kafka: a topology of one Process over <ns>.saga.correlation, keyed by the
// match value, with a store of entities (package correlate).
//
//	<ns>.saga.correlation ─ values ─┬─ <ns>.saga.intake    the event as a signal
//	                                ├─ <ns>.saga.replies   the event as the reply to a command
//	                                └─ <ns>.saga.dlq       what nobody waited for in its time
//
// Instances subscribe in the transaction of the step that waits; bindings write the events. Each process of
// the namespace runs a share of it, in a group and with transactional ids of its own, as soon as a
// definition needs it.
//
// # Promises
//
//   - Each record has its effect exactly once, as seen by readers of committed data. (TestCrash)
//   - An event comes to who waits for it whether it is there before, during or after the await, and past
//     its time it is a dead letter with its reason. (TestBeforeDuringAfter, on real Kafka too)
//   - A signal carries an id that is derived from the event and the instance, so that a signal that came
//     already is known by it, whatever else goes wrong.
//   - A dead letter is the record of the event, written anew when it had waited: sent again, it is an event
//     like any other.
//   - No record stops a partition: what cannot be read is set aside.
package flow
