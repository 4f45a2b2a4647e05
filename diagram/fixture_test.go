package diagram

import (
	"os"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
)

// cardPayment is the sample that users see first.
func cardPayment(t *testing.T) *sagas.Definition {
	t.Helper()
	src, err := os.ReadFile("../examples/card-payment/saga.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sagas.ParseDefinition("saga.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func call(id, what string, kind sagas.StepKind, undo string) sagas.StepDef {
	s := sagas.StepDef{ID: id, Call: what, Kind: kind, Attempt: 10 * time.Second, Within: 2 * time.Minute, OnUnknown: sagas.UnknownInquire}
	if undo != "" {
		s.Undo = &sagas.UndoDef{Call: undo}
	}
	return s
}

func lanes(of ...any) []sagas.LaneDef {
	var out []sagas.LaneDef
	for i := 0; i < len(of); i += 2 {
		l := sagas.LaneDef{Name: of[i].(string)}
		if steps, ok := of[i+1].([]sagas.StepDef); ok {
			l.Steps = steps
		}
		out = append(out, l)
	}
	return out
}

type steps = []sagas.StepDef

// allNodes is a saga with every node there is.
func allNodes() *sagas.Definition {
	choose := sagas.StepDef{ID: "verdict", Node: sagas.NodeChoose, Lanes: []sagas.LaneDef{
		{Name: "1", When: "step.score.value >= 90", Steps: steps{{ID: "deny", Node: sagas.NodeFail, Fail: &sagas.FailDef{Code: "RISK_DENIED", Message: "too risky"}}}},
		{Name: "2", When: "step.score.value >= 60 && dec.ge(input.amount, \"50000\")", Steps: steps{{
			ID: "desk", Node: sagas.NodeApprove, Approve: &sagas.ApproveDef{Roles: []string{"fraud-desk"}, Quorum: 2, Within: 20 * time.Minute, OnTimeout: sagas.TimeoutLane},
			Lanes: lanes("timeout", steps{call("page", "mail.page", sagas.Optional, ""), {ID: "late", Node: sagas.NodeFail, Fail: &sagas.FailDef{Code: "NOBODY"}}}),
		}}},
		{Name: sagas.LaneElse},
	}}
	return &sagas.Definition{Saga: "everything", Version: 7, Deadline: 26 * time.Hour, Steps: steps{
		{ID: "renew", Node: sagas.NodeSleep, Sleep: &sagas.SleepDef{Until: "input.renewAt", Wake: []string{"end-now"}}},
		{ID: "checks", Node: sagas.NodeParallel, Lanes: lanes(
			"card", steps{call("auth", "psp.authorise", sagas.Compensatable, "psp.void")},
			"risk", steps{call("score", "risk.score", sagas.ReadOnly, "")},
		)},
		choose,
		{ID: "lines", Node: sagas.NodeEach, Each: &sagas.EachDef{In: "input.lines", As: "line", Key: "line.sku", AtOnce: 8, Max: 200, OnFailure: sagas.ItemTolerate, Tolerate: 2},
			Lanes: lanes("do", steps{call("reserve", "stock.reserve", sagas.Compensatable, "stock.release"), {ID: "told", Node: sagas.NodeEmit, Emit: &sagas.EmitDef{Topic: "shop.events", Type: "reserved"}}})},
		{ID: "rooms", Node: sagas.NodeRace, When: "has(input.hotels)", Race: &sagas.RaceDef{First: 1}, Lanes: lanes(
			"main", steps{call("roomA", "hotel.book", sagas.Compensatable, "hotel.cancel")},
			"spare", steps{{ID: "patience", Node: sagas.NodeSleep, Sleep: &sagas.SleepDef{For: 20 * time.Second}}, call("roomB", "hotel.book", sagas.Compensatable, "hotel.cancel")},
		)},
		{ID: "price", Node: sagas.NodeScope, Scope: &sagas.ScopeDef{Rounds: 3, RetryOn: []string{"QUOTE_EXPIRED"}, CatchOn: []string{"*"}}, Lanes: lanes(
			"do", steps{call("quote", "fx.quote", sagas.Compensatable, ""), call("deal", "fx.book", sagas.Compensatable, "fx.unwind")},
			"catch", steps{{ID: "noDeal", Node: sagas.NodeSet, Set: []byte(`{"rate":"=0","reason":"none"}`)}},
		)},
		{ID: "collect", Node: sagas.NodeRepeat, Repeat: &sagas.RepeatDef{Rounds: 5, Until: `round.charge.state == "DONE"`, Wait: []time.Duration{0, 24 * time.Hour}}, Lanes: lanes(
			"do", steps{call("charge", "psp.charge", sagas.Compensatable, "psp.refund"), {ID: "nudge", Call: "mail.dunning", Kind: sagas.Optional, When: `round.charge.state != "DONE"`}},
		)},
		{ID: "delivery", Node: sagas.NodeSaga, Saga: &sagas.SagaDef{Type: "delivery", Version: 2, ID: "input.orderId", Reversible: true}, Kind: sagas.Compensatable},
		{ID: "goods", Node: sagas.NodeAwait, Await: &sagas.AwaitDef{Signal: "goods-ready", When: "event.all", Within: 24 * time.Hour, OnTimeout: sagas.TimeoutContinue}},
		call("capture", "psp.capture", sagas.Pivot, ""),
		call("ship", "ship.create", sagas.Retriable, ""),
		{ID: "leave", Node: sagas.NodeChoose, Lanes: []sagas.LaneDef{
			{Name: "1", When: `signals.has("end-at-period")`, Steps: steps{{ID: "bye", Node: sagas.NodeFinish, Finish: &sagas.FinishDef{Code: "ENDED"}}}},
			{Name: sagas.LaneElse},
		}},
		{ID: "next", Node: sagas.NodeContinue, Continue: &sagas.ContinueDef{Input: []byte(`{"no":"=input.no + 1"}`)}},
	}}
}

// crossed is a list with after: tracks and lines between them.
func crossed() *sagas.Definition {
	c := func(id string, after ...string) sagas.StepDef {
		s := call(id, "svc."+id, sagas.Compensatable, "svc.un"+id)
		s.After = after
		if after == nil {
			s.After = []string{}
		}
		return s
	}
	plain := call("free", "svc.free", sagas.ReadOnly, "")
	plain.After = []string{"a"}
	return &sagas.Definition{Saga: "crossed", Version: 1, Steps: steps{
		c("a"), c("b"), c("c", "a"), plain, c("d", "a", "b"), c("e", "b"), c("f", "c", "d"), c("g", "free"),
	}}
}

// passed is a list where what follows block b is behind the point of no return, and on the way back c
// stands in the track of b.
func passed() *sagas.Definition {
	d := crossed()
	d.Saga = "passed"
	a, b, c := d.Steps[0], d.Steps[1], d.Steps[2]
	pay := call("pay", "svc.pay", sagas.Pivot, "")
	block := sagas.StepDef{ID: "block", Node: sagas.NodeParallel, After: []string{}, Lanes: []sagas.LaneDef{{Name: "one", Steps: []sagas.StepDef{b, pay}}}}
	ship := call("ship", "svc.ship", sagas.Retriable, "")
	ship.After = []string{"a", "block"}
	d.Steps = []sagas.StepDef{a, block, ship, c}
	return d
}
