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
