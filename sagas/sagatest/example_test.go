package sagatest_test

import (
	"fmt"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// A world runs a saga against virtual participants, here one that refuses the second step.
func ExampleWorld() {
	def, err := sagas.ParseDefinition("trip.yaml", []byte(`
saga: trip
version: 1
participants:
  air: {ops: [do, undo]}
  inn: {ops: [do, undo]}
steps:
  - {id: seat, call: air.hold, undo: {call: air.drop}}
  - {id: room, call: inn.book, undo: {call: inn.cancel}}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := sagatest.New(plan)
	w.Auto = func(sagas.Command) bool { return true }
	w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer {
		if c.Path == "room" && c.Op == sagas.OpDo {
			return sagatest.Reject("FULL")
		}
		return sagatest.OK()
	}
	w.Start("t1", nil)
	w.Run(time.Hour, func() bool { return sagatest.Terminal(w.Instance()) })
	fmt.Println(w.View().Phase, w.View().Cause)
	for _, e := range w.Participants.Ledger() {
		fmt.Println(e.Path, e.Executed, e.Reversed)
	}
	// Output:
	// compensated room: FULL
	// room 0 0
	// seat 1 1
}
