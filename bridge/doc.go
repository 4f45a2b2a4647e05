// Package bridge is a participant that is declared in a file: the commands of one participant become
// calls over HTTP, and the answers of those calls become replies.
//
//	bridge: psp                             # reads cmd.psp
//	destinations:
//	  api:
//	    url: https://psp.example/v1         # nothing of it ever comes from a command
//	    headers:
//	      Authorization: {file: /run/secrets/psp, prefix: 'Bearer '}
//	commands:
//	  authorise:
//	    keyWindow: 24h
//	    do: {path: /authorisations}
//	    undo: {method: DELETE, path: '/authorisations/{id}', params: {id: '=output.id'}}
//	    inquire: {path: /authorisations, query: {key: '=command.forwardKey'}}
//
// docs/bridge.md is the reference.
//
// # How a command goes
//
// Three transactions of one task (package topology) and a call between the first two:
//
//  1. The command is read: its row "started" and the call are written. (processor.go)
//  2. When that is committed the call is made, outside the task, with saga-key as its
//     Idempotency-Key. Its result is written beside the call. (call.go)
//  3. The row, the reply and the end of the call are written, by the rules of package participant.
//
// A process may die anywhere. Whoever takes the task over makes each call again that has no result,
// with the same key, while keyWindow lasts; after it the destination is asked instead.
//
// # Promises
//
// The contract of docs/protocol.md, as package participant keeps it: one key, one answer; a refusal is
// remembered; an undo that comes first forbids the do; an undo waits for a do that is under way.
//
// "No effect" is said of a failure only when it is known that nothing was ever sent for the key: the
// row was new, this process committed it, and no connection was ever had.
//
// What is called is decided by the file: scheme, host and path. A command fills single segments of the
// path, escaped, values of the query, headers that the file names, and the body. Redirects are refused.
//
// # Invariants
//
// Each is named with the test that holds it.
//
//  1. No call is made before its row is committed; a call whose result is not committed is made again
//     with its key. (TestCrashAnywhere)
//  2. One key has at most one call under way in a process, and every delivery of it is answered.
//     (TestRedelivery, TestConformance)
//  3. A destination that hangs holds up its own calls only, and what waits for it is bounded.
//     (TestIsolation)
//  4. No part of a command changes which host or path is called. (TestPathInjection, FuzzPath)
//  5. A body is read up to its limit and no further. (TestLimits)
//  6. A secret is in a file or in the environment, and never in a finding, a log or a reply.
//     (TestSecrets)
package bridge
