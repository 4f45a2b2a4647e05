package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
)

// fakeNow is the clock of the golden pages.
var fakeNow = time.Date(2026, 11, 21, 14, 32, 10, 0, time.UTC)

// fake is a Source of fixtures. It is a desk as well: everybody is the same person.
type fake struct {
	t       testing.TB
	now     sagas.Time
	session Session
	fail    error // of every answer

	mu      sync.Mutex
	acted   []Action
	bulk    []BulkAction
	decided []Decision
	replays []Replay
	dropped []string
	steered []string
	changes []chan string
	empty   bool
	refuse  bool
}

func newFake(t testing.TB) *fake {
	return &fake{t: t, now: sagas.Time(fakeNow.UnixMilli()), session: Session{Actor: "mira", Role: "operator", May: []string{MayAct, MayActivate}}}
}

func (f *fake) options() Options {
	return Options{
		Namespace: "pay", Environment: "staging", Colour: "violet", Node: "amends-1:8480", Version: "0.2.0",
		Now: func() time.Time { return time.UnixMilli(int64(f.now)) },
	}
}

func (f *fake) As(*http.Request) (Desk, error) {
	if f.refuse {
		return nil, &Problem{Status: 401, Code: "SIGN_IN", Title: "Sign in", Detail: "This process wants to know who looks."}
	}
	return f, nil
}

func (f *fake) Session() Session { return f.session }

func (f *fake) Counts(context.Context) (Counts, error) { return Counts{14, 3, 7}, f.fail }

// ago is a moment before now.
func (f *fake) ago(d time.Duration) sagas.Time { return f.now - sagas.Time(d.Milliseconds()) }

func example(t testing.TB, name string) *sagas.Definition {
	t.Helper()
	d, err := sagas.ParseDefinition("saga.yaml", exampleSource(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exampleSource(t testing.TB, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("..", "examples", name, "saga.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func (f *fake) Instances(_ context.Context, q InstanceQuery) (InstancePage, error) {
	page := InstancePage{
		Next: "c2", Count: 48213, Exact: true, Sagas: []string{"card-payment", "fx-transfer", "trip-booking"},
		Fields: []string{"customer", "amount", "country", "saga", "version", "status", "startedAt"}, TookMs: 38,
	}
	if f.empty || q.Query == "none" {
		return InstancePage{Sagas: page.Sagas, Fields: page.Fields}, f.fail
	}
	row := func(saga, id string, version uint32, status, at, cause string, age, took time.Duration, tags ...string) {
		r := InstanceRow{WorkflowID: saga + "/" + id, Saga: saga, ID: id, Version: version, Status: status, Phase: status, At: at, Cause: cause, StartedAt: f.ago(age)}
		if took > 0 {
			r.EndedAt = r.StartedAt + sagas.Time(took.Milliseconds())
		}
		for i := 0; i+1 < len(tags); i += 2 {
			r.Tags = append(r.Tags, sagas.TagView{Key: tags[i], Value: tags[i+1]})
		}
		page.Rows = append(page.Rows, r)
	}
	row("card-payment", "order-100245", 3, "running", "capture", "", 2*time.Second, 0, "amount", "149.00", "country", "DE")
	row("card-payment", "order-100244", 3, "compensating", "reserve", "auth rejected: CARD_DECLINED", 4*time.Second, 0, "amount", "1 290.00", "country", "FR")
	row("fx-transfer", "7f3c-2291", 1, "attention", "send", "UNKNOWN_OUTCOME", 3*time.Hour, 0, "amount", "250000.00", "customer", "acme")
	row("card-payment", "order-100243", 3, "completed", "", "", 9*time.Second, 58*time.Millisecond, "amount", "19.90", "country", "PT")
	row("card-payment", "order-100242", 3, "compensated", "", "reserve rejected: OUT_OF_STOCK", 14*time.Second, 91*time.Millisecond, "amount", "74.50", "country", "DE")
	row("trip-booking", "trip-881", 2, "running", "confirmed", "", 26*time.Hour, 0, "customer", "c-77")
	row("fx-transfer", "7f3c-2290", 1, "running", "signoff", "", 52*time.Minute, 0, "amount", "88000.00", "customer", "globex")
	row("card-payment", "order-100241", 3, "completed", "", "", 21*time.Second, 62*time.Millisecond, "amount", "8.00", "country", "DE")
	row("card-payment", "order-100240", 2, "finishing", "ship", "", 40*time.Minute, 0, "amount", "310.00", "country", "AT")
	row("trip-booking", "trip-880", 2, "compensated", "", "charge rejected: CARD_DECLINED", 5*time.Hour, 83*time.Second, "customer", "c-12")
	row("card-payment", "order-100239", 3, "parked", "", "", 70*time.Second, 0)
	row("card-payment", "order-100238", 3, "closed", "", "closed by mira", 9*time.Hour, 6*time.Hour, "amount", "55.00", "country", "NL")
	if q.Status != "" && q.Status != "active" {
		page.Rows = slices.DeleteFunc(page.Rows, func(r InstanceRow) bool { return r.Status != q.Status })
	}
	return page, f.fail
}

// run writes the history of an instance.
type run struct {
	in  *Instance
	at  sagas.Time
	rev uint64
	off int64
}

func (r *run) fact(after time.Duration, kind, path, phase string, detail ...string) {
	r.at += sagas.Time(after.Milliseconds())
	r.rev++
	f := Fact{Seq: uint64(len(r.in.Facts) + 1), Rev: r.rev, At: r.at, Kind: kind, Path: path, Phase: phase}
	for i := 0; i+1 < len(detail); i += 2 {
		f.Detail = append(f.Detail, NV{detail[i], detail[i+1]})
	}
	if kind != "step-sent" && kind != "undo-sent" {
		r.off += 3
		f.Source = &Position{Topic: "pay.saga.replies", Partition: 3, Offset: 20117 + r.off}
	}
	r.in.Facts = append(r.in.Facts, f)
	r.in.View.Seq, r.in.View.Rev, r.in.View.UpdatedAt = f.Seq, f.Rev, f.At
}

func (r *run) message(dir, what, name, path, topic string, body string, outcome, code string) {
	r.in.Messages = append(r.in.Messages, Message{
		Dir: dir, What: what, Name: name, Path: path, Attempt: 1, Outcome: outcome, Code: code, At: r.at,
		Key: "0b7c2f7e-9a53-5d5c-8d2e-" + fmt.Sprintf("%012d", len(r.in.Messages)), Position: &Position{topic, 3, 88120 + int64(len(r.in.Messages))},
		Headers: []NV{{"saga-wid", r.in.View.WorkflowID}, {"saga-op", what}, {"content-type", "application/json"}, {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}},
		Body:    json.RawMessage(body), Bytes: len(body),
	})
}

func step(path, kind, participant, command, state string, attempts uint32) sagas.StepView {
	return sagas.StepView{Path: path, Kind: kind, Participant: participant, Command: command, State: state, Attempts: attempts}
}

func (f *fake) Instance(_ context.Context, workflowID string) (Instance, error) {
	if f.fail != nil {
		return Instance{}, f.fail
	}
	switch workflowID {
	case "card-payment/order-100242":
		return f.compensated(), nil
	case "fx-transfer/7f3c-2291":
		return f.stuck(), nil
	}
	if n, ok := strings.CutPrefix(workflowID, "card-payment/big-"); ok {
		events, _ := strconv.Atoi(n)
		return f.big(events), nil
	}
	return Instance{}, &Problem{Status: 404, Code: "SG61", Title: "No such instance", Detail: fmt.Sprintf("no instance %q", workflowID), Hint: "It may have ended and its retention may have passed."}
}

// compensated is a payment whose capture was refused: two steps were taken back.
func (f *fake) compensated() Instance {
	in := Instance{
		View: sagas.View{
			WorkflowID: "card-payment/order-100242", Type: "card-payment", ID: "order-100242", Version: 1, Run: 1, Phase: "compensated", Status: "compensated",
			Cause: "capture REFUSED INSUFFICIENT_FUNDS", StartedAt: f.ago(14 * time.Second), ExpiresAt: f.now + 7*86400_000,
			Tags:  []sagas.TagView{{Key: "amount", Value: "74.50"}, {Key: "country", Value: "DE"}},
			Input: json.RawMessage(`{"amount":"74.50","currency":"EUR","card":"tok_••••","items":[{"sku":"sku-9","qty":2}],"address":{"city":"Berlin"}}`),
		},
		Definition: example(f.t, "card-payment"), Owner: Place{"amends-2:8480", 3}, FactsFrom: 1,
	}
	auth := step("auth", "compensatable", "psp", "authorise", "DONE", 2)
	auth.Undo, auth.UndoAttempts, auth.Output = "UNDONE", 1, json.RawMessage(`{"authId":"a-5521"}`)
	reserve := step("reserve", "compensatable", "stock", "reserve", "DONE", 1)
	reserve.Undo, reserve.UndoAttempts, reserve.Output = "UNDONE", 2, json.RawMessage(`{"reservationId":"r-118"}`)
	capture := step("capture", "pivot", "psp", "capture", "REFUSED", 1)
	capture.Code, capture.Message = "INSUFFICIENT_FUNDS", "the account has 12.00"
	in.View.Steps = []sagas.StepView{auth, reserve, capture, step("ship", "retriable", "ship", "create", "ABANDONED", 0)}
	r := &run{in: &in, at: in.View.StartedAt}
	r.fact(0, "started", "", "running")
	r.fact(0, "step-sent", "auth", "running", "attempt", "1")
	r.message("out", "do", "psp.authorise", "auth", "cmd.psp", `{"amount":"74.50","currency":"EUR","card":"tok_••••"}`, "", "")
	r.fact(31*time.Millisecond, "step-sent", "auth", "running", "attempt", "2")
	r.fact(24*time.Millisecond, "step-done", "auth", "running", "attempt", "2")
	r.message("in", "reply", "psp.authorise", "auth", "pay.saga.replies", `{"authId":"a-5521"}`, "ok", "")
	r.fact(0, "step-sent", "reserve", "running", "attempt", "1")
	r.message("out", "do", "stock.reserve", "reserve", "cmd.stock", `{"items":[{"sku":"sku-9","qty":2}]}`, "", "")
	r.fact(12*time.Millisecond, "step-done", "reserve", "running", "attempt", "1")
	r.message("in", "reply", "stock.reserve", "reserve", "pay.saga.replies", `{"reservationId":"r-118"}`, "ok", "")
	r.fact(0, "step-sent", "capture", "running", "attempt", "1")
	r.message("out", "do", "psp.capture", "capture", "cmd.psp", `{"authId":"a-5521","amount":"74.50"}`, "", "")
	r.fact(27*time.Millisecond, "step-rejected", "capture", "running", "code", "INSUFFICIENT_FUNDS", "message", "the account has 12.00")
	r.message("in", "reply", "psp.capture", "capture", "pay.saga.replies", `{}`, "rejected", "INSUFFICIENT_FUNDS")
	r.fact(0, "compensating", "capture", "compensating", "message", "the account has 12.00")
	r.fact(0, "undo-sent", "reserve", "compensating", "attempt", "1")
	r.message("out", "undo", "stock.release", "reserve", "cmd.stock", `{"reservationId":"r-118"}`, "", "")
	r.fact(5*time.Second, "undo-sent", "reserve", "compensating", "attempt", "2")
	r.fact(10*time.Millisecond, "step-undone", "reserve", "compensating", "noop", "false")
	r.message("in", "reply", "stock.release", "reserve", "pay.saga.replies", `{}`, "ok", "")
	r.fact(0, "undo-sent", "auth", "compensating", "attempt", "1")
	r.message("out", "undo", "psp.void", "auth", "cmd.psp", `{"authId":"a-5521"}`, "", "")
	r.fact(18*time.Millisecond, "step-undone", "auth", "compensating", "noop", "false")
	r.message("in", "reply", "psp.void", "auth", "pay.saga.replies", `{}`, "ok", "")
	r.fact(0, "compensated", "", "compensated")
	in.View.EndedAt = r.at
	return in
}

// stuck is a transfer whose payment has an unknown outcome.
func (f *fake) stuck() Instance {
	in := Instance{
		View: sagas.View{
			WorkflowID: "fx-transfer/7f3c-2291", Type: "fx-transfer", ID: "7f3c-2291", Version: 1, Run: 1, Phase: "running", Status: "attention",
			StartedAt: f.ago(3 * time.Hour), Deadline: f.now + 23*3600_000, Due: f.now + 214_000,
			Attention: []sagas.AttentionView{{Path: "send", Reason: "UNKNOWN_OUTCOME", Text: "no answer after 1 attempt and 12 questions", Since: f.ago(41 * time.Minute)}},
			Tags:      []sagas.TagView{{Key: "amount", Value: "250000.00"}, {Key: "customer", Value: "acme"}},
			Input:     json.RawMessage(`{"amount":"250000.00","currency":"EUR","creditor":{"iban":"••••","currency":"USD"},"debtor":{"iban":"••••"},"createdBy":"jo"}`),
		},
		Definition: example(f.t, "fx-transfer"), Owner: Place{"amends-3:8480", 9}, FactsFrom: 1,
		Explain: Explanation{
			Sentence: "It waits for a person: nobody knows whether rail.pay took effect, and no rule may decide it.", Reason: "UNKNOWN_OUTCOME",
			Facts: []NV{{"command", "cmd.rail[4]@18211"}, {"group of rail", "has read past it, lag 0"}, {"asked", "12 times, last 4 min ago"}, {"breaker", "closed"}},
			Next:  []Advice{{"Resolve: say what became of it", "resolve", "send"}, {"Ask again", "retry", "send"}, {"Look it up in the rail's records by the saga-key first.", "", ""}},
			Timer: f.now + 214_000, TimerFor: "The next question goes out",
		},
		Offers: []Offer{
			{Action: "resolve", Path: "send", Title: "Resolve", Text: "You know what became of it: say so, and the run goes on from there.", Args: []Arg{{Name: "effect", Label: "Did it take effect?", Choice: []string{"done", "none"}, Default: "done", Must: true}, {Name: "output", Label: "Its output, JSON", JSON: true, Default: "{}"}}},
			{Action: "retry", Path: "send", Title: "Retry", Text: "Send it again under the same key; its attempts begin anew."},
			{Action: "retry-new-key", Path: "send", Title: "Retry with a new key", Text: "Send it as something new. If the first one took effect, it happens twice.", Risky: true},
			{Action: "skip", Path: "send", Title: "Skip", Text: "Go on as if it were done.", Refused: "the point of no return cannot be skipped"},
			{Action: "compensate", Title: "Compensate", Text: "Turn round and undo what is done, last first.", Refused: "its outcome is not known"},
			{Action: "suspend", Title: "Suspend", Text: "Send nothing until it is resumed; answers are taken."},
			{Action: "extend", Title: "Extend the deadline", Text: "Give it more time.", Args: []Arg{{Name: "by", Label: "By, in hours", Default: "24", Must: true}}},
			{Action: "close", Title: "Close", Text: "End the run here. What may have effects becomes residue.", Risky: true},
		},
		Children: []Related{{"ledger-posting/7f3c-2291", "completed", "settle", "started by this one"}},
	}
	screen := step("screen", "readonly", "aml", "screen", "DONE", 1)
	screen.Output = json.RawMessage(`{"result":"CLEAR"}`)
	hold := step("hold", "compensatable", "ledger", "hold", "DONE", 1)
	hold.Output = json.RawMessage(`{"holdId":"h-9"}`)
	sign := sagas.StepView{Path: "signoff", Node: "approve", Kind: "approve", State: "DONE", Roles: []string{"treasury"}, Quorum: 2}
	send := step("send", "pivot", "rail", "pay", "UNKNOWN", 1)
	send.Asked = 12
	block := func(path, node, state string) sagas.StepView {
		return sagas.StepView{Path: path, Node: node, State: state}
	}
	in.View.Steps = []sagas.StepView{screen, block("hits", "choose", "DONE"), block("blocked", "fail", "SKIPPED"), hold, block("limit", "choose", "DONE"), sign, block("price", "scope", "DONE"),
		step("price[1]/quote", "compensatable", "fx", "quote", "DONE", 1), step("price[1]/deal", "compensatable", "fx", "book", "DONE", 1), send, step("settle", "retriable", "ledger", "settle", "IDLE", 0)}
	in.View.Obligations = []sagas.Obligation{{Path: "hold", State: "DONE"}, {Path: "price[1]/deal", State: "DONE"}, {Path: "send", State: "UNKNOWN"}}
	r := &run{in: &in, at: in.View.StartedAt}
	r.fact(0, "started", "", "running")
	r.fact(0, "step-sent", "screen", "running", "attempt", "1")
	r.message("out", "do", "aml.screen", "screen", "cmd.aml", `{"from":{"iban":"••••"},"to":{"iban":"••••"}}`, "", "")
	r.fact(420*time.Millisecond, "step-done", "screen", "running", "attempt", "1")
	r.message("in", "reply", "aml.screen", "screen", "pay.saga.replies", `{"result":"CLEAR"}`, "ok", "")
	r.fact(0, "step-sent", "hold", "running", "attempt", "1")
	r.fact(38*time.Millisecond, "step-done", "hold", "running", "attempt", "1")
	r.fact(0, "task-opened", "signoff", "running", "quorum", "2", "roles", "treasury")
	r.fact(47*time.Minute, "task-decided", "signoff", "running", "actor", "ann", "decision", "approve")
	r.fact(32*time.Minute, "task-decided", "signoff", "running", "actor", "bob", "decision", "approve")
	r.fact(0, "resolved", "signoff", "running", "node", "approve")
	r.fact(0, "step-sent", "price[1]/quote", "running", "attempt", "1")
	r.fact(88*time.Millisecond, "step-done", "price[1]/quote", "running", "attempt", "1")
	r.fact(0, "step-sent", "price[1]/deal", "running", "attempt", "1")
	r.fact(140*time.Millisecond, "step-done", "price[1]/deal", "running", "attempt", "1")
	r.fact(0, "step-sent", "send", "running", "attempt", "1")
	r.message("out", "do", "rail.pay", "send", "cmd.rail", `{"uetr":"0b7c2f7e-9a53-5d5c-8d2e-000000000007","amount":"268410.00"}`, "", "")
	r.fact(25*time.Second, "inquired", "send", "running", "attempt", "1")
	r.message("out", "inquire", "rail.status", "send", "cmd.rail", `{}`, "", "")
	r.fact(59*time.Minute, "step-unknown", "send", "running")
	r.fact(0, "attention", "send", "running", "reason", "UNKNOWN_OUTCOME", "text", "no answer after 1 attempt and 12 questions")
	in.Facts[len(in.Facts)-1].Attention = []string{"send"}
	return in
}

// big is an instance with a long history.
func (f *fake) big(events int) Instance {
	in := f.compensated()
	in.View.WorkflowID, in.View.ID = "card-payment/big-"+strconv.Itoa(events), "big-"+strconv.Itoa(events)
	in.Facts, in.Messages, in.View.Steps = nil, nil, nil
	r := &run{in: &in, at: f.ago(time.Hour)}
	r.fact(0, "started", "", "running")
	for i := 0; len(in.Facts) < events; i++ {
		path := fmt.Sprintf("lines[sku-%d]/reserve", i)
		in.View.Steps = append(in.View.Steps, step(path, "compensatable", "stock", "reserve", "DONE", 1))
		r.fact(time.Millisecond, "step-sent", path, "running", "attempt", "1")
		r.message("out", "do", "stock.reserve", path, "cmd.stock", `{"sku":"sku"}`, "", "")
		r.fact(7*time.Millisecond, "step-done", path, "running", "attempt", "1")
		r.message("in", "reply", "stock.reserve", path, "pay.saga.replies", `{"reservationId":"r"}`, "ok", "")
	}
	return in
}

func (f *fake) Preview(_ context.Context, a Action) (Preview, error) {
	if f.fail != nil {
		return Preview{}, f.fail
	}
	if a.Action != "retry" && a.Action != "retry-new-key" {
		return Preview{Rev: 19, Effects: []string{"step send: UNKNOWN becomes DONE", "the point of no return is passed", "step settle is sent next"}, Commands: []Planned{
			{Op: "do", Name: "ledger.settle", Topic: "cmd.ledger", Partition: 4, Path: "settle", Attempt: 1, Key: "5e0cf0a2-7a55-5d0e-9a7f-0000000000aa", Payload: json.RawMessage(`{"holdId":"h-9","dealId":"d-77"}`)},
		}}, nil
	}
	return Preview{Rev: 19, Warnings: []string{"The first attempt may still take effect: the participant must know the key."}, Commands: []Planned{
		{Op: "do", Name: "rail.pay", Topic: "cmd.rail", Partition: 4, Path: "send", Attempt: 2, Key: "0b7c2f7e-9a53-5d5c-8d2e-000000000007", Payload: json.RawMessage(`{"uetr":"0b7c2f7e-9a53-5d5c-8d2e-000000000007","amount":"268410.00"}`)},
	}}, nil
}

func (f *fake) Act(_ context.Context, a Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.acted = append(f.acted, a)
	return nil
}

func (f *fake) Watch(ctx context.Context, _, _ string) (<-chan string, error) {
	c := make(chan string, 8)
	f.mu.Lock()
	f.changes = append(f.changes, c)
	f.mu.Unlock()
	return c, f.fail
}

// change tells every reader.
func (f *fake) change(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.changes {
		c <- id
	}
}
