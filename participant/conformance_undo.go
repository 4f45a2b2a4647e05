package participant

import (
	"errors"
	"sync"
	"testing"

	"github.com/amendsio/amends/protocol"
)

func undoFirst(t *testing.T, r *rig) {
	for _, name := range []string{"reserve", "charge"} {
		do := r.command(protocol.OpDo, name, r.key(), "")
		undo := r.command(protocol.OpUndo, name, r.key(), do.Key)
		a := r.deliver(undo)
		r.want(a, protocol.OutcomeOK, "")
		if !a.Noop {
			t.Error("the undo of nothing is not a noop")
		}
		r.restart()
		r.want(r.deliver(do), protocol.OutcomeRejected, CodeSuppressed)
		r.restart()
		if a = r.deliver(undo); !a.Noop || !a.Replayed || a.Outcome != protocol.OutcomeOK {
			t.Errorf("got %+v", a)
		}
		r.want(r.deliver(do), protocol.OutcomeRejected, CodeSuppressed)
		if r.calls(do.Key)+r.calls(undo.Key) != 0 || r.entry(do.Key) {
			t.Error("a handler ran")
		}
	}
}

func doAfterUndo(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	undo := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	r.want(r.deliver(do), protocol.OutcomeOK, "")
	if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || a.Noop {
		t.Errorf("got %+v", a)
	}
	r.restart()
	r.want(r.deliver(do), protocol.OutcomeOK, "") // the stored answer, not a second effect
	r.want(r.deliver(undo), protocol.OutcomeOK, "")
	if r.entry(do.Key) || r.calls(do.Key) != 1 || r.calls(undo.Key) != 1 {
		t.Errorf("do ran %d times, undo %d times, effect left: %v", r.calls(do.Key), r.calls(undo.Key), r.entry(do.Key))
	}
	// An undo under another key does not reverse it twice, and an inquiry learns that nothing is left.
	other := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	if a := r.deliver(other); a.Outcome != protocol.OutcomeOK || a.Noop || r.calls(other.Key) != 0 {
		t.Errorf("a second undo: %+v after %d calls", a, r.calls(other.Key))
	}
	r.want(r.deliver(r.command(protocol.OpInquire, "reserve", r.key(), do.Key)), protocol.OutcomeNotExecuted, CodeUndone)
}

func undoDuringDo(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	undo := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	r.gate, r.entered = make(chan struct{}), make(chan struct{}, 2)
	var first, during Answer
	var lives sync.WaitGroup
	lives.Go(func() { first = r.deliver(do) })
	<-r.entered
	// The undo either waits for the do or is told that it is busy; it never finds nothing.
	lives.Go(func() { during = r.deliver(undo) })
	close(r.gate)
	lives.Wait()
	r.want(first, protocol.OutcomeOK, "")
	if during.Code == CodeBusy || during.Code == CodeInbox {
		during = r.deliver(undo)
	}
	r.want(during, protocol.OutcomeOK, "")
	if during.Noop || r.entry(do.Key) {
		t.Errorf("noop %v, effect left %v", during.Noop, r.entry(do.Key))
	}
}

func undoDuringExternal(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "charge", r.key(), "")
	undo := r.command(protocol.OpUndo, "charge", r.key(), do.Key)
	ask := r.command(protocol.OpInquire, "charge", r.key(), do.Key)
	r.gate, r.entered = make(chan struct{}), make(chan struct{}, 2)
	var first Answer
	var lives sync.WaitGroup
	lives.Go(func() { first = r.deliver(do) })
	<-r.entered
	r.want(r.deliver(undo), protocol.OutcomeFailedRetriable, CodeBusy)
	r.want(r.deliver(ask), protocol.OutcomeRunning, "")
	close(r.gate)
	lives.Wait()
	r.want(first, protocol.OutcomeOK, "")
	r.want(r.deliver(ask), protocol.OutcomeExecuted, "")
	if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || a.Noop || r.charged(do.Key) || r.entry("ledger/"+do.Key) {
		t.Errorf("got %+v", a)
	}
}

func undoRetried(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	undo := r.command(protocol.OpUndo, "reserve", r.key(), do.Key)
	r.want(r.deliver(do), protocol.OutcomeOK, "")
	for _, c := range []struct {
		err     error
		outcome protocol.Outcome
		code    string
	}{
		{errors.New("no"), protocol.OutcomeFailedRetriable, CodeHandlerError},
		{Retry("LATER", 0), protocol.OutcomeFailedRetriable, "LATER"},
		{Fatal("BROKEN", protocol.EffectNone), protocol.OutcomeFailedFatal, "BROKEN"},
		{Reject("NO", ""), protocol.OutcomeFailedFatal, CodeUndoRefused},
	} {
		r.answerWith(c.err)
		a := r.deliver(undo)
		r.want(a, c.outcome, c.code)
		if a.Effect != "" || !r.entry(do.Key) {
			t.Errorf("a failed undo: %+v, effect left %v", a, r.entry(do.Key))
		}
		r.restart()
	}
	r.answerWith(nil)
	if a := r.deliver(undo); a.Outcome != protocol.OutcomeOK || a.Noop || r.entry(do.Key) {
		t.Errorf("got %+v", a)
	}
}

func inquire(t *testing.T, r *rig) {
	ask := func(fwd string) Answer { return r.deliver(r.command(protocol.OpInquire, "reserve", r.key(), fwd)) }
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	r.want(ask(do.Key), protocol.OutcomeNotExecuted, "")
	r.restart()
	r.want(r.deliver(do), protocol.OutcomeRejected, CodeSuppressed) // what was said stays true

	do = r.command(protocol.OpDo, "reserve", r.key(), "")
	r.want(r.deliver(do), protocol.OutcomeOK, "")
	if a := ask(do.Key); a.Outcome != protocol.OutcomeExecuted || string(a.Output) != `{"key":"`+do.Key+`"}` {
		t.Errorf("got %+v", a)
	}
	r.answerWith(Reject("NO", ""))
	do = r.command(protocol.OpDo, "reserve", r.key(), "")
	r.want(r.deliver(do), protocol.OutcomeRejected, "NO")
	r.want(ask(do.Key), protocol.OutcomeNotExecuted, "NO")

	// Unknown to the inbox: the handler finds out, and its word is kept.
	r.answerWith(Fatal("LOST", ""))
	do = r.command(protocol.OpDo, "charge", r.key(), "")
	r.want(r.deliver(do), protocol.OutcomeFailedFatal, "LOST")
	r.want(r.deliver(r.command(protocol.OpInquire, "charge", r.key(), do.Key)), protocol.OutcomeNotExecuted, "")
	r.answerWith(nil)
	r.want(r.deliver(do), protocol.OutcomeRejected, CodeNotExecuted)
}
