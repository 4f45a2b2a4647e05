package explain

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
)

// TestEveryState explains every state that drawn definitions come to, with answers that fail in every
// way: one sentence, a known cause, and only actions that the machine takes.
func TestEveryState(t *testing.T) {
	seen := map[Cause]int{}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		def, err := sagas.ParseDefinition("drawn.json", []byte(sagasgen.Definition(draw, sagasgen.Options{})))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		w := sagatest.New(plan)
		w.Auto = func(sagas.Command) bool { return true }
		kinds := []sagatest.Answer{sagatest.OK(), sagatest.OK(), sagatest.Reject("NO"), sagatest.Retriable("BUSY"), sagatest.Fatal("BROKEN", false),
			sagatest.Silent(), sagatest.SilentDone(), sagatest.Slow(time.Minute)}
		w.Participants.Behaviour = func(sagas.Command) sagatest.Answer { return kinds[draw("answer", len(kinds))] }
		check := func() {
			e := explainAny(t, w, draw("facts", 3))
			seen[e.Cause]++
		}
		w.Start("1", []byte(`{}`))
		check()
		for range 40 {
			if w.Instance() == nil {
				return
			}
			switch draw("event", 8) {
			case 0:
				w.Feed(sagas.Admin{Action: sagas.AdminSuspend, Operator: "x", Reason: "y"})
			case 1:
				w.Feed(sagas.Admin{Action: sagas.AdminResume, Operator: "x", Reason: "y"})
			case 2:
				w.Advance(time.Duration(draw("minutes", 100)) * time.Minute)
			default:
				w.Step()
			}
			check()
		}
	})
	t.Logf("%v", seen)
}

// explainAny explains the state of w, with no facts or some, and checks what must always hold.
func explainAny(t *rapid.T, w *sagatest.World, facts int) Explanation {
	in := Input{Instance: w.Instance(), WorkflowID: "drawn/1", Plan: w.Plan, Now: w.Now()}
	asks := Asks(in.Instance, in.Plan)
	if len(asks) > MaxAsks {
		t.Fatalf("%d asks", len(asks))
	}
	for _, a := range asks {
		c := Command{Path: a.Path, Op: a.Op.String(), Participant: a.Participant, Topic: a.Topic, TopicState: TopicThere, First: 3, Offset: 3, End: 9, GroupsKnown: true}
		if facts == 1 {
			c.Groups = []Group{{Name: a.Participant, Members: 1, Position: 2, Lag: 7}}
			c.choose()
		}
		if facts > 0 && a.Key != "" {
			in.Commands = append(in.Commands, c)
		}
		if facts == 2 && a.Key == "" {
			in.Breakers = append(in.Breakers, Breaker{Topic: a.Topic, State: "open", Reason: "no answer", Since: w.Now() - 5})
		}
	}
	e := Explain(in)
	if !slices.Contains(Causes(), e.Cause) {
		t.Fatalf("cause %q is not listed", e.Cause)
	}
	if !strings.HasSuffix(e.Sentence, ".") || strings.Contains(e.Sentence, "%!") || strings.Contains(e.Sentence, "..") || strings.Contains(e.Sentence, "  ") {
		t.Fatalf("not a sentence: %q", e.Sentence)
	}
	idle := e.Cause == CauseMoving || e.Cause == CauseEnded
	if len(e.Actions) == 0 && !idle {
		t.Fatalf("nothing to do against %s: %s", e.Cause, e.Sentence)
	}
	for _, a := range e.Actions {
		if a.Do == "" {
			t.Fatalf("an action without words: %+v", a)
		}
		if a.Verb == "" {
			continue
		}
		ev := sagas.Admin{Action: sagas.AdminAction(a.Verb), Path: a.Path, Operator: "x", Reason: "y", Effect: sagas.EffectNone, By: 1000}
		if next, _ := sagas.Step(w.Plan, w.Instance(), ev, w.Now()); next == w.Instance() {
			t.Fatalf("%s names an action that is not taken: %+v", e.Cause, a)
		}
	}
	return e
}

// TestAttendedIsComplete: every reason of the machine is explained, and with its own ways on.
func TestAttendedIsComplete(t *testing.T) {
	for reason := range attended {
		if len(reason.Helps()) == 0 {
			t.Errorf("%s is no reason of the machine", reason)
		}
	}
	all := []sagas.Reason{sagas.ReasonExpr, sagas.ReasonTooLarge, sagas.ReasonOutput, sagas.ReasonUnknownOutcome, sagas.ReasonBudgetSpent, sagas.ReasonSlow,
		sagas.ReasonRefused, sagas.ReasonContradiction, sagas.ReasonPhantom, sagas.ReasonDeadline, sagas.ReasonUndoSlow, sagas.ReasonUndoFailed,
		sagas.ReasonUndoNoop, sagas.ReasonKeyWindow, sagas.ReasonNoUndo, sagas.ReasonLateEffect, sagas.ReasonTwice, sagas.ReasonLivelock,
		sagas.ReasonChildClosed, sagas.ReasonSignals}
	for _, reason := range all {
		if _, ok := attended[reason]; !ok {
			t.Errorf("%s is not explained", reason)
		}
	}
	if len(all) != len(attended) {
		t.Errorf("%d reasons are explained, %d are known here", len(attended), len(all))
	}
}

// TestPage: docs/explain.md has every cause.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Causes() {
		if !strings.Contains(string(page), fmt.Sprintf("| `%s` |", c)) {
			t.Errorf("docs/explain.md has no row for %s", c)
		}
	}
}

// TestDefinitionFaults: what keeps a published definition from being used is told apart.
func TestDefinitionFaults(t *testing.T) {
	parked := &sagas.Instance{WorkflowID: "order/1", Type: "order", Version: 2, Phase: sagas.Parked, StartedAt: 1000, Expires: 300_000}
	for _, c := range []struct {
		d     Definition
		cause Cause
		says  string
	}{
		{Definition{}, CauseUnknownVersion, "order@2 is not published"},
		{Definition{Published: true, Fault: "SG102 topic cmd.psp is missing"}, CauseNoTopic, "a topic that it sends to does not exist"},
		{Definition{Published: true, Fault: "SG105 describe topic cmd.psp: TOPIC_AUTHORIZATION_FAILED: Not authorized."}, CauseACLMissing, "does not let this process see"},
		{Definition{Published: true, Fault: "needs feature level 3"}, CauseUnknownVersion, "cannot use it: needs feature level 3"},
		{Definition{Published: true}, CauseUnknownVersion, "another content"},
	} {
		e := Explain(Input{Instance: parked, Now: 61_000, Definition: c.d})
		if e.Cause != c.cause || !strings.Contains(e.Sentence, c.says) || len(e.Actions) == 0 || e.Next != 300_000 {
			t.Errorf("%+v: %s %q %+v", c.d, e.Cause, e.Sentence, e.Actions)
		}
	}
}
