// Package sagatest tests saga definitions without a broker, a clock or a participant.
//
// A script is a plain-text file of verbs and what they must answer. Each verb is one event of the
// saga, or virtual time, or a question about its state:
//
//	define
//	saga: order
//	version: 1
//	participants: {psp: {ops: [do, undo]}}
//	steps:
//	- {id: auth, call: psp.authorise, undo: {call: psp.void}}
//	----
//	order@1
//	  auth compensatable psp.authorise undo psp.void
//
//	start id=o1
//	----
//	* 1 started
//	> do auth#1 psp.authorise key=k1 deadline=+10s {}
//	* 2 step-sent auth attempt=1
//	  auth: IDLE -> PENDING(1)
//	  phase: none -> running
//
//	reply step=auth outcome=ok
//	----
//	* 3 step-done auth attempt=1
//	* 4 completed
//	  auth: PENDING(1) -> DONE
//	  phase: running -> completed
//
// A line that begins with ">" is a command, or another message that goes out, "*" a lifecycle fact with its sequence number, "!" a
// dead letter, "=" the result, "~" an event without effect; indented lines are what changed.
//
// Run a directory of scripts from a test of your own:
//
//	func TestSagas(t *testing.T) { sagatest.Run(t, "testdata/*.txt") }
//
// and let `go test -rewrite` write the answers. Read what it wrote: an answer that nobody read
// records a bug as if it were the rule.
//
// # Verbs
//
//	define [file=path] [saga=] [attempts=2]
//	      the definition follows as YAML, or is read from a file beside the script; with attempts it is
//	      bounded as amends prove does it: so many attempts, no jitter, pauses that do not grow
//	start id= [input=] [type=] [version=] [start-id=] [issued=-1h] [reply-to=]
//	reply step= outcome= [op=do] [attempt=] [round=] [run=] [effect=] [code=] [message=] [noop]
//	      [replayed] [retry-after=5s] [output=] [handle=]
//	      attempt, round and run default to those of the last such command
//	advance 30s                  virtual time passes; every timer fires at its due time, in order
//	tick                         a timer event at the present time, due or not
//	jump -1h                     the clock moves and nothing fires, as after a fault of the clock
//	cancel [request=] [reason=] [actor=] [id=] [void-ttl=]
//	deadline                     the deadline of the saga passes now, whatever its length
//	close operator= reason= [expect-rev=]
//	admin <action> [step=] [operator=] [reason=] [request=] [expect-rev=] [effect=done|none]
//	      [output=] [by=5m]      retry, retry-new-key, resolve, waive, skip, compensate, suspend, resume,
//	      extend; admin signal takes the arguments of signal too
//	signal name=|step= [id=] [actor=] [payload=] [ttl=] [to=<id>]
//	childdone step= phase=completed|compensated|closed|rejected [child=] [run=] [code=] [message=] [output=]
//	reverse, parentclosed [parent=] [parent-run=] [parent-step=]
//	      what a parent tells a child that was started with start parent= [parent-step=] [reversible]
//	defloaded                    the definition may be known now
//	forget                       the definition is unknown to this node from now on
//	crash                        the instance is reloaded from its bytes
//	behave step= [op=do] answers=(ok, silent, …) [delay=] [code=] [effect=] [output=]
//	      virtual participants answer the commands of this step; step=* stands for all
//	wire step= [op=do] [message=reply|command] [times=1] lost | twice | late=7d
//	      what becomes of the next message between the saga and its virtual participant
//	run [until=end|attention|<phase>] [limit=24h]
//	      participants and time go on until then
//	state                        phase, steps, attention, obligations, next timer, input kept
//	ledger                       what the virtual participants executed and reversed
//
// # The world behind it
//
// World is the same as a Go API: it feeds events to the saga machine, keeps the clock, and carries
// commands to virtual participants that keep the participant contract: an inbox that remembers
// every answer under its key, null compensation (an undo without a do is recorded and answered
// noop), anti-hanging (a do behind its undo is refused), refusals that are remembered too. Faults
// lose, delay, double and reorder what is on its way.
//
// Everything is deterministic: the same script gives the same text on every machine.
package sagatest
