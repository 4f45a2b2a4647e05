// Package explain says in one sentence why an instance does not move, and what an operator can do next.
//
// The core is a pure function: Explain takes an instance, its plan and what is known of the cluster, and
// gives a sentence, a cause from a fixed list, facts and actions. It reads no clock and asks nobody. What
// it should know of Kafka is named by Asks and fetched by a Gatherer.
//
// Promises:
//
//   - One instance has one cause: the one that has to be dealt with first. What else holds it is listed
//     under Also.
//   - An action with a command of this program is one that the machine takes in the present state: each
//     was tried on it before it is named.
//   - A fact that could not be had is missing from the sentence and listed under Unknown, with the
//     reason. Nothing is guessed: a process without the right to see a group says so.
//   - A Gatherer asks a bounded number of questions and reads a bounded number of records in a bounded
//     time (Limits). Facts that do not change are kept.
//   - No payload of a command is read into an explanation. What a participant said (code and message)
//     and what the machine noted is.
//
// The engine does not record at which offset a command was written, because that is known only after the
// transaction. A Gatherer finds it by the time index of the topic: it reads on from the moment at which the
// command was sent, on the one partition that its key belongs to, until it meets the command's key.
package explain
