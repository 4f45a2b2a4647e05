package sagatest_test

import (
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// The virtual participants are the measure of P6 and P7, so they are held to the contract first.

func do(key string, attempt uint32, deadline sagas.Time) sagas.Command {
	return sagas.Command{Address: sagas.Address{Run: 1, Path: "a", Op: sagas.OpDo, Round: 1, Attempt: attempt}, Key: key, Deadline: deadline}
}

func undo(key, forward string) sagas.Command {
	return sagas.Command{Address: sagas.Address{Run: 1, Path: "a", Op: sagas.OpUndo, Round: 1, Attempt: 1}, Key: key, ForwardKey: forward}
}

func inquire(forward string) sagas.Command {
	return sagas.Command{Address: sagas.Address{Run: 1, Path: "a", Op: sagas.OpInquire, Round: 1, Attempt: 1}, Key: "q", ForwardKey: forward}
}

func TestParticipantsKeepTheContract(t *testing.T) {
	const now = sagatest.Epoch
	type want struct {
		outcome  sagas.Outcome
		code     string
		noop     bool
		replayed bool
		silent   bool
	}
	type delivery struct {
		command sagas.Command
		at      time.Duration
		finish  bool
		want    want
	}
	for _, test := range []struct {
		name      string
		answers   []sagatest.Answer // of new commands, in order; then ok
		forgetful bool
		script    []delivery
		executed  int
		reversed  int
	}{
		{
			name: "a doubled do is answered from the inbox",
			script: []delivery{
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeOK}},
				{command: do("k", 2, 0), want: want{outcome: sagas.OutcomeOK, replayed: true}},
			},
			executed: 1,
		},
		{
			name:    "a refusal is remembered",
			answers: []sagatest.Answer{sagatest.Reject("NO")},
			script: []delivery{
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeRejected, code: "NO"}},
				{command: do("k", 2, 0), want: want{outcome: sagas.OutcomeRejected, code: "NO", replayed: true}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK, noop: true}},
			},
		},
		{
			name: "undo first: noop, and the do is refused for ever",
			script: []delivery{
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK, noop: true}},
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeRejected, code: "SUPPRESSED"}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK, noop: true, replayed: true}},
			},
		},
		{
			name:      "a forgetful participant lets the do in after its undo",
			forgetful: true,
			script: []delivery{
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK, noop: true}},
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
		},
		{
			name:    "undo while the do is in progress: busy, then reversed",
			answers: []sagatest.Answer{sagatest.Slow(time.Minute)},
			script: []delivery{
				{command: do("k", 1, 0), want: want{silent: true}},
				{command: do("k", 2, 0), at: time.Second, want: want{outcome: sagas.OutcomeFailedRetriable, code: "BUSY"}},
				{command: undo("u", "k"), at: time.Second, want: want{outcome: sagas.OutcomeFailedRetriable, code: "BUSY"}},
				{command: inquire("k"), at: time.Second, want: want{outcome: sagas.OutcomeRunning}},
				{command: do("k", 1, 0), at: time.Minute, finish: true, want: want{outcome: sagas.OutcomeOK}},
				{command: undo("u", "k"), at: time.Minute, want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
			reversed: 1,
		},
		{
			name: "a do after its deadline is refused and leaves nothing",
			script: []delivery{
				{command: do("k", 1, now+1000), at: 2 * time.Second, want: want{outcome: sagas.OutcomeFailedRetriable, code: "EXPIRED"}},
				{command: do("k", 2, now+9000), at: 3 * time.Second, want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
		},
		{
			name:    "a passing failure is forgotten",
			answers: []sagatest.Answer{sagatest.Retriable("AWAY")},
			script: []delivery{
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeFailedRetriable, code: "AWAY"}},
				{command: do("k", 2, 0), want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
		},
		{
			name:    "done, and the reply was lost",
			answers: []sagatest.Answer{sagatest.SilentDone()},
			script: []delivery{
				{command: do("k", 1, 0), want: want{silent: true}},
				{command: inquire("k"), want: want{outcome: sagas.OutcomeExecuted}},
				{command: do("k", 2, 0), want: want{outcome: sagas.OutcomeOK, replayed: true}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK, replayed: true}},
			},
			executed: 1,
			reversed: 1,
		},
		{
			name: "not-executed is a promise",
			script: []delivery{
				{command: inquire("k"), want: want{outcome: sagas.OutcomeNotExecuted}},
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeRejected, code: "SUPPRESSED"}},
			},
		},
		{
			name:    "broken, and done all the same: the undo finds it",
			answers: []sagatest.Answer{sagatest.Fatal("BROKEN", true)},
			script: []delivery{
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeFailedFatal, code: "BROKEN"}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
			reversed: 1,
		},
		{
			name:    "an undo that fails for now reverses nothing yet",
			answers: []sagatest.Answer{sagatest.OK(), sagatest.Retriable("AWAY")},
			script: []delivery{
				{command: do("k", 1, 0), want: want{outcome: sagas.OutcomeOK}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeFailedRetriable, code: "AWAY"}},
				{command: undo("u", "k"), want: want{outcome: sagas.OutcomeOK}},
			},
			executed: 1,
			reversed: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers := test.answers
			p := sagatest.Participants{
				Forgetful: test.forgetful,
				Behaviour: func(sagas.Command) sagatest.Answer {
					if len(answers) == 0 {
						return sagatest.Answer{}
					}
					a := answers[0]
					answers = answers[1:]
					return a
				},
			}
			for i, d := range test.script {
				at := now + sagas.Time(d.at.Milliseconds())
				var reply *sagas.Reply
				if d.finish {
					reply = p.Finish(d.command)
				} else {
					reply, _ = p.Handle(d.command, at)
				}
				if reply == nil {
					if !d.want.silent {
						t.Fatalf("delivery %d: no reply", i)
					}
					continue
				}
				got := want{outcome: reply.Outcome, code: reply.Code, noop: reply.Noop, replayed: reply.Replayed}
				if got != d.want {
					t.Fatalf("delivery %d: got %+v, want %+v", i, got, d.want)
				}
			}
			executed, reversed := 0, 0
			for _, e := range p.Ledger() {
				executed += e.Executed
				reversed += e.Reversed
			}
			if executed != test.executed || reversed != test.reversed {
				t.Fatalf("executed %d, reversed %d; want %d and %d", executed, reversed, test.executed, test.reversed)
			}
		})
	}
}
