package participant

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
)

func refusalReplay(t *testing.T, r *rig) {
	for _, name := range []string{"reserve", "charge"} {
		do := r.command(protocol.OpDo, name, r.key(), "")
		r.answerWith(Reject("OUT_OF_STOCK", "none left"))
		r.want(r.deliver(do), protocol.OutcomeRejected, "OUT_OF_STOCK")
		if r.entry(do.Key) {
			t.Error("a refusal has left an effect")
		}
		r.answerWith(nil) // it would succeed now
		r.restart()
		a := r.deliver(do)
		r.want(a, protocol.OutcomeRejected, "OUT_OF_STOCK")
		if !a.Replayed || a.Message != "none left" || r.calls(do.Key) != 1 {
			t.Errorf("got %+v after %d calls", a, r.calls(do.Key))
		}
		undo := r.command(protocol.OpUndo, name, r.key(), do.Key)
		if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || !a.Noop || r.calls(undo.Key) != 0 {
			t.Errorf("undo of a refusal: %+v", a)
		}
	}
}

func fatalReplay(t *testing.T, r *rig) {
	for _, effect := range []protocol.Effect{"", protocol.EffectNone} {
		do := r.command(protocol.OpDo, "charge", r.key(), "")
		r.answerWith(Fatal("ACCOUNT_CLOSED", effect))
		r.want(r.deliver(do), protocol.OutcomeFailedFatal, "ACCOUNT_CLOSED")
		r.answerWith(nil)
		r.restart()
		a := r.deliver(do)
		r.want(a, protocol.OutcomeFailedFatal, "ACCOUNT_CLOSED")
		if effect == "" {
			effect = protocol.EffectUnknown
		}
		if !a.Replayed || a.Effect != effect || r.calls(do.Key) != 1 {
			t.Errorf("got %+v after %d calls", a, r.calls(do.Key))
		}
		undo := r.command(protocol.OpUndo, "charge", r.key(), do.Key)
		a = r.deliver(undo)
		// With effect none the undo has nothing to do; else the handler looks for itself.
		if looked := r.calls(undo.Key) == 1; a.Outcome != protocol.OutcomeOK || !a.Noop || looked != (effect == protocol.EffectUnknown) {
			t.Errorf("undo after effect %s: %+v, handler called: %v", effect, a, looked)
		}
	}
}

func transientFailure(t *testing.T, r *rig) {
	for _, c := range []struct {
		err  error
		code string
	}{
		{Retry("LOCKED", 250*time.Millisecond), "LOCKED"},
		{errors.New("card number 4111"), CodeHandlerError},
		{context.DeadlineExceeded, CodeTimeout},
	} {
		do := r.command(protocol.OpDo, "reserve", r.key(), "")
		r.answerWith(c.err)
		a := r.deliver(do)
		r.want(a, protocol.OutcomeFailedRetriable, c.code)
		if c.code == "LOCKED" && a.RetryAfter != 250 {
			t.Errorf("retry after %d", a.RetryAfter)
		}
		if strings.Contains(a.Message, "4111") {
			t.Error("the text of a foreign error is in the reply")
		}
		if r.entry(do.Key) {
			t.Error("a failure has left an effect")
		}
		r.answerWith(nil)
		r.restart()
		if a = r.deliver(do); a.Outcome != protocol.OutcomeOK || a.Replayed {
			t.Errorf("got %+v", a)
		}
	}
	// A call that has ended, if only with a failure, is not one that an undo has to wait for.
	do := r.command(protocol.OpDo, "charge", r.key(), "")
	r.answerWith(Retry("DOWN", 0))
	r.want(r.deliver(do), protocol.OutcomeFailedRetriable, "DOWN")
	r.answerWith(nil)
	if a := r.deliver(r.command(protocol.OpUndo, "charge", r.key(), do.Key)); a.Outcome != protocol.OutcomeOK || !a.Noop {
		t.Errorf("got %+v", a)
	}
	boom := r.command(protocol.OpDo, "boom", r.key(), "")
	panics := true
	Do(r.h, "boom", func(_ context.Context, tx Tx, _ order) (receipt, error) {
		if err := tx.Put(tx.Key(), []byte("x")); err != nil || panics {
			panic("boom")
		}
		return receipt{}, nil
	})
	r.want(r.deliver(boom), protocol.OutcomeFailedRetriable, CodePanic)
	if r.entry(boom.Key) {
		t.Error("a panic has left an effect")
	}
	panics = false
	r.want(r.deliver(boom), protocol.OutcomeOK, "")
}
