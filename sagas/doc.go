// Package sagas is the saga machine: definitions, plans, instances and Step.
//
// The package is pure. Step takes a plan, the instance, one event and the time of that event, and
// returns the next instance and a list of effects as data. Nothing here reads a clock, starts a
// goroutine, does I/O, draws a random number or depends on the order of a map. The runtime does the
// I/O, so whatever fails in production can be reproduced from (plan, instance, events).
//
// # Use
//
//	def, err := sagas.ParseDefinition("payment.yaml", src) // err lists every finding
//	plan, err := sagas.Compile(def)
//	plan.Namespace = "prod"
//
//	inst, err := sagas.DecodeInstance(record)              // nil when there is no record
//	next, effects := sagas.Step(plan, inst, event, now)
//	if next == nil {
//		// delete the record
//	} else {
//		record = next.Append(nil)                          // the store's timer is next.NextDue()
//	}
//	// carry out the effects in the transaction that stores the record
//
// A store that keeps big instances in pages uses a Record instead (record.go): an event then reads and writes
// only what it touches of an instance with many items, with the same result.
//
// # Where to read
//
// The comment of Step has the two transition tables; the comments in the code name the rows. Each
// event has a file (start, reply and reply_undo and reply_inquire, timers, cancel, admin,
// defloaded). advance.go decides what may happen next, forward.go sends, inquire.go asks,
// backward.go compensates, finish.go ends, late.go deals with news after the end.
//
// An instance of plain calls is flat: its steps are those of the plan. One with other nodes is walked
// as a tree (tree.go): blocks.go opens and resolves blocks, each.go, race.go and rounds.go have the
// rules of theirs, turn.go offers failures to frames, order.go is the order of compensation.
//
// # Invariants
//
//   - Step never changes the instance that it is given. An event without effect returns that very
//     instance and an Ignored.
//   - A command that was emitted owes an undo until "no effect" is certain. Only a reply, or an
//     operator, ends a debt; time never does.
//   - What an operator gives up is listed as residue.
//   - An action that is refused changes nothing; one that is repeated with its request ID neither.
//   - All attempts of a (path, op, round) have one key and one payload.
//   - No undo is emitted outside COMPENSATING, so none after the pivot took effect; except inside a frame
//     that was turned round, which holds no pivot that was sent and not refused.
//   - Steps are in plan order within a frame; a node comes before its body, and frames in the order of
//     creation. A frame is never without the step that it belongs to.
//   - A failure turns exactly one thing round: the innermost frame that takes it, or the saga.
//   - One event costs a few passes over the live steps. What owes nothing and is definite does not stay
//     in a loop: the state of one without debts is bounded.
//   - undo(a) is emitted only when nothing that depends on a is in flight or in debt.
//   - An active instance has an armed timer, a wait without an end, a child, or a reason for attention,
//     unless an operator suspended it. Every reason can be settled: see Reason.Helps.
//   - An instance has one encoding, and decoding gives it back unchanged.
//
// # Confluence
//
// Two runs whose participants give each command the same answer end alike, in whatever order commands and
// answers arrive: in the same phase, with the same output, attention and effects, and, when they complete,
// with the same state and output of each step that was not turned round. What may differ is the cause, which
// names the failure that came first, and how much had begun of what was turned round and owes nothing.
// That holds as long as
//
//   - no time decides: answers come within their attempt, and no limit of the saga ends meanwhile;
//   - nobody takes the first of several: there is no race, and no finish that others are at work beside;
//   - a scope treats all failures that one of its rounds can have in the same way: it lists all their
//     codes or none;
//   - no each that tolerates fails after the commit, where nobody takes its failure: what its other items had
//     begun then stays;
//   - what may be turned round can be taken back: there is no retriable in it, and each undo succeeds in
//     the end;
//   - no condition, input or output reads saga.now.
//
// P3 in package sagatest tests exactly that. A run that waits for a person may not have come to its end: what
// is independent of the reason for attention still goes on.
//
// # Decisions
//
// Where the semantics leave a choice, the machine does this.
//
//   - A debt is undone as soon as its own dependents are out of debt; it does not wait until every
//     branch has drained. A step in flight counts as in debt.
//   - A definite "no effect" of the only attempt ends the debt even while its undo is in flight.
//   - A mandatory failure beside a pivot in flight waits for the pivot: no new command meanwhile.
//   - The lanes of a choose are decided once, when it opens; without a lane that holds nothing inside runs.
//   - An item that is being undone keeps its place among those in work. An each that tolerates fails as
//     soon as one item too many failed; what is in flight then is for whoever takes that failure.
//   - What follows a race does not wait for its losers, the end of the saga does. An undo that is stuck in
//     a loser, an item or a round asks for attention on its path, and the rest goes on.
//   - A failure without a code is matched by its state: UNKNOWN or FAILED.
//   - A refusal that onReject lets pass is no failure, not even of a pivot: a cancel or the deadline that
//     waited for it then turns the saga round.
//   - A round of a repeat is over when nothing in it is in flight or being undone, and no outcome that may
//     owe an undo is unknown (attention UNKNOWN_OUTCOME). An optional step without undo does not hold it up.
//   - A late answer of a forgotten round is a duplicate when nothing could be owed for it, and a dead letter
//     when it tells of an effect that has an undo.
//   - A late retry-after that would pass `within` counts as a spent budget at once; without `within`
//     it is honoured up to 24 h. An undo honours it up to 24 h too.
//   - A pivot or retriable step whose participant answers inquiries is inquired unless the author
//     chose attention; the others only when the author chose inquire. After `for` they are asked on,
//     ten times slower (at most hourly), with attention.
//   - To an inquiry only executed, not-executed and running say something. Any other outcome may
//     speak of the question and not of the do, so it counts as silence.
//   - not-executed: the step is REFUSED, because it was a spent budget, a passed key window or a fatal
//     answer that led to the question. A retriable step then waits for a person.
//   - The deadline holds although its timer has not fired yet: a reply that is taken after it sends
//     nothing more.
//   - An undo whose key window has passed asks first when inquire is offered: executed means that the
//     effect still stands (the undo is sent again), not-executed that it does not (out of debt).
//   - An undo that is rejected counts as failed-fatal: there is no business no to an undo.
//   - A rejected reply that states an effect, and an ok that states none, are read by the safe side:
//     the first as failed-fatal, the second as ok.
//   - A pivot or retriable step that took effect, or may have, and has no undo keeps the instance in
//     COMPENSATING with attention NO_UNDO, and so also freezes the undo of everything before it. A
//     person resolves, waives or closes it.
//   - An optional step that succeeds after it was given up becomes DONE. After COMPLETED that is a
//     late-effect fact, with attention only when it has an undo.
//   - Late effects reopen COMPENSATED, and CLOSED when the pivot surely has not taken effect. A reopened
//     instance with other residue ends as CLOSED again.
//   - An expression error before the first command holds that step until a person retries, skips or
//     closes. One in undo.with at undo time sends what was recorded with the do, and says so.
//     undo.with is also evaluated when the do is sent; if that fails, the do is not sent.
//   - An output that cannot be kept (no object, too large) leaves the step DONE with attention OUTPUT.
//   - Attention that is open at the end of a run is dropped from the state: the lifecycle has it.
//   - PARKED and VOID answer starts and cancels; a cancel of a PARKED start turns it into VOID.
//     A VOID lives 30 days unless the cancel says otherwise, at most 400.
//   - A cancel after the end is refused with COMMITTED (COMPLETED) or CLOSED, and acknowledged when
//     the run was compensated. The last 16 request IDs are remembered.
//   - A rejected start has no record, so its lifecycle fact has Seq 0. Seq starts anew when a record
//     was deleted.
//   - Without its plan an active instance keeps still (Ignored unknown-definition), but it can be
//     closed, and duplicate starts are answered. A plan with another digest counts as none.
//   - A signal goes to the first open wait, in the order of the steps, that wants it; an open wait has
//     looked at everything older. signals.last keeps the newest payload of 32 names, consumed or not, but
//     not of decisions. What was dropped because the buffer is full, or its time was over, does not count
//     as seen: it may be sent again from the dead letters.
//   - What nothing consumed when a run ends is dropped with a fact. It goes on with continue.
//   - Whether an actor has a role is for the edge to check. The machine counts decisions, and refuses
//     those of nobody, of the same person again, and of whom `not` names.
//   - A lease that cannot be read counts as none, with attention OUTPUT. A lease counts before the first
//     attempt of a pivot only: after it, nobody knows whether it was sent in time.
//   - finish and continue do not hide a failure: what is in flight may still turn the saga round.
//   - The next run of continue answers duplicates of the start that began the first one. ReplyTo and the
//     parent hear of the last run only.
//   - A child that is closed leaves its node OPEN with attention: waive makes the node fail, resolve and
//     skip say how it goes on. A child that completes although it was cancelled is reversed.
//   - Reversals are repeated every five minutes until the child has told its end.
//   - A parent that was closed lets go of a child when that completes.
//   - reuse begins another run only for a start that was issued after the one before (after the end, when
//     only the marker is left), so that an old start that comes again never runs twice. Not while
//     attention is open, nor for a child that its parent may still reverse.
//   - retry renews attempts and within, never the key window. retry-new-key makes residue of what the
//     old key may have done; if that turns out to be done, attention TWICE.
//   - skip makes a step that was sent DONE, so that its undo is owed; any other SKIPPED, with the output
//     that the operator gives. A late refusal of a skipped step changes nothing.
//   - A close is told by the fact closed alone; every other action by the fact operator.
//   - The deadline holds while an instance is suspended: it turns round, and sends its undos after resume.
//   - A fault in the tags of a definition is noted in the fact started and stops nothing.
//   - A reply that tells of an effect for which no instance answers goes to the dead letters; other
//     strangers are only counted.
package sagas
