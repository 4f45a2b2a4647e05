package build_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

// A definition, checked against the types of its messages.
func Example() {
	type Order struct {
		Amount int    `json:"amount"`
		Card   string `json:"card,omitempty"`
	}
	type AuthoriseRequest struct {
		Amount int    `json:"amount"`
		Card   string `json:"card,omitempty"`
	}
	type AuthoriseResponse struct {
		AuthID string `json:"authId"`
	}
	type CaptureRequest struct {
		AuthID string `json:"authId"`
	}

	auth := build.Call[AuthoriseRequest, AuthoriseResponse]("auth", "psp.authorise",
		build.With{"amount": "=input.amount", "card": "=input.?card"},
		build.Keep("authId"),
		build.Undo("psp.void", build.With{"authId": "=step.auth.?authId"}))
	capture := build.Pivot[CaptureRequest, any]("capture", "psp.capture",
		build.With{"authId": auth.Field("authId")})

	def, err := build.New[Order]("card-payment", 1).
		Deadline(30*time.Minute).
		Participant("psp", build.Ops("do", "undo", "inquire"), build.KeyWindow(24*time.Hour)).
		Steps(auth, capture).
		Build()
	fmt.Println(def.Ref(), err)
	// Output: card-payment@1 <nil>
}

// The error lists everything that is wrong, each at its line.
func Example_findings() {
	type Request struct {
		Amount int `json:"amount"`
	}
	pay := build.Call[Request, any]("pay", "bank.pay", build.With{"amuont": "=input.amount"})
	_, err := build.New[any]("transfer", 1).Participant("bank").Steps(pay).Build()

	var found sagas.Findings
	if errors.As(err, &found) {
		for _, f := range found {
			fmt.Println(f.Code, f.Path, f.Text)
		}
	}
	// Output:
	// SG25 steps/pay/with/amuont bank.pay has no field "amuont" (build_test.Request)
	// SG25 steps/pay/with bank.pay needs field "amount"; with does not set it
	// SG10 steps/pay pay has an effect that must be undone when a later step fails, but it has no undo
}

// Blocks are nodes with lists of nodes in them.
func ExampleChoose() {
	score := build.ReadOnly[any, any]("score", "risk.score", build.Keep("value"))
	verdict := build.Choose("verdict",
		build.When(score.Field("value")+" >= 90", build.Fail("deny", "RISK_DENIED", "")),
		build.When(score.Field("value")+" >= 60", build.Approve("desk", build.People{Roles: []string{"fraud-desk"}, Within: 20 * time.Minute})),
		build.Else())
	def, err := build.New[any]("order", 1).
		Deadline(time.Hour).
		Participant("risk", build.Ops("do")).
		Steps(score, verdict).
		Build()
	fmt.Println(def.Ref(), err)
	// Output: order@1 <nil>
}

// Each runs steps once per item of a list.
func ExampleEach() {
	reserve := build.Call[any, any]("reserve", "stock.reserve",
		build.With{"sku": "=line.sku"}, build.Undo("stock.release"))
	def, err := build.New[any]("order", 1).
		Participant("stock").
		Steps(build.Each("lines", build.Items{In: "input.lines", As: "line", Key: "line.sku"}, reserve)).
		Build()
	fmt.Println(def.Ref(), err)
	// Output: order@1 <nil>
}
