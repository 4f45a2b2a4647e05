package build_test

import (
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

// Each example has the same digest through both doors.
func TestExamplesAreTheSame(t *testing.T) {
	for name, s := range map[string]*build.Saga{
		"order": orderExample(), "shop-payment": shopPayment(), "fx-transfer": fxTransfer(),
		"trip-booking": tripExample(), "subscription-period": periodExample(),
	} {
		t.Run(name, func(t *testing.T) { same(t, "../../examples/"+name+"/saga.yaml", s) })
	}
}

const day = 24 * time.Hour

func orderExample() *build.Saga {
	type input struct {
		Customer string `json:"customer"`
		Items    []any  `json:"items"`
		Total    int    `json:"total"`
	}
	tell := func(id, typ string, with build.With) *build.Step {
		return build.Emit(id, build.Event{Topic: "shop.orders", Type: typ, With: with})
	}
	pack := build.Call[any, any]("pack", "warehouse.pack", build.With{"items": "=input.items"}, build.Keep("parcel"), build.Undo("warehouse.unpack"))
	pay := build.Call[any, any]("pay", "payments.charge", build.With{"amount": "=input.total", "customer": "=input.customer"}, build.Keep("receipt"), build.Undo("payments.refund"))
	hand := build.Pivot[any, any]("hand", "courier.collect", build.With{"parcel": pack.Maybe("parcel")}, build.Keep("tracking"), build.OnUnknown(sagas.UnknownAttention))
	arrival := build.Await("arrival", build.Signal{Name: "delivered", Within: 14 * day, OnTimeout: build.GoOn()}, build.Keep("signedBy"))
	return build.New[input]("order", 1).Deadline(2*day).
		Participant("payments", build.Ops("do", "undo", "inquire")).Participant("warehouse", build.Ops("do", "undo")).Participant("courier", build.Ops("do")).
		Steps(
			tell("pending", "OrderPending", build.With{"total": "=input.total"}),
			pack, pay,
			tell("paid", "OrderPaid", build.With{"receipt": pay.Maybe("receipt")}),
			hand,
			tell("shipped", "OrderShipped", build.With{"tracking": hand.Maybe("tracking")}),
			arrival,
			tell("delivered", "OrderDelivered", build.With{"signedBy": arrival.Maybe("signedBy")}),
		).
		Output(build.With{"tracking": hand.Maybe("tracking"), "signedBy": arrival.Maybe("signedBy")})
}

func shopPayment() *build.Saga {
	type input struct {
		Total     int            `json:"total"`
		CardToken string         `json:"cardToken"`
		Email     string         `json:"email"`
		Lines     []any          `json:"lines"`
		Address   map[string]any `json:"address,omitempty"`
	}
	score := build.ReadOnly[any, any]("score", "risk.score", build.With{"email": "=input.email", "total": "=input.total"}, build.Keep("value"), build.Attempt(3*time.Second))
	auth := build.Call[any, any]("auth", "psp.authorise", build.With{"amount": "=input.total", "card": "=input.cardToken"}, build.Keep("authId"),
		build.Attempt(15*time.Second), build.Within(2*time.Minute), build.OnUnknown(sagas.UnknownInquire),
		build.Undo("psp.void", build.With{"authId": "=step.auth.?authId"}))
	capture := build.Pivot[any, any]("capture", "psp.capture", build.With{"authId": auth.Maybe("authId"), "amount": "=input.total"}, build.Keep("captureId"),
		build.Attempt(20*time.Second), build.OnUnknown(sagas.UnknownInquire))
	ship := build.Retriable[any, any]("ship", "ship.create", build.With{"lines": "=input.lines", "to": "=input.?address"}, build.Keep("tracking"), build.AlertAfter(2*time.Hour))
	return build.New[input]("shop-payment", 1).Deadline(30*time.Minute).
		Participant("psp", build.Ops("do", "undo", "inquire"), build.KeyWindow(day)).
		Participant("risk", build.Ops("do")).Participant("stock", build.Ops("do", "undo")).Participant("ship", build.Ops("do")).Participant("mail", build.Ops("do")).
		Steps(
			build.Par("checks", build.Lane("risk", score), build.Lane("card", auth)),
			build.Choose("verdict",
				build.When(score.Field("value")+" >= 90", build.Fail("deny", "RISK_DENIED", "")),
				build.When(score.Field("value")+" >= 60", build.Approve("desk", build.People{Roles: []string{"fraud-desk"}, Within: 20 * time.Minute})),
				build.Else()),
			build.Each("lines", build.Items{In: "input.lines", As: "line", Key: "line.sku", AtOnce: 8, Max: 200},
				build.Call[any, any]("reserve", "stock.reserve", build.With{"sku": "=line.sku", "qty": "=line.qty"}, build.Attempt(5*time.Second), build.Undo("stock.release"))),
			capture, ship,
			build.Optional[any, any]("receipt", "mail.send", build.With{"to": "=input.email", "template": "receipt"})).
		Output(build.With{"captureId": capture.Maybe("captureId"), "tracking": ship.Maybe("tracking")})
}

func fxTransfer() *build.Saga {
	type input struct {
		Debtor    map[string]any `json:"debtor"`
		Creditor  map[string]any `json:"creditor"`
		Amount    string         `json:"amount"`
		Currency  string         `json:"currency"`
		CreatedBy string         `json:"createdBy"`
	}
	screen := build.ReadOnly[any, any]("screen", "aml.screen", build.With{"from": "=input.debtor", "to": "=input.creditor"}, build.Keep("result"), build.Attempt(30*time.Second), build.Within(10*time.Minute))
	hold := build.Call[any, any]("hold", "ledger.hold", build.With{"account": "=input.debtor.iban", "amount": "=input.amount"}, build.Keep("holdId"), build.Undo("ledger.release"))
	quote := build.Call[any, any]("quote", "fx.quote", build.With{"sell": "=input.currency", "buy": "=input.creditor.currency", "amount": "=input.amount"},
		build.Keep("quoteId", "rate"), build.NoUndo("a quote lapses by itself"))
	deal := build.Call[any, any]("deal", "fx.book", build.With{"quoteId": quote.Field("quoteId")}, build.Keep("dealId", "bought"), build.Undo("fx.unwind"))
	return build.New[input]("fx-transfer", 1).Deadline(26*time.Hour).
		Participant("aml", build.Ops("do")).Participant("fx", build.Ops("do", "undo")).Participant("ledger", build.Ops("do", "undo")).Participant("rail", build.Ops("do", "inquire")).
		Steps(
			screen,
			build.Choose("hits", build.When(screen.Field("result")+` == "BLOCK"`, build.Fail("blocked", "SANCTIONS", "")), build.Else()),
			hold,
			build.Choose("limit",
				build.When(`dec.ge(input.amount, "50000") || `+screen.Field("result")+` == "REVIEW"`,
					build.Approve("signoff", build.People{Roles: []string{"treasury"}, Not: "[input.createdBy]", Quorum: 2, Within: day, RemindEvery: 4 * time.Hour})),
				build.Else()),
			build.Scope("price", quote, deal).Retry(3, []string{"QUOTE_EXPIRED"}),
			build.Pivot[any, any]("send", "rail.pay", build.With{"uetr": "=key", "amount": deal.Field("bought"), "to": "=input.creditor"},
				build.Attempt(25*time.Second), build.Retry{Attempts: 1}, build.OnUnknown(sagas.UnknownInquire),
				build.Inquiry{Call: "rail.status", Every: 30 * time.Second, For: 6 * time.Hour}),
			build.Retriable[any, any]("settle", "ledger.settle", build.With{"holdId": hold.Field("holdId"), "dealId": deal.Field("dealId")})).
		Output(build.With{"rate": quote.Field("rate")})
}

func tripExample() *build.Saga {
	type input struct {
		Legs      []any  `json:"legs"`
		Hotels    []any  `json:"hotels"`
		Days      int    `json:"days"`
		Price     int    `json:"price"`
		CardToken string `json:"cardToken"`
	}
	seats := build.Call[any, any]("seats", "air.hold", build.With{"legs": "=input.legs"}, build.Keep("pnr"), build.Undo("air.drop"))
	confirmed := build.Await("confirmed", build.Signal{Name: "seats-confirmed", When: `event.status == "OK"`, Within: day})
	room := func(id, hotel string) *build.Step {
		return build.Call[any, any](id, "hotel.book", build.With{"hotel": hotel}, build.Keep("ref"), build.Undo("hotel.cancel"))
	}
	rent := build.Call[any, any]("rent", "car.book", build.With{"days": "=input.days"}, build.Undo("car.cancel"))
	return build.New[input]("trip-booking", 1).Deadline(48*time.Hour).
		Participant("air", build.Ops("do", "undo")).Participant("hotel", build.Ops("do", "undo")).Participant("car", build.Ops("do", "undo")).
		Participant("pay", build.Ops("do", "inquire"), build.KeyWindow(day)).
		Steps(
			build.Par("book",
				build.Lane("flight", seats, confirmed),
				build.Lane("room", build.Race("rooms", 1,
					build.Lane("main", room("roomA", "=input.hotels[0]")),
					build.Lane("spare", build.SleepFor("patience", 20*time.Second), room("roomB", "=input.hotels[1]")))),
				build.Lane("wheels", build.Scope("carTry", rent).Catch([]string{"*"}))),
			build.Pivot[any, any]("charge", "pay.charge", build.With{"amount": "=input.price", "card": "=input.cardToken"}, build.Attempt(30*time.Second), build.OnUnknown(sagas.UnknownInquire)),
			build.Retriable[any, any]("ticket", "air.ticket", build.With{"pnr": seats.Field("pnr")}, build.AlertAfter(30*time.Minute))).
		Output(build.With{"pnr": seats.Field("pnr"), "car": rent.State() + ` == "DONE"`})
}

func periodExample() *build.Saga {
	type input struct {
		Period  int    `json:"period"`
		Plan    string `json:"plan"`
		Card    string `json:"card"`
		RenewAt string `json:"renewAt"`
	}
	invoice := build.Call[any, any]("invoice", "billing.open", build.With{"plan": "=input.plan", "period": "=input.period"}, build.Keep("invoiceId", "due"), build.Undo("billing.void"))
	card := build.Expr(`signals.last("card-updated").?card.orValue(input.card)`)
	collect := build.Repeat("collect", build.Rounds{Most: 5, Wait: []time.Duration{0, day, 3 * day, 7 * day, 10 * day}, Wake: []string{"card-updated"}, Until: `round.charge.state == "DONE"`},
		build.Call[any, any]("charge", "psp.charge", build.With{"amount": invoice.Field("due"), "card": card}, build.ContinueOnReject(), build.OnUnknown(sagas.UnknownInquire), build.Undo("psp.refund")),
		build.Optional[any, any]("nudge", "mail.dunning", build.With{"stage": "=round.n"}).OnlyIf(`round.charge.state != "DONE"`))
	return build.New[input]("subscription-period", 1).
		Participant("psp", build.Ops("do", "undo", "inquire"), build.KeyWindow(day)).Participant("billing", build.Ops("do", "undo")).
		Participant("access", build.Ops("do")).Participant("mail", build.Ops("do")).
		Steps(
			build.SleepUntil("until", "input.renewAt", "end-now"),
			build.Choose("leave",
				build.When(`signals.has("end-at-period") || signals.has("end-now")`, build.Pivot[any, any]("shut", "access.close"), build.Finish("bye", "ENDED")),
				build.Else()),
			invoice, collect,
			build.Choose("end",
				build.When(collect.Field("satisfied"),
					build.Pivot[any, any]("paid", "billing.settle", build.With{"invoice": invoice.Field("invoiceId")}),
					build.Continue("next", build.With{"period": "=input.period + 1", "plan": "=input.plan", "card": card,
						"renewAt": `=string(timestamp(input.renewAt) + duration("720h"))`})),
				build.Else(
					build.Pivot[any, any]("stop", "access.suspend"),
					build.Retriable[any, any]("writeoff", "billing.writeOff"),
					build.Emit("lost", build.Event{Topic: "billing.events", Type: "SubscriptionLapsed", With: build.With{"plan": "=input.plan", "period": "=input.period"}}))))
}
