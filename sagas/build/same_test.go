package build_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

// same wants the Go definition to be the very same as the YAML one.
func same(t *testing.T, file string, s *build.Saga) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := sagas.ParseDefinition(file, src)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Build()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if d := cmp.Diff(string(want.Canonical()), string(got.Canonical())); d != "" {
		t.Errorf("%s (-yaml +go):\n%s", file, d)
	}
	if want.Digest() != got.Digest() {
		t.Errorf("%s: digests differ", file)
	}
	if _, err := sagas.Compile(got); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

type (
	order struct {
		Amount   any            `json:"amount"` // minor units or a decimal string
		Currency string         `json:"currency,omitempty"`
		Card     string         `json:"card,omitempty"`
		Items    []any          `json:"items,omitempty"`
		Address  map[string]any `json:"address,omitempty"`
	}
	authReq struct {
		Amount   any    `json:"amount"`
		Currency string `json:"currency"`
		Card     string `json:"card"`
	}
	authRes struct {
		AuthID string `json:"authId"`
	}
	reserveReq struct {
		Items []any `json:"items"`
	}
	reserveRes struct {
		ReservationID string `json:"reservationId"`
	}
	captureReq struct {
		AuthID string `json:"authId,omitempty"`
		Amount any    `json:"amount"`
	}
	captureRes struct {
		CaptureID string `json:"captureId"`
	}
	shipReq struct {
		ReservationID string         `json:"reservationId,omitempty"`
		Address       map[string]any `json:"address,omitempty"`
	}
	shipRes struct {
		Tracking string `json:"tracking"`
	}
)

func cardPayment() *build.Saga {
	auth := build.Call[authReq, authRes]("auth", "psp.authorise",
		build.With{"amount": "=input.amount", "currency": `=input.?currency.orValue("EUR")`, "card": `=input.?card.orValue("default")`},
		build.Keep("authId"), build.Attempt(15*time.Second), build.Within(2*time.Minute), build.OnUnknown(sagas.UnknownInquire),
		build.Undo("psp.void", build.With{"authId": "=step.auth.?authId"}))
	reserve := build.Call[reserveReq, reserveRes]("reserve", "stock.reserve",
		build.With{"items": "=input.?items.orValue([])"},
		build.Keep("reservationId"), build.Attempt(5*time.Second),
		build.Undo("stock.release", build.With{"reservationId": "=step.reserve.?reservationId"}))
	capture := build.Pivot[captureReq, captureRes]("capture", "psp.capture",
		build.With{"authId": auth.Maybe("authId"), "amount": "=input.amount"},
		build.Keep("captureId"), build.Attempt(20*time.Second), build.OnUnknown(sagas.UnknownInquire),
		build.Inquiry{Every: 5 * time.Second, For: 10 * time.Minute})
	ship := build.Retriable[shipReq, shipRes]("ship", "ship.create",
		build.With{"reservationId": reserve.Maybe("reservationId"), "address": "=input.?address"},
		build.Keep("tracking"), build.AlertAfter(2*time.Hour))
	return build.New[order]("card-payment", 1).
		Deadline(30*time.Minute).
		Participant("psp", build.Ops("do", "undo", "inquire"), build.KeyWindow(24*time.Hour)).
		Participant("stock", build.Ops("do", "undo")).
		Participant("ship", build.Ops("do")).
		Steps(auth, reserve, capture, ship).
		Output(build.With{"captureId": capture.Maybe("captureId"), "tracking": ship.Maybe("tracking")}).
		Retention(7*24*time.Hour, 30*24*time.Hour)
}

func TestSameAsYAML(t *testing.T) {
	same(t, "../../examples/card-payment/saga.yaml", cardPayment())
	same(t, "../testdata/good/order.yaml", orderSaga())
	same(t, "../testdata/good/trip-booking.yaml", tripBooking())
	same(t, "../testdata/good/subscription-period.yaml", subscription())
}

func orderSaga() *build.Saga {
	type input struct {
		OrderID  any `json:"orderId"`
		Customer any `json:"customer"`
		Lines    any `json:"lines"`
		Express  any `json:"express,omitempty"`
		Total    any `json:"total,omitempty"`
	}
	facts := build.Set("facts", build.With{"total": "=input.total", "express": "=input.?express.orValue(false)"})
	quote := build.ReadOnly[any, any]("quote", "fx.quote", build.Keep("rate"), build.Heartbeat(2*time.Second))
	hold := build.Call[any, any]("hold", "psp.authorise", build.With{"amount": facts.Field("total")}, build.Keep("id"),
		build.Undo("psp.void", build.UndoAfter("lines"))).After(facts, quote)
	reserve := build.Call[any, any]("reserve", "stock.reserve", build.With{"sku": "=line.sku", "n": "=index", "of": "=input.orderId"}, build.Keep("bin"), build.Undo("stock.release"))
	pick := build.Call[any, any]("pick", "stock.pick", build.With{"bin": reserve.Field("bin")}, build.Undo("stock.putBack"))
	lines := build.Each("lines", build.Items{In: "input.lines", As: "line", Key: "line.sku", AtOnce: 1, Max: 50, Tolerate: 2}, reserve, pick).After(facts)
	price := build.Scope("price", build.Call[any, any]("book", "fx.book", build.With{"round": "=round.n"}, build.Keep("dealId"), build.Undo("fx.unwind"))).
		Retry(3, []string{"EXPIRED"}, time.Second).
		Catch([]string{"EXPIRED", "NO_QUOTE"}, build.Fail("noPrice", "NO_PRICE", "no price today"))
	price.After(hold, lines)
	signoff := build.Approve("signoff", build.People{
		Roles: []string{"treasury", "ops"}, Not: "[input.customer]", Quorum: 2, Within: 24 * time.Hour, RemindEvery: 4 * time.Hour,
		OnTimeout: build.Instead(build.Emit("late", build.Event{Topic: "orders", Type: "Late", Key: "input.orderId"})),
	}).OnlyIf(facts.Field("total") + " > 1000")
	kyc := build.Child("kyc", build.ChildSaga{Type: "kyc-check", Version: 2, ID: "input.customer", Input: build.With{"who": "=input.customer"}, Reversible: true}, build.Keep("level"))
	paid := build.Await("paid", build.Signal{Name: "paid", Within: time.Hour, OnTimeout: build.GoOn()}, build.Keep("ref"))
	way := build.Choose("way",
		build.When(kyc.Field("level")+` == "none"`, build.Fail("deny", "NO_KYC", "")),
		build.When(facts.Field("express"), build.Pivot[any, any]("captureNow", "psp.capture"), build.Finish("early", "EXPRESS")),
		build.Else(build.Pivot[any, any]("capture", "psp.capture", build.With{"ref": paid.Maybe("ref")})),
	)
	return build.New[input]("order", 1).
		ID("input.orderId").Deadline(72*time.Hour).
		Tags(build.With{"customer": "=input.customer", "shop": "web"}).
		Eager().Reuse(sagas.ReuseAfterFailed).
		Participant("stock").Participant("fx").Participant("psp", build.Ops("do", "undo", "inquire")).Participant("mail", build.Ops("do")).
		Steps(facts, quote.After(), hold, lines, price, signoff, kyc, paid, way, build.Optional[any, any]("receipt", "mail.send")).
		Output(build.With{"failed": lines.Field("failed"), "branch": way.Field("branch")})
}

func tripBooking() *build.Saga {
	seats := build.Call[any, any]("seats", "air.hold", build.With{"legs": "=input.legs"}, build.Keep("pnr", "until"), build.Lease("step.seats.until"), build.Undo("air.drop"))
	confirmed := build.Await("confirmed", build.Signal{Name: "airline", When: `event.status == "OK"`, Within: 24 * time.Hour})
	room := func(id, hotel string) *build.Step {
		return build.Call[any, any](id, "hotel.book", build.With{"hotel": hotel}, build.Keep("ref"), build.Undo("hotel.cancel"))
	}
	rent := build.Call[any, any]("rent", "car.book", build.With{"days": "=input.days"}, build.Undo("car.cancel"))
	book := build.Par("book",
		build.Lane("flight", seats, confirmed),
		build.Lane("room", build.Race("rooms", 1,
			build.Lane("main", room("roomA", "=input.hotels[0]")),
			build.Lane("spare", build.SleepFor("patience", 20*time.Second), room("roomB", "=input.hotels[1]")))),
		build.Lane("wheels", build.Scope("carTry", rent).Catch([]string{"*"})),
	)
	return build.New[any]("trip-booking", 2).InputName("travel.Trip").ID("input.tripId").Deadline(48*time.Hour).
		Participant("air").Participant("hotel").Participant("car").
		Participant("pay", build.Ops("do", "inquire"), build.KeyWindow(24*time.Hour)).
		Steps(book,
			build.Pivot[any, any]("charge", "pay.charge", build.With{"amount": "=input.price", "card": "=input.cardToken"}, build.Attempt(30*time.Second), build.OnUnknown(sagas.UnknownInquire)),
			build.Retriable[any, any]("ticket", "air.ticket", build.With{"pnr": seats.Field("pnr")}, build.AlertAfter(30*time.Minute))).
		Output(build.With{"pnr": seats.Field("pnr"), "room": "=step.roomA.?ref.or(step.roomB.?ref)", "car": rent.State() + ` == "DONE"`})
}

func subscription() *build.Saga {
	const day = 24 * time.Hour
	invoice := build.Call[any, any]("invoice", "billing.open", build.With{"plan": "=input.plan", "period": "=input.no"}, build.Keep("invoiceId", "due"), build.Undo("billing.void"))
	card := build.Expr(`signals.last("card-updated").?card.orValue(input.card)`)
	collect := build.Repeat("collect", build.Rounds{Most: 5, Wait: []time.Duration{0, day, 3 * day, 7 * day, 10 * day}, Wake: []string{"card-updated"}, Until: `round.charge.state == "DONE"`},
		build.Call[any, any]("charge", "psp.charge", build.With{"amount": invoice.Field("due"), "card": card}, build.ContinueOnReject(), build.OnUnknown(sagas.UnknownInquire), build.Undo("psp.refund")),
		build.Optional[any, any]("nudge", "mail.dunning", build.With{"stage": "=round.n"}).OnlyIf(`round.charge.state != "DONE"`))
	return build.New[any]("subscription-period", 7).InputName("billing.Period").ID("input.subscriptionId").
		Participant("psp", build.Ops("do", "undo", "inquire"), build.KeyWindow(day)).Participant("billing").
		Participant("access", build.Ops("do")).Participant("mail", build.Ops("do")).
		Steps(
			build.SleepUntil("until", "input.renewAt", "end-now"),
			build.Choose("leave",
				build.When(`signals.has("end-at-period")`, build.Pivot[any, any]("shut", "access.close"), build.Finish("bye", "ENDED")),
				build.Else()),
			invoice, collect,
			build.Choose("end",
				build.When(collect.Field("satisfied"),
					build.Pivot[any, any]("paid", "billing.settle", build.With{"invoice": invoice.Field("invoiceId")}),
					build.Continue("next", build.With{"subscriptionId": "=input.subscriptionId", "no": "=input.no + 1", "plan": "=input.plan", "card": card, "renewAt": "=input.nextRenewAt"})),
				build.Else(
					build.Pivot[any, any]("stop", "access.suspend"),
					build.Retriable[any, any]("writeoff", "billing.writeOff"),
					build.Emit("lost", build.Event{Topic: "billing.events", Type: "SubscriptionLapsed", With: build.With{"id": "=input.subscriptionId"}}))))
}
