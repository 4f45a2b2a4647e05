// Package prove explores every run of a saga definition, within bounds, on the real machine.
//
// The exploration goes breadth first over explicit states. A state is the encoded instance, the
// commands and replies on their way as a multiset, the inboxes of the participants, and books that an
// observer keeps who sees only commands and replies. What can happen in a state is a move: a
// participant takes a command and answers in one of the ways its contract allows, a reply arrives, the
// next timers fire, the deadline of the saga passes, somebody cancels, an operator acts, a message is
// delivered twice. Each move is one event for sagas.Step, and each state that is looked at was read
// back from its bytes, as after a crash. Properties (see Property) are judged from the books, the
// inboxes and the phase, not by the machine's own rules. The first violation ends the exploration, and
// because it is breadth first its run is a shortest one.
//
// # Bounds
//
// Attempts of a do, an undo and a question are capped (Bound does it to the plan). A step that is
// retried without end, an undo and a question are answered for good at the cap; until what is on its
// way for such an attempt has arrived, time does not pass its timer. Cancels, doubled deliveries and
// operator actions are counted. Whatever arrives after the end arrives within the retention. One run
// is explored: where a saga continues as its next run, the exploration stops. Progress replies and
// reminders are left out. A report names all of this, and a bound that ended the exploration early
// (states, depth) turns "proved" into "no violation found within".
//
// # Time
//
// Time moves only to the next due timer of a step, and a state keeps moments relative to its last
// change. So timers fire in the order of their durations, whereas messages may be arbitrarily late:
// they stay on their way while timers fire. Silence is a message that never arrives. The deadline of
// the saga may pass at every moment at which the saga runs, whatever its length, so what is proved
// holds for every length; the clocks of participants are not trusted, so a do may take effect after
// its deadline. Jitter is off and pauses do not grow.
//
// # Reductions
//
// These make states meet, or leave out moves that lead nowhere new. Options.Plain turns them off but
// for the first; a test compares the two on small definitions.
//
//   - Relative time, and counters that only people read. Step asks for differences of moments and for
//     the equality of a timer's generation, never for their values.
//   - A participant's command and the arrival of its reply are one move. Taking a command touches only
//     the participant's rows of one step, so it commutes with everything but another command to the
//     same rows; it may therefore be postponed to just before its reply arrives, or before such a
//     command is taken. So a command is also taken alone where another one for the step is on its way,
//     or where the run has ended and the effect itself is what is looked for.
//   - What can only be ignored is dropped: a reply that Step ignores now, or a command that the inbox
//     answers with such a reply. The machine's rules are monotonous there: answers of older attempts
//     and rounds stay old, what is settled stays settled.
//   - One command for those that can do no more than it (subsume). Of several attempts of one round that
//     are on their way only the newest counts: one key has one outcome, so whatever an older one could
//     bring about, and with whatever answer, the newest can too. A command behind an answer from the same
//     inbox row adds nothing to the answer. Of a do that will not be sent again every attempt is alike.
//     Participants that break their contract may tell attempts apart, so for them this is off.
//   - How a step came to be what it is (forget.go). When nothing about a step is on its way, and none
//     of its attempts will be repeated, then no message tells an older attempt from a newer one, and its
//     participant will be asked at most to undo: attempts, questions, stored answers, tombstones and
//     refusals have no reader any more, only what took effect and what was reversed has. A step that
//     owes nothing, of which nothing is on its way and whose participant holds nothing, will neither send
//     nor hear anything: in a saga that compensates, it is as if it had never been sent. A debt that was
//     stopped for a person, while no operator may act any more, stays a debt, whatever led to it.
//   - What became of an optional step without an undo that no expression names. Whatever its participant
//     did or will do, the saga goes on in the same way and no property asks for it.
//   - What only goes forward. A saga that compensates never runs again, so what expressions could ask
//     for has no reader: the input, outputs, signals, decisions, branches taken, causes and codes. What an
//     undo.with or inquire.with names is kept (reads.go): they are looked at on the way back.
//   - Cancels that were answered, once the saga left RUNNING.
//     The last four leave alone what an operator could still act upon.
//   - A state is known by 128 bits of the SHA-256 of its description. Options.FullKeys compares the
//     descriptions themselves.
//
// # Liveness
//
// From every state some run that needs neither people nor luck must lead to an end, to attention, or to
// a wait for the world. With timers that fire, messages that arrive and participants that answer at the
// bound, that is the same as: every fair run gets there.
//
// # Determinism
//
// Counts, verdict and counterexample do not depend on the number of workers.
package prove
