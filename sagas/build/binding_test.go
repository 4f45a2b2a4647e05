package build_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

func TestBindings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bound.yaml")
	src := `saga: bound
version: 1
id: =input.orderId
deadline: 1h
participants: {psp: {}}
on:
  - {topic: shop.orders, action: start, when: =event.kind == "PLACED", input: =event.order}
  - {name: payments, topic: bank.payments, action: signal, id: =event.orderId, signal: paid, payload: {ref: =event.ref}, ttl: 2d, dedupe: =event.ref}
  - {topic: shop.notes, action: startOrSignal, signal: paid, id: =key, input: {orderId: =key}, from: earliest}
steps:
  - {id: a, call: psp.x, undo: {call: psp.y}}
  - {id: paid, await: {signal: paid, within: 1m}}
`
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, file, build.New[any]("bound", 1).ID("input.orderId").Deadline(time.Hour).Participant("psp").
		StartOn("shop.orders", build.EventWhen(`event.kind == "PLACED"`), build.EventInput(build.Expr("event.order"))).
		SignalOn("bank.payments", "paid", build.BindingName("payments"), build.EventID("event.orderId"),
			build.EventPayload(build.With{"ref": "=event.ref"}), build.EventTTL(48*time.Hour), build.Dedupe("event.ref")).
		StartOrSignalOn("shop.notes", "paid", build.EventID("key"), build.EventInput(build.With{"orderId": "=key"}), build.From(sagas.FromEarliest)).
		Steps(build.Call[any, any]("a", "psp.x", build.Undo("psp.y")), build.Await("paid", build.Signal{Name: "paid", Within: time.Minute})))
}
