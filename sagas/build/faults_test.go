package build_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/build"
)

func line() int {
	_, _, n, _ := runtime.Caller(1)
	return n
}

type payReq struct {
	Amount int    `json:"amount"`
	To     target `json:"to"`
	Note   string `json:"note,omitempty"`
	secret string // JSON does not have it
}

type target struct {
	IBAN string `json:"iban"`
}

// TestFaults makes every mistake that Go can see, and one that only the checks can.
func TestFaults(t *testing.T) {
	_ = payReq{secret: "x"}.secret
	first := line() + 1
	pay := build.Call[payReq, authRes]("pay", "bank.pay", build.With{
		"amout": "=input.amount", "amount": "12", "to": build.With{"bic": "x"}, "secret": 1,
	}, build.Keep("authID"), build.Undo("bank.refund"))
	second := line() + 1
	book := build.Retriable[any, any]("book", "ledger.book", build.With{
		"ref": pay.Field("authId"),
		"of":  "=input.total + step.pey.authID + 'input.text'",
	}, build.Within(1500*time.Microsecond))
	_, err := build.New[order]("pay", 1).
		Participant("bank").Participant("ledger").
		Steps(pay, book).
		Build()
	var found sagas.Findings
	if !errors.As(err, &found) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []struct {
		code, text string
		line       int
	}{
		{"SG25", `bank.pay has no field "amout"`, first},
		{"SG25", `field "amount" of bank.pay is string, want integer`, first},
		{"SG25", `bank.pay has no field "bic"`, first},
		{"SG25", `bank.pay needs field "iban"; with does not set it`, first},
		{"SG25", `bank.pay has no field "secret"`, first},
		{"SG25", `bank.pay has no field "authID"`, first},
		{"SG07", `pay does not keep the output field "authId"`, second + 1},
		{"SG07", `the input has no field "total"`, second},
		{"SG07", `there is no step "pey"`, second},
		{"SG01", `within`, second},
	} {
		hit := 0
		for _, f := range found {
			if f.Code == want.code && strings.Contains(f.Text, want.text) {
				hit++
				if f.Line != want.line || !strings.HasSuffix(f.File, "faults_test.go") || f.Source != "" {
					t.Errorf("%s is at %s:%d, want line %d", want.text, f.File, f.Line, want.line)
				}
			}
		}
		if hit != 1 {
			t.Errorf("%s %s: found %d times in\n%v", want.code, want.text, hit, err)
		}
	}
	for _, f := range found {
		if strings.Contains(f.Text, `"text"`) {
			t.Errorf("looked into a string: %v", f)
		}
	}
}

func TestOtherFaults(t *testing.T) {
	for name, c := range map[string]struct {
		saga *build.Saga
		says string
	}{
		"no steps":     {build.New[any]("s", 1), "SG01"},
		"bad name":     {build.New[any]("1", 1).Steps(build.Fail("a", "A", "")), "SG03"},
		"lane twice":   {build.New[any]("s", 1).Steps(build.Par("p", build.Lane("a", build.Fail("x", "A", "")), build.Lane("a"))), `the lane "a" occurs twice`},
		"id twice":     {build.New[any]("s", 1).Steps(build.Fail("a", "A", ""), build.Fail("a", "A", "")), "SG02"},
		"no else":      {build.New[any]("s", 1).Steps(build.Choose("c", build.When("true", build.Fail("a", "A", "")))), "choose has no else"},
		"not JSON":     {build.New[any]("s", 1).Steps(build.Set("a", build.With{"f": func() {}})), "not JSON"},
		"unknown unit": {build.New[any]("s", 1).Steps(build.SleepFor("a", time.Microsecond)), "SG01"},
		"undo": {build.New[any]("s", 1).Participant("a").Steps(build.Call[any, any]("x", "a.b",
			build.UndoOf[target]("a.c", build.With{"bic": "=input.bic"}))), `a.c has no field "bic"`},
		"output": {build.New[target]("s", 1).Steps(build.SleepFor("a", time.Hour)).Output(build.With{"x": "=input.bic"}), `the input has no field "bic"`},
		"in a branch": {build.New[struct {
			A string `json:"a"`
		}]("s", 1).Steps(build.Choose("c", build.When("input.b == 1"), build.Else(build.SleepFor("z", time.Hour)))), `the input has no field "b"`},
	} {
		if _, err := c.saga.Build(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustBuild did not panic")
		}
	}()
	build.New[any]("s", 1).MustBuild()
}
