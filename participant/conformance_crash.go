package participant

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
)

// failing is an inbox whose commits fail as told: a crash before the commit.
type failing struct {
	Inbox
	fail func() bool
}

var errCrash = errors.New("crash before the commit")

func (f failing) Update(ctx context.Context, fn func(Store) error) error {
	return f.Inbox.Update(ctx, func(s Store) error {
		if err := fn(s); err != nil {
			return err
		}
		if f.fail() {
			return errCrash
		}
		return nil
	})
}

func crashBeforeCommit(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	crash := func() bool { return true }
	r.want(r.deliverTo(failing{r.inbox, crash}, do, `{}`), protocol.OutcomeFailedRetriable, CodeInbox)
	r.restart()
	if r.entry(do.Key) {
		t.Error("an effect without its row")
	}
	if a := r.deliverTo(r.inbox, do, `{}`); a.Outcome != protocol.OutcomeOK || a.Replayed || r.calls(do.Key) != 2 {
		t.Errorf("got %+v after %d calls", a, r.calls(do.Key))
	}
	undo := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	r.want(r.deliverTo(failing{r.inbox, crash}, undo, `{}`), protocol.OutcomeFailedRetriable, CodeInbox)
	r.restart()
	if !r.entry(do.Key) {
		t.Error("an undo that was rolled back has taken effect")
	}
	if a := r.deliverTo(r.inbox, undo, `{}`); a.Outcome != protocol.OutcomeOK || a.Noop || r.entry(do.Key) {
		t.Errorf("got %+v", a)
	}
}

func crashBeforeReply(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	undo := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	for _, cmd := range []protocol.Command{do, undo} {
		lost := r.deliver(cmd)
		r.restart()
		r.now = r.now.Add(time.Hour) // long after any deadline
		again := r.deliver(cmd)
		if again.Outcome != lost.Outcome || string(again.Output) != string(lost.Output) || !again.Replayed || r.calls(cmd.Key) != 1 {
			t.Errorf("%s: got %+v after %d calls, want %+v", cmd.Op, again, r.calls(cmd.Key), lost)
		}
	}
}

// crashed delivers an external do whose call succeeds and whose closing transaction is lost.
func (r *rig) crashed(do protocol.Command) {
	r.t.Helper()
	lost := failing{r.inbox, func() bool { return r.calls(do.Key) > 0 }}
	r.want(r.deliverTo(lost, do, `{"item":"a"}`), protocol.OutcomeFailedRetriable, CodeInbox)
	if !r.charged(do.Key) {
		r.t.Error("the call was not made")
	}
	r.restart()
}

func crashInExternal(t *testing.T, r *rig) {
	// The call is repeated, even past the deadline: saying "expired, no effect" would be a lie.
	do := r.command(protocol.OpDo, "charge", r.key(), "")
	r.crashed(do)
	r.now = r.now.Add(time.Minute)
	if a := r.deliver(do); a.Outcome != protocol.OutcomeOK || a.Replayed || r.calls(do.Key) != 2 || !r.entry("ledger/"+do.Key) {
		t.Errorf("got %+v after %d calls", a, r.calls(do.Key))
	}
	// Once the other side has forgotten the key, it is not repeated but asked for.
	old := r.command(protocol.OpDo, "charge", r.key(), "")
	r.crashed(old)
	r.now = r.now.Add(2 * time.Hour)
	a := r.deliver(old)
	r.want(a, protocol.OutcomeFailedFatal, CodeKeyWindow)
	if a.Effect == protocol.EffectNone || r.calls(old.Key) != 1 {
		t.Errorf("got %+v after %d calls", a, r.calls(old.Key))
	}
	ask := r.command(protocol.OpInquire, "charge", r.key(), old.Key)
	a = r.deliver(ask)
	r.want(a, protocol.OutcomeExecuted, "")
	if string(a.Output) != `{"key":"`+old.Key+`"}` {
		t.Errorf("got %s", a.Output)
	}
	r.want(r.deliver(old), protocol.OutcomeOK, "")
}

func orphan(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "charge", r.key(), "")
	undo := r.command(protocol.OpUndo, "charge", r.key(), do.Key)
	r.crashed(do)
	r.want(r.deliver(undo), protocol.OutcomeFailedRetriable, CodeBusy)
	r.now = r.now.Add(time.Minute + time.Millisecond)
	if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || a.Noop || r.charged(do.Key) {
		t.Errorf("got %+v", a)
	}
	r.want(r.deliver(do), protocol.OutcomeFailedFatal, CodeInterrupted)

	// The undo finds nothing yet, and the call succeeds after all: the do says so, and the undo that
	// the engine sends then finds it.
	do = r.command(protocol.OpDo, "charge", r.key(), "")
	undo = r.command(protocol.OpUndo, "charge", r.key(), do.Key)
	r.gate, r.entered = make(chan struct{}), make(chan struct{}, 1)
	gate := r.gate
	var slow Answer
	var lives sync.WaitGroup
	lives.Go(func() { slow = r.deliver(do) })
	<-r.entered
	r.gate = nil
	r.now = r.now.Add(time.Hour)
	if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || !a.Noop {
		t.Errorf("got %+v", a)
	}
	close(gate)
	lives.Wait()
	r.want(slow, protocol.OutcomeOK, "")
	second := r.command(protocol.OpUndo, "charge", r.key(), do.Key)
	if a := r.deliver(second); a.Outcome != protocol.OutcomeOK || a.Noop || r.charged(do.Key) || r.entry("ledger/"+do.Key) {
		t.Errorf("got %+v", a)
	}
}

// handlerRemoved: a release that does not know the command cannot say that a call of the one before had no effect.
func handlerRemoved(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "charge", r.key(), "")
	r.crashed(do)
	handler := name{protocol.OpDo, "charge"}
	old := r.h.byName[handler]
	delete(r.h.byName, handler)
	for range 2 {
		a := r.deliver(do)
		r.want(a, protocol.OutcomeFailedFatal, CodeUnknownCommand)
		if a.Effect != protocol.EffectUnknown {
			t.Errorf("the call was made, and the answer is %+v", a)
		}
	}
	r.h.byName[handler] = old // and back: the call is repeated with its key
	if a := r.deliver(do); a.Outcome != protocol.OutcomeOK || !r.entry("ledger/"+do.Key) {
		t.Errorf("got %+v", a)
	}
}
