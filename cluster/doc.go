// Package cluster answers for a whole namespace from any of its processes. The HTTP API, the web page and
// whatever else shows instances ask a Reader; behind it are this process's own stores and one question, at
// most, to each of the others.
//
// Promises:
//
//   - One hop: a process that is asked by another (Handler) answers from its own stores only.
//   - While a partition moves the answer is an error of class orchestrator.ErrMoving, never a wrong "not
//     found" and never a list with a hole in it, unless the caller asks for a partial list; that says which
//     tasks it lacks.
//   - What comes from a standby is flagged, with how far it may be behind.
//   - A question that carries the position of something written is answered when the owner has taken that.
//   - The pages of a list meet each instance that matched all the while exactly once, in the order of workflow
//     IDs. A cursor belongs to its query, and keeps what the query means by now.
//   - What other processes ask is signed with a secret that all processes share, when there is one.
package cluster
