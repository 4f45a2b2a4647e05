package build_test

import (
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

// What Go says of events is what the file says.
func TestCorrelationIsTheSame(t *testing.T) {
	file := `
saga: trip
version: 1
deadline: 48h
participants:
  air: {}
  bank:
    ops: [do]
    correlate: {topic: bank.events, when: =event.final, match: =event.ref, equals: =input.ref, outcome: =event.outcome, code: =event.?code.orValue(""), effect: '="none"', ttl: none}
  post: {correlate: {topic: post.events, match: =event.ref, op: =event.op, outcome: =event.outcome, ttl: 2h}}
steps:
- {id: seats, call: air.hold, keep: [pnr], undo: {call: air.drop}}
- id: confirmed
  await: {topic: air.events, when: '=event.status == "OK"', match: =event.pnr, equals: =step.seats.pnr, ttl: 3h, within: 24h, onTimeout: continue}
  keep: [gate]
- {id: news, await: {topic: air.events, match: =event.pnr, equals: =step.seats.pnr, ttl: none}}
- {id: again, await: {topic: air.events, match: =event.pnr, equals: =step.seats.pnr}}
`
	want, err := sagas.ParseDefinition("trip.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	seats := build.Call[any, any]("seats", "air.hold", build.Keep("pnr"), build.Undo("air.drop"))
	of := func() build.EventOf {
		return build.EventOf{Topic: "air.events", Match: "event.pnr", Equals: seats.Field("pnr")}
	}
	first, news := of(), of()
	first.When, first.TTL, first.Within, first.OnTimeout = `event.status == "OK"`, 3*time.Hour, 24*time.Hour, build.GoOn()
	news.TTL = build.NoLimit
	got, err := build.New[any]("trip", 1).Deadline(48*time.Hour).
		Participant("air").
		Participant("bank", build.Ops("do"), build.Correlate(build.Answers{Topic: "bank.events", When: "event.final", Match: "event.ref", Equals: "input.ref",
			Outcome: "event.outcome", Code: `event.?code.orValue("")`, Effect: `"none"`, TTL: build.NoLimit})).
		Participant("post", build.Correlate(build.Answers{Topic: "post.events", Match: "event.ref", Op: "event.op", Outcome: "event.outcome", TTL: 2 * time.Hour})).
		Steps(seats, build.AwaitEvent("confirmed", first, build.Keep("gate")), build.AwaitEvent("news", news), build.AwaitEvent("again", of())).Build()
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != want.Digest() {
		t.Errorf("got  %s\nwant %s", got.Canonical(), want.Canonical())
	}
	if want.Level() != 3 {
		t.Errorf("level %d", want.Level())
	}
}
