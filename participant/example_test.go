package participant_test

import (
	"context"
	"fmt"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

// Handlers can be tested without a broker: Answer does for one command what Participant.Run does for
// a topic of them.
func ExampleHandlers_Answer() {
	type reserve struct {
		SKU      string `json:"sku"`
		Quantity int    `json:"quantity"`
	}
	type reserved struct {
		Reservation string `json:"reservation"`
	}
	h := participant.NewHandlers(nil, 0)
	participant.Do(h, "reserve", func(_ context.Context, tx participant.Tx, in reserve) (reserved, error) {
		if in.Quantity > 10 {
			return reserved{}, participant.Reject("OUT_OF_STOCK", "at most 10 are left")
		}
		return reserved{tx.Key()}, tx.Put("reservation/"+tx.Key(), []byte(in.SKU))
	})
	participant.Undo(h, "release", func(_ context.Context, tx participant.Tx, _ reserve, fwd participant.Forward) error {
		return tx.Delete("reservation/" + fwd.Key)
	})

	inbox, now := participant.NewMemory(0), time.Now()
	send := func(op protocol.Op, name, key, forward, payload string) {
		cmd := protocol.Command{Op: op, Name: name, Key: key, ForwardKey: forward, WorkflowID: "order/1", Deadline: now.Add(time.Minute).UnixMilli()}
		a, err := h.Answer(context.Background(), inbox, cmd, []byte(payload), now)
		if err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%s %s: %s %s%s noop=%v replayed=%v\n", op, key, a.Outcome, a.Code, a.Output, a.Noop, a.Replayed)
	}
	send(protocol.OpDo, "reserve", "k1", "", `{"sku":"lamp","quantity":2}`)
	send(protocol.OpDo, "reserve", "k1", "", `{"sku":"lamp","quantity":2}`)
	send(protocol.OpDo, "reserve", "k2", "", `{"sku":"lamp","quantity":20}`)
	send(protocol.OpUndo, "release", "u1", "k1", `{"sku":"lamp","quantity":2}`)
	send(protocol.OpUndo, "release", "u3", "k3", `{}`)
	send(protocol.OpDo, "reserve", "k3", "", `{}`)
	// Output:
	// do k1: ok {"reservation":"k1"} noop=false replayed=false
	// do k1: ok {"reservation":"k1"} noop=false replayed=true
	// do k2: rejected OUT_OF_STOCK noop=false replayed=false
	// undo u1: ok  noop=false replayed=false
	// undo u3: ok  noop=true replayed=false
	// do k3: rejected SUPPRESSED noop=false replayed=true
}
