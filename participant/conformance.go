package participant

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
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

// rig is a participant with a shop as its business: one entry per do that took effect.
type rig struct {
	t     *testing.T
	inbox Inbox
	h     *Handlers
	now   time.Time
	keys  int

	mu struct {
		sync.Mutex
		calls  map[string]int // of the handlers, per key
		psp    map[string]bool
		answer error // of the next do
	}
	gate    chan struct{} // a do waits here when it is not nil
	entered chan struct{}
}

type order struct {
	Item string `json:"item"`
}

type receipt struct {
	Key string `json:"key"`
}

func newRig(t *testing.T, inbox Inbox) *rig {
	r := &rig{t: t, inbox: inbox, h: NewHandlers(nil, time.Minute), now: time.UnixMilli(1_900_000_000_000)}
	r.mu.calls, r.mu.psp = map[string]int{}, map[string]bool{}
	Do(r.h, "reserve", r.reserve)
	Undo(r.h, "reserve", r.release)
	Do(r.h, "charge", r.charge, External(time.Hour))
	Undo(r.h, "charge", r.refund)
	Inquire(r.h, "charge", r.lookup)
	if err := r.h.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) enter(key string) error {
	if gate := r.gate; gate != nil {
		r.entered <- struct{}{}
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.calls[key]++
	return r.mu.answer
}

func (r *rig) calls(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.calls[key]
}

func (r *rig) answerWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.answer = err
}

// reserve fails after it has written, so that a rollback shows.
func (r *rig) reserve(_ context.Context, tx Tx, in order) (receipt, error) {
	if _, found, err := tx.Get(tx.Key()); err != nil || found {
		return receipt{}, fmt.Errorf("reserved twice: %w", err)
	}
	if err := tx.Put(tx.Key(), []byte(in.Item)); err != nil {
		return receipt{}, err
	}
	return receipt{tx.Key()}, r.enter(tx.Key())
}

func (r *rig) release(_ context.Context, tx Tx, _ order, fwd Forward) error {
	if !fwd.Known {
		return errors.New("a reservation is always known")
	}
	if err := tx.Delete(fwd.Key); err != nil {
		return err
	}
	return r.enter(tx.Key())
}

// charge is idempotent by key, as a payment provider is: what it has done it does not refuse.
func (r *rig) charge(_ context.Context, tx Tx, _ order) (receipt, error) {
	err := r.enter(tx.Key())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && !r.mu.psp[tx.Key()] {
		return receipt{}, err
	}
	r.mu.psp[tx.Key()] = true
	return receipt{tx.Key()}, tx.Put("ledger/"+tx.Key(), []byte("charged"))
}

func (r *rig) charged(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.psp[key]
}

func (r *rig) refund(_ context.Context, tx Tx, _ order, fwd Forward) error {
	if err := r.enter(tx.Key()); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mu.psp[fwd.Key] {
		return ErrNoop
	}
	delete(r.mu.psp, fwd.Key)
	return tx.Delete("ledger/" + fwd.Key)
}

func (r *rig) lookup(_ context.Context, _ Tx, fwd Forward) (receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.psp[fwd.Key] {
		return receipt{fwd.Key}, nil
	}
	return receipt{}, ErrNotExecuted
}

func (r *rig) key() string {
	r.keys++
	return fmt.Sprintf("key-%d", r.keys)
}

func (r *rig) command(op protocol.Op, name, key, fwd string) protocol.Command {
	cmd := protocol.Command{Token: "token-" + key, WorkflowID: "order/1", Op: op, Name: name, Key: key, ForwardKey: fwd,
		Attempt: 1, ReplyTo: "replies", ReplyPartition: 3, Definition: "order@1"}
	if op != protocol.OpUndo {
		cmd.Deadline = r.now.Add(time.Second).UnixMilli()
	}
	return cmd
}

// deliver hands one command over and checks what must hold of every answer.
func (r *rig) deliver(cmd protocol.Command) Answer { return r.deliverTo(r.inbox, cmd, `{"item":"a"}`) }

func (r *rig) deliverTo(inbox Inbox, cmd protocol.Command, payload string) Answer {
	r.t.Helper()
	a, err := r.h.Answer(context.Background(), inbox, cmd, []byte(payload), r.now)
	if err == ErrDeferred {
		a, err = r.h.Answer(context.Background(), inbox, cmd, []byte(payload), r.now)
	}
	if err != nil {
		r.t.Errorf("%s %s: %v", cmd.Op, cmd.Key, err)
	}
	if _, err := protocol.ParseReply(a.Headers()); err != nil || a.Token != cmd.Token {
		r.t.Errorf("%s %s: the reply breaks the protocol: %v\n%+v", cmd.Op, cmd.Key, err, a)
	}
	return a
}

// restart is what a crash leaves: whatever was committed.
func (r *rig) restart() {
	if re, ok := r.inbox.(Reopener); ok {
		r.inbox = re.Reopen(r.t)
	}
}

func (r *rig) want(a Answer, outcome protocol.Outcome, code string) {
	r.t.Helper()
	if a.Outcome != outcome || a.Code != code {
		r.t.Errorf("got %s %s %q, want %s %s", a.Outcome, a.Code, a.Message, outcome, code)
	}
}

// entry reads the business data that the do of key has left.
func (r *rig) entry(key string) bool {
	r.t.Helper()
	found := false
	if err := r.inbox.Update(context.Background(), func(s Store) error {
		var err error
		_, found, err = s.Get(key)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return found
}

func duplicateDo(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	first := r.deliver(do)
	r.want(first, protocol.OutcomeOK, "")
	if string(first.Output) != `{"key":"`+do.Key+`"}` || first.Replayed || first.ContentType != protocol.ContentJSON {
		t.Errorf("got %+v", first)
	}
	r.restart()
	do.Attempt = 2
	again := r.deliver(do)
	r.want(again, protocol.OutcomeOK, "")
	if string(again.Output) != string(first.Output) || !again.Replayed {
		t.Errorf("got %+v", again)
	}
	if r.calls(do.Key) != 1 || !r.entry(do.Key) {
		t.Errorf("the handler ran %d times", r.calls(do.Key))
	}
}

func duplicateAtOnce(t *testing.T, r *rig) {
	for range 20 {
		do := r.command(protocol.OpDo, "reserve", r.key(), "")
		answers := make([]Answer, 4)
		var lives sync.WaitGroup
		for i := range answers {
			lives.Go(func() { answers[i] = r.deliver(do) })
		}
		lives.Wait()
		ok := 0
		for _, a := range answers {
			switch {
			case a.Outcome == protocol.OutcomeOK && !a.Replayed:
				ok++
			case a.Outcome == protocol.OutcomeOK, a.Code == CodeBusy, a.Code == CodeInbox:
			default:
				t.Errorf("got %+v", a)
			}
		}
		if ok != 1 || !r.entry(do.Key) {
			t.Errorf("%d of the answers are first ones", ok)
		}
	}
}

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

func expiredDo(t *testing.T, r *rig) {
	for _, name := range []string{"reserve", "charge"} {
		late := r.command(protocol.OpDo, name, r.key(), "")
		late.Deadline = r.now.UnixMilli() - 1
		a := r.deliver(late)
		r.want(a, protocol.OutcomeFailedRetriable, CodeExpired)
		if a.Effect != protocol.EffectNone || r.calls(late.Key) != 0 {
			t.Errorf("got %+v", a)
		}
		// Nothing was stored: the next attempt runs.
		r.restart()
		late.Deadline = r.now.UnixMilli() + 1000
		r.want(r.deliver(late), protocol.OutcomeOK, "")
		// What was done stays done, however late the question comes.
		late.Deadline = r.now.UnixMilli() - 1
		if a = r.deliver(late); a.Outcome != protocol.OutcomeOK || !a.Replayed {
			t.Errorf("got %+v", a)
		}
		// An undo has no deadline.
		undo := r.command(protocol.OpUndo, name, r.key(), late.Key)
		r.now = r.now.Add(24 * time.Hour)
		r.want(r.deliver(undo), protocol.OutcomeOK, "")
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

func keyReused(t *testing.T, r *rig) {
	do := r.command(protocol.OpDo, "reserve", r.key(), "")
	r.want(r.deliver(do), protocol.OutcomeOK, "")
	a := r.deliverTo(r.inbox, do, `{"item":"b"}`)
	r.want(a, protocol.OutcomeFailedFatal, CodeKeyReused)
	if a.Effect == protocol.EffectNone {
		t.Error("the first command under the key has an effect")
	}
	other := do
	other.Name = "charge"
	r.want(r.deliver(other), protocol.OutcomeFailedFatal, CodeKeyReused)
	undo := r.command(protocol.OpUndo, "reserve", do.Key, do.Key)
	r.want(r.deliver(undo), protocol.OutcomeFailedFatal, CodeKeyReused)
	r.want(r.deliver(do), protocol.OutcomeOK, "")
	if r.calls(do.Key) != 1 {
		t.Errorf("%d calls", r.calls(do.Key))
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

func unreadable(t *testing.T, r *rig) {
	ctx, cause := context.Background(), errors.New("no attempt")
	cmd := protocol.Command{Token: "t", WorkflowID: "order/1", ReplyTo: "replies", ReplyPartition: 1, Key: r.key()}
	a, ok := r.h.Unreadable(ctx, r.inbox, cmd, cause, r.now)
	if !ok || a.Effect != protocol.EffectNone || a.Token != "t" {
		t.Errorf("got %+v, %v", a, ok)
	}
	r.want(a, protocol.OutcomeFailedFatal, CodeBadCommand)
	// It was said that there is no effect, so there will be none.
	r.restart()
	do := r.command(protocol.OpDo, "reserve", cmd.Key, "")
	r.want(r.deliver(do), protocol.OutcomeFailedFatal, CodeBadCommand)
	if r.calls(do.Key) != 0 {
		t.Error("the handler ran")
	}
	// A do that was executed is not denied.
	done := r.command(protocol.OpDo, "reserve", r.key(), "")
	r.want(r.deliver(done), protocol.OutcomeOK, "")
	cmd.Key = done.Key
	if a, _ = r.h.Unreadable(ctx, r.inbox, cmd, cause, r.now); a.Outcome != protocol.OutcomeOK {
		t.Errorf("got %+v", a)
	}
	cmd.Op = protocol.OpUndo
	if a, _ = r.h.Unreadable(ctx, r.inbox, cmd, cause, r.now); a.Outcome != protocol.OutcomeFailedFatal || a.Effect != "" {
		t.Errorf("got %+v", a)
	}
	for _, bad := range []protocol.Command{{}, {Token: "t", WorkflowID: "w", ReplyTo: "r", ReplyPartition: -1}, {WorkflowID: "w", ReplyTo: "r"}} {
		if _, ok := r.h.Unreadable(ctx, r.inbox, bad, cause, r.now); ok {
			t.Errorf("%+v was answered", bad)
		}
	}
	// A payload that does not fit is the sender's fault, and stays refused.
	do = r.command(protocol.OpDo, "reserve", r.key(), "")
	a = r.deliverTo(r.inbox, do, `{"item":5}`)
	r.want(a, protocol.OutcomeFailedFatal, CodeBadCommand)
	if a.Effect != protocol.EffectNone {
		t.Errorf("got %+v", a)
	}
	unknown := r.command(protocol.OpDo, "teleport", r.key(), "")
	a = r.deliver(unknown)
	r.want(a, protocol.OutcomeFailedFatal, CodeUnknownCommand)
	if a.Effect != protocol.EffectNone {
		t.Errorf("got %+v", a)
	}
	r.restart()
	Do(r.h, "teleport", r.reserve) // a later release has it
	r.want(r.deliver(unknown), protocol.OutcomeFailedFatal, CodeUnknownCommand)
}

func ownWrites(t *testing.T, r *rig) {
	var kept Tx
	for _, opts := range [][]Option{nil, {External(0)}} {
		name := fmt.Sprintf("write-%d", len(opts))
		Do(r.h, name, func(_ context.Context, tx Tx, _ order) (receipt, error) {
			kept = tx
			var errs []error
			errs = append(errs, tx.Put("a", []byte("1")), tx.Put("b", []byte("1")), tx.Delete("b"), tx.Put("a", []byte("2")))
			v, found, err := tx.Get("a")
			if err != nil || !found || string(v) != "2" {
				errs = append(errs, fmt.Errorf("a is %q", v))
			}
			if _, found, err := tx.Get("b"); err != nil || found {
				errs = append(errs, errors.New("b is still there"))
			}
			if err := tx.Put(strings.Repeat("k", MaxDataKey+1), nil); !errors.Is(err, ErrTooLarge) {
				errs = append(errs, errors.New("a key that is too long was accepted"))
			}
			if err := tx.Put("v", make([]byte, MaxData+1)); !errors.Is(err, ErrTooLarge) {
				errs = append(errs, errors.New("a value that is too long was accepted"))
			}
			return receipt{}, errors.Join(errs...)
		}, opts...)
		r.want(r.deliver(r.command(protocol.OpDo, name, r.key(), "")), protocol.OutcomeOK, "")
		if !r.entry("a") || r.entry("b") {
			t.Error("the writes of the handler are not there")
		}
		if err := kept.Put("c", nil); !errors.Is(err, ErrTxClosed) {
			t.Errorf("a Tx outlives its handler: %v", err)
		}
		if err := kept.Delete("a"); !errors.Is(err, ErrTxClosed) {
			t.Errorf("a Tx outlives its handler: %v", err)
		}
		if _, _, err := kept.Get("a"); !errors.Is(err, ErrTxClosed) {
			t.Errorf("a Tx outlives its handler: %v", err)
		}
		if kept.Native() != nil {
			t.Error("a Tx outlives its handler")
		}
	}
}

// anyOrder delivers the commands of several operations in any order, repeatedly, with crashes
// before the commit and lost replies, and checks what the sender may conclude from the answers.
func anyOrder(t *testing.T, r *rig) {
	const seeds, steps, ops = 20, 60, 4
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		type pair struct {
			do, undo protocol.Command
			said     []protocol.Outcome // final answers to do
			undone   bool
		}
		pairs := make([]pair, ops)
		for i := range pairs {
			name := []string{"reserve", "charge"}[i%2]
			do := r.command(protocol.OpDo, name, r.key(), "")
			do.Deadline = 0
			pairs[i] = pair{do: do, undo: r.command(protocol.OpUndo, name, r.key(), do.Key)}
		}
		crashing := failing{r.inbox, func() bool { return rnd.IntN(4) == 0 }}
		for range steps {
			crashing.Inbox = r.inbox
			p := &pairs[rnd.IntN(ops)]
			r.answerWith(nil)
			switch rnd.IntN(6) {
			case 0:
				r.answerWith(Reject("NO", ""))
			case 1:
				r.answerWith(errors.New("later"))
			}
			if rnd.IntN(3) > 0 {
				if a := r.deliverTo(crashing, p.do, `{"item":"a"}`); a.Outcome != protocol.OutcomeFailedRetriable {
					p.said = append(p.said, a.Outcome)
				}
			} else if a := r.deliverTo(crashing, p.undo, `{"item":"a"}`); a.Outcome == protocol.OutcomeOK {
				p.undone = true
			}
			if rnd.IntN(8) == 0 {
				r.restart()
			}
			if rnd.IntN(8) == 0 {
				r.now = r.now.Add(2 * time.Minute) // orphans of external calls are given up
			}
		}
		r.answerWith(nil)
		for i := range pairs {
			p := &pairs[i]
			effect := r.entry(p.do.Key)
			if p.do.Name == "charge" {
				effect = r.charged(p.do.Key)
			}
			for _, said := range p.said {
				if said != p.said[0] && p.do.Name == "reserve" {
					t.Errorf("seed %d: one key, two answers: %v", seed, p.said)
				}
			}
			if p.undone && effect {
				t.Errorf("seed %d: an effect is left after its undo: %v", seed, p.said)
			}
			if !p.undone && len(p.said) > 0 && effect != (p.said[0] == protocol.OutcomeOK) && p.do.Name == "reserve" {
				t.Errorf("seed %d: effect %v after %v", seed, effect, p.said)
			}
		}
	}
}
