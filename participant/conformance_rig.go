package participant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
)

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
