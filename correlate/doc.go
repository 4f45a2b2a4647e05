// Package correlate brings together an event that knows some value (a booking code, a payment
// reference) and the instances that wait for it, in whatever order they come.
//
// It is pure. An Entity is everything that is known of one value under one name; Step takes an entity, one
// input and the time, and returns the next entity and effects as data. Package correlate/flow runs it on
// Kafka.
//
// # Who gets an event
//
// A name stands for one way to read one topic: the same topic, the same condition, the same value. Waits
// that share it share its events. Who waits belongs to a group: all waits of a saga type are one.
//
//   - An event that comes while somebody waits goes to everybody who waits: one instance or several, of
//     one group or several. An instance that waits at several places gets it once.
//   - An event for which a group has nobody waiting is early for that group. It is parked for its time, and
//     the first wait of that group that begins gets it. Groups do not take events from each other.
//   - A wait gets one event and is over. Who wants another one (its condition did not hold) subscribes
//     again, and then takes the oldest that is parked. A wait for replies (Keep) goes on: a participant may
//     answer more than once.
//   - An event comes once: its id is remembered for as long as it may be parked, an hour at least.
//   - An event that nobody took in its time becomes a dead letter EXPIRED. One that does not fit becomes a
//     dead letter at once (OVERFLOW, TOO_LARGE). What one group took and others did not is no dead letter.
//   - An event without a time to wait (TTL 0) that nobody waits for is none of ours: it is counted as
//     unmatched and dropped. Its author has said so.
//
// # Invariants
//
//   - For each event and group: it is delivered to those who wait when it comes, else to at most one. An
//     event that was taken in is delivered, or dead, or counted as unmatched: never none of these, and
//     never delivered and dead. (TestEveryOrder)
//   - The same input again changes nothing. (TestRepeated)
//   - Time decides by itself: an event whose time is over is not delivered, whether Tick came or not.
//   - An entity is bounded by Limits, and each limit is asked before anything is kept. (TestBounds)
//   - An entity that holds nothing is nil: it leaves no record. Due is when something in it ends.
package correlate
