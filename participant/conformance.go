package participant

import (
	"testing"
)

// Reopener is an Inbox that outlives its process. Conformance reopens it at every point where a
// participant may die.
type Reopener interface {
	Reopen(t *testing.T) Inbox
}

// Conformance checks an Inbox against the contract of docs/protocol.md: factory returns an empty
// inbox for each case. An adapter that passes keeps the contract together with this package's
// Handlers.
func Conformance(t *testing.T, factory func(t *testing.T) Inbox) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"duplicate do", duplicateDo},
		{"duplicate do at once", duplicateAtOnce},
		{"undo first", undoFirst},
		{"do after undo", doAfterUndo},
		{"undo during do", undoDuringDo},
		{"undo during external do", undoDuringExternal},
		{"refusal replay", refusalReplay},
		{"fatal replay", fatalReplay},
		{"expired do", expiredDo},
		{"transient failure", transientFailure},
		{"undo is tried until it succeeds", undoRetried},
		{"crash before commit", crashBeforeCommit},
		{"crash between commit and reply", crashBeforeReply},
		{"crash in an external call", crashInExternal},
		{"orphan of an external call", orphan},
		{"handler removed", handlerRemoved},
		{"key reused", keyReused},
		{"inquire", inquire},
		{"unreadable", unreadable},
		{"own writes in view", ownWrites},
		{"any order", anyOrder},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, factory(t))
			c.run(t, r)
		})
	}
}
