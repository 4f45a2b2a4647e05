package participant_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

// One do and its undo through the whole contract, on the memory inbox, reply headers included.
func BenchmarkDoUndo(b *testing.B) {
	h := participant.NewHandlers(nil, 0)
	participant.Do(h, "reserve", func(_ context.Context, tx participant.Tx, in item) (held, error) {
		return held{tx.Key()}, tx.Put(tx.Key(), []byte(in.SKU))
	})
	participant.Undo(h, "reserve", func(_ context.Context, tx participant.Tx, _ item, fwd participant.Forward) error {
		return tx.Delete(fwd.Key)
	})
	inbox, now, payload := participant.NewMemory(0), time.Now(), []byte(`{"sku":"lamp"}`)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		cmd := protocol.Command{Token: "t", WorkflowID: "order/1", Op: protocol.OpDo, Name: "reserve", Key: strconv.Itoa(n), ReplyTo: "r"}
		do, err := h.Answer(b.Context(), inbox, cmd, payload, now)
		if err != nil || do.Outcome != protocol.OutcomeOK {
			b.Fatalf("%+v, %v", do, err)
		}
		participant.ReplyRecord(cmd, do)
		cmd.Op, cmd.Key, cmd.ForwardKey = protocol.OpUndo, "u"+cmd.Key, cmd.Key
		undo, err := h.Answer(b.Context(), inbox, cmd, payload, now)
		if err != nil || undo.Outcome != protocol.OutcomeOK || undo.Noop {
			b.Fatalf("%+v, %v", undo, err)
		}
		participant.ReplyRecord(cmd, undo)
	}
}
