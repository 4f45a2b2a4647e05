package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

func (f *fake) Overview(context.Context) (Overview, error) {
	if f.empty {
		return Overview{Compensated: -1, FinishedHr: -1, Since: f.ago(6 * time.Hour), Until: f.now}, f.fail
	}
	pulse := func(base, undone, bad int) []Segment {
		var out []Segment
		for i := range 48 {
			wave := base + base*((i*7)%13)/24
			s := Segment{Completed: wave, Compensated: undone * (1 + i%4) / 2}
			if i > 30 && i < 36 {
				s.Compensated += base / 3
				s.Attention = bad
			}
			out = append(out, s)
		}
		return out
	}
	return Overview{
		Active: 1284, FinishedHr: 48213, Compensated: 0.0312, OldestAge: (9 * 24 * time.Hour).Milliseconds(), Since: f.ago(6 * time.Hour), Until: f.now, Counted: f.ago(5 * time.Hour),
		Sagas: []SagaPulse{
			{Saga: "card-payment", Version: 3, Active: 214, Attention: 9, Finished: 281044, Compensated: 9021, P50: 58, P95: 143, Pulse: pulse(90, 3, 6)},
			{Saga: "fx-transfer", Version: 1, Active: 61, Attention: 5, Finished: 1204, Compensated: 88, P50: 4210, P95: 8_640_000, Pulse: pulse(24, 2, 2)},
			{Saga: "trip-booking", Version: 2, Active: 1009, Finished: 3310, Compensated: 402, P50: 71_000, P95: 93_000_000, Pulse: pulse(30, 5, 0)},
		},
		Nodes: f.nodes(),
		Changes: []Change{
			{f.ago(12 * time.Minute), "operator", "mira retried 40 instances of card-payment / auth", "/batches/b-17"},
			{f.ago(95 * time.Minute), "breaker", "cmd.psp takes nothing: NOT_ENOUGH_REPLICAS", "/cluster"},
			{f.ago(2 * time.Hour), "definition", "card-payment v3 is active", "/definitions/card-payment"},
			{f.ago(4 * time.Hour), "deploy", "amends-3 runs 0.2.0", "/cluster"},
			{f.ago(4*time.Hour + 3*time.Minute), "rebalance", "4 partitions moved from amends-3", "/cluster"},
		},
	}, f.fail
}

func (f *fake) nodes() []Node {
	return []Node{
		{Name: "amends-1:8480", Version: "0.2.0", State: "ready", Tasks: 5, Level: 2, Self: true},
		{Name: "amends-2:8480", Version: "0.2.0", State: "restoring", Tasks: 4, Level: 2},
		{Name: "amends-3:8480", Version: "0.1.4", State: "draining", Tasks: 3, Level: 2},
	}
}

func (f *fake) Cluster(context.Context) (Cluster, error) {
	c := Cluster{Nodes: f.nodes(), Level: 2, Supports: 2}
	names := []string{"amends-1:8480", "amends-2:8480", "amends-3:8480"}
	for i := range 12 {
		t := TaskRow{Task: int32(i), Owner: names[(i*5+i/5)%3], State: "running", Restored: 1, Lag: int64(i * i % 7), Bytes: int64(41+i*13) << 20}
		t.Standbys = []Standby{{Node: names[((i*5+i/5)+1)%3], Lag: int64(i % 4 * 3)}}
		if i == 7 {
			t.State, t.Restored, t.LeftMs, t.Left, t.Lag = "restoring", 0.62, 4200, 118_000, 341
		}
		c.Tasks = append(c.Tasks, t)
	}
	c.Destinations = []Destination{{Topic: "cmd.psp", State: "blocked", Reason: "NOT_ENOUGH_REPLICAS on 1 of 6 partitions", Since: f.ago(95 * time.Second), Waiting: 214}, {Topic: "cmd.ship", State: "probing", Reason: "TOPIC_AUTHORIZATION_FAILED", Since: f.ago(40 * time.Minute), Waiting: 3}}
	c.Rollout = []RolloutRow{
		{Node: "amends-1:8480", Version: "0.2.0", Steps: []string{"done", "done", "done", "done"}},
		{Node: "amends-2:8480", Version: "0.2.0", Steps: []string{"done", "done", "now", "next"}, Lag: 341},
		{Node: "amends-3:8480", Version: "0.1.4", Steps: []string{"now", "next", "next", "next"}, Lag: 12},
	}
	return c, f.fail
}

func (f *fake) Bindings(context.Context) ([]Binding, error) {
	if f.empty {
		return nil, f.fail
	}
	return []Binding{
		{Key: "card-payment/orders", Saga: "card-payment", Version: 3, Topic: "shop.orders", Action: "start", When: `value.channel == "web"`, From: "now", Group: "pay.saga.binding.card-payment.orders", Lag: 12},
		{Key: "card-payment/refunds", Saga: "card-payment", Version: 3, Topic: "bank.refunds", Action: "signal", Signal: "refunded", From: "earliest", Group: "pay.saga.binding.card-payment.refunds", Lag: 48213,
			Paused: true, By: "mira", Reason: "the bank sends refunds twice", At: f.ago(31 * time.Minute)},
		{Key: "fx-transfer/rates", Saga: "fx-transfer", Version: 1, Topic: "market.rates", Action: "startOrSignal", Signal: "rate", From: "now", Group: "pay.saga.binding.fx-transfer.rates", Lag: -1, Problem: "the schema registry does not answer; it is tried again"},
	}, f.fail
}

func (f *fake) HoldBinding(_ context.Context, key string, paused bool, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, fmt.Sprint(key, " paused ", paused, " ", reason))
	return f.fail
}

func (f *fake) ReplayBinding(_ context.Context, r BindingReplay) (BindingPreview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, fmt.Sprint(r.Key, " again ", r.From, " ", r.To, " ", r.DryRun))
	return BindingPreview{Records: 1204, Matched: 1180, Dead: 2, Written: 1178, Reasons: []string{"INVALID_INPUT: input.amount is missing"}}, f.fail
}

func (f *fake) Attention(context.Context) ([]AttentionGroup, error) {
	if f.empty {
		return nil, f.fail
	}
	retry := Offer{Action: "retry", Title: "Retry", Text: "Send it again under the same key; its attempts begin anew."}
	resolve := Offer{Action: "resolve", Title: "Resolve", Text: "Say what became of it.", Args: []Arg{{Name: "effect", Label: "Did it take effect?", Choice: []string{"done", "none"}, Default: "none", Must: true}}}
	skip := Offer{Action: "skip", Title: "Skip", Text: "Go on as if it were done.", Refused: "a command is on its way"}
	waive := Offer{Action: "waive", Title: "Waive", Text: "Give the undo up; its effect becomes residue.", Risky: true}
	return []AttentionGroup{
		{ID: "g1", Saga: "fx-transfer", Step: "send", Reason: "UNKNOWN_OUTCOME", Count: 5, First: f.ago(3 * time.Hour), Last: f.ago(11 * time.Minute), Trend: []int{1, 0, 0, 2, 1, 0, 0, 1},
			Text: "no answer after 1 attempt and 12 questions", Sample: []string{"fx-transfer/7f3c-2291", "fx-transfer/7f3c-2204"}, Helps: []Offer{resolve, retry}, Query: `attention && type == "fx-transfer"`},
		{ID: "g2", Saga: "card-payment", Step: "auth", Reason: "UNDO_FAILED", Code: "ACCOUNT_CLOSED", Undo: true, Count: 7, First: f.ago(26 * time.Hour), Last: f.ago(2 * time.Hour), Trend: []int{0, 1, 4, 2, 0, 0, 0, 0},
			Text: "the account of the card is closed", Sample: []string{"card-payment/order-99011", "card-payment/order-99107", "card-payment/order-99230"}, Helps: []Offer{retry, resolve, waive}, Query: `attention && type == "card-payment"`, Owner: "payments", Runbook: "https://runbooks.example/undo-failed"},
		{ID: "g3", Saga: "card-payment", Step: "ship", Reason: "SLOW", Count: 2, First: f.ago(70 * time.Minute), Last: f.ago(66 * time.Minute), Sample: []string{"card-payment/order-100240"}, Helps: []Offer{retry, skip}, Query: `attention && version == 2`},
	}, f.fail
}

func (f *fake) PreviewBulk(_ context.Context, b BulkAction) (BulkPreview, error) {
	p := BulkPreview{Count: 7, Refuse: 1}
	for i := range 4 {
		item := BulkItem{WorkflowID: fmt.Sprintf("card-payment/order-99%03d", 11+i*48), Path: "auth"}
		if i == 2 {
			item.Refused = "it was settled meanwhile"
		} else {
			item.Commands = []Planned{{Op: "undo", Name: "psp.void", Topic: "cmd.psp", Partition: int32(i), Path: "auth", Attempt: 4, Key: "0b7c2f7e-9a53-5d5c-8d2e-00000000000" + fmt.Sprint(i), Payload: []byte(`{"authId":"a-1"}`)}}
		}
		p.Sample = append(p.Sample, item)
	}
	return p, f.fail
}

func (f *fake) ActBulk(_ context.Context, b BulkAction) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bulk = append(f.bulk, b)
	return "b-17", f.fail
}

func (f *fake) Batches(context.Context) ([]Batch, error) {
	if f.empty {
		return nil, f.fail
	}
	b, _ := f.Batch(context.Background(), "b-17")
	old := b
	old.ID, old.State, old.Done, old.Refused, old.Started, old.Ended, old.Reason, old.Action = "b-16", "done", 38, 2, f.ago(27*time.Hour), f.ago(26*time.Hour), "the bank was down from 10 to 11", "resolve"
	return []Batch{b, old}, f.fail
}

func (f *fake) Batch(_ context.Context, id string) (Batch, error) {
	b := Batch{ID: id, Action: "retry", Query: `attention && type == "card-payment"`, Reason: "the bank is back", Actor: "mira", State: "running", Count: 40, Done: 21, Refused: 1, Rate: 20, Started: f.ago(3 * time.Second)}
	for i := range 8 {
		item := BulkItem{WorkflowID: fmt.Sprintf("card-payment/order-99%03d", 11+i*48), Path: "auth", State: "done"}
		if i == 3 {
			item.State, item.Refused = "refused", "it was settled meanwhile"
		} else if i > 5 {
			item.State = "waiting"
		}
		b.Items = append(b.Items, item)
	}
	return b, f.fail
}

func (f *fake) SteerBatch(_ context.Context, id, verb string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, id+" "+verb)
	return f.fail
}

func (f *fake) Tasks(context.Context) ([]Task, error) {
	if f.empty {
		return nil, f.fail
	}
	return []Task{
		{WorkflowID: "fx-transfer/7f3c-2290", Path: "signoff", Saga: "fx-transfer", Roles: []string{"treasury"}, Not: []string{"jo"}, Quorum: 2, Opened: f.ago(52 * time.Minute), Due: f.now + 83_000_000,
			Votes: []sagas.VoteView{{Actor: "ann", Decision: "approve", Comment: "the customer is known", At: f.ago(31 * time.Minute)}}, Facts: []NV{{"amount", "88000.00 EUR"}, {"customer", "globex"}}},
		{WorkflowID: "shop-payment/s-771", Path: "desk", Saga: "shop-payment", Roles: []string{"fraud-desk"}, Quorum: 1, Opened: f.ago(18 * time.Minute), Due: f.now + 120_000, Facts: []NV{{"score", "74"}, {"amount", "2 400.00 EUR"}}, Claimed: "mira"},
		{WorkflowID: "fx-transfer/7f3c-2288", Path: "signoff", Saga: "fx-transfer", Roles: []string{"treasury"}, Quorum: 2, Opened: f.ago(5 * time.Hour), Due: f.now + 60_000_000, Mine: "You have made this transfer, so others decide.", Facts: []NV{{"amount", "61000.00 EUR"}}},
	}, f.fail
}

func (f *fake) Decide(_ context.Context, d Decision) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decided = append(f.decided, d)
	return f.fail
}

func (f *fake) letter() DeadLetter {
	return DeadLetter{
		DeadLetterRow: DeadLetterRow{ID: "3-118", Class: "INVALID_INPUT", Message: `input.amout is not a field. Did you mean "amount"?`, WorkflowID: "card-payment/order-100250", Origin: Position{"pay.saga.intake", 3, 90112}, At: f.ago(9 * time.Minute), Bytes: 92, Node: "amends-2:8480"},
		Stage:         "intake", Format: "json", Key: "card-payment/order-100250", Decoded: "{\n  \"type\": \"card-payment\",\n  \"id\": \"order-100250\",\n  \"input\": {\n    \"amout\": \"19.90\"\n  }\n}",
		Raw: []byte(`{"type":"card-payment","id":"order-100250","input":{"amout":"19.90"}}`), Editable: true, ReplayTo: "pay.saga.intake",
		Explain: "The start does not fit the input that its definition declares, so nothing was begun.",
		Headers: []NV{{"content-type", "application/json"}, {"__saga.errors.class", "INVALID_INPUT"}, {"__saga.errors.topic", "pay.saga.intake"}, {"__saga.errors.offset", "90112"}},
	}
}

func (f *fake) DeadLetters(_ context.Context, class, _ string) (DeadLetterPage, error) {
	if f.empty {
		return DeadLetterPage{}, f.fail
	}
	page := DeadLetterPage{Classes: []ClassCount{{"INVALID_INPUT", 3}, {"ORPHAN_REPLY", 3}, {"UNMATCHED_SIGNAL", 1}}}
	for i, r := range []DeadLetterRow{
		f.letter().DeadLetterRow,
		{ID: "1-44", Class: "ORPHAN_REPLY", Message: "no instance has sent this token", WorkflowID: "", Origin: Position{"pay.saga.replies", 1, 4410}, At: f.ago(31 * time.Minute), Bytes: 212},
		{ID: "5-9", Class: "UNMATCHED_SIGNAL", Message: "the instance has ended", WorkflowID: "trip-booking/trip-880", Origin: Position{"pay.saga.intake", 5, 221}, At: f.ago(4 * time.Hour), Bytes: 149},
	} {
		if i < 3 && (class == "" || r.Class == class) {
			page.Rows = append(page.Rows, r)
		}
	}
	return page, f.fail
}

func (f *fake) DeadLetter(_ context.Context, id string) (DeadLetter, error) {
	if id != "3-118" {
		return DeadLetter{}, &Problem{Status: 404, Code: "SG61", Title: "No such dead letter"}
	}
	l := f.letter()
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.replays); n > 0 && !f.replays[n-1].DryRun {
		l.SettledAs, l.SettledBy, l.SettledFor = "replayed", "mira", f.replays[n-1].Reason
	}
	return l, f.fail
}

func (f *fake) Replay(_ context.Context, r Replay) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.Contains(r.Value, "amout") {
		return &Problem{Status: 422, Code: "SG41", Title: "The value does not fit its schema", Detail: `input.amout is not a field. Did you mean "amount"?`}
	}
	f.replays = append(f.replays, r)
	return f.fail
}

func (f *fake) Drop(_ context.Context, id, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropped = append(f.dropped, id+" "+reason)
	return f.fail
}

func (f *fake) row() DefinitionRow {
	return DefinitionRow{Saga: "card-payment", Active: 3, Owner: "payments", Versions: []VersionRow{
		{Version: 3, Digest: "9f2c55d01b7ae4c1", InFlight: 181, Attention: 2, Active: true, Loaded: 3, Nodes: 3}, {Version: 2, Digest: "61b0aa91c3d2f7e0", InFlight: 31, Attention: 7, Loaded: 3, Nodes: 3}, {Version: 1, Digest: "0d77ce42b8a91f35", InFlight: 2, Loaded: 2, Nodes: 3},
	}}
}

func (f *fake) Definitions(context.Context) ([]DefinitionRow, error) {
	if f.empty {
		return nil, f.fail
	}
	return []DefinitionRow{f.row(),
		{Saga: "fx-transfer", Active: 1, Owner: "treasury", Versions: []VersionRow{{Version: 1, InFlight: 61, Attention: 5, Active: true}}},
		{Saga: "trip-booking", Active: 2, Versions: []VersionRow{{Version: 2, InFlight: 1009, Active: true}, {Version: 1}}},
	}, f.fail
}

func (f *fake) Definition(_ context.Context, saga string, version, against uint32) (Definition, error) {
	if saga != "card-payment" {
		return Definition{}, &Problem{Status: 404, Code: "SG61", Title: "No such saga"}
	}
	src := string(exampleSource(f.t, "card-payment"))
	d := Definition{
		Row: f.row(), Version: max(version, 1), Def: example(f.t, "card-payment"), Source: src, Against: against,
		Heat: []StepHeat{{"auth", 281044, 7011, 12, 2010, 24, 61, 1.02}, {"reserve", 273900, 2010, 0, 1980, 11, 19, 1}, {"capture", 271800, 1980, 4, 0, 27, 74, 1}, {"ship", 271790, 0, 14000, 0, 9, 2400, 1.21}},
		Stands: []Stand{
			{3, "capture", 150}, {3, "auth", 31}, {2, "ship", 31}, {1, "ship", 2},
		},
	}
	if version == 0 {
		d.Version = 3
	}
	if against != 0 {
		d.Diff = Diff("  - id: auth\n    call: psp.authorise\n    attempt: 10s\n    within: 2m", "  - id: auth\n    call: psp.authorise\n    attempt: 15s\n    within: 2m\n    onUnknown: inquire")
	}
	return d, f.fail
}

func (f *fake) Activate(_ context.Context, saga string, version uint32, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, fmt.Sprint("activate ", saga, " ", version, " ", reason))
	return f.fail
}

func (f *fake) Audit(context.Context, string) (AuditPage, error) {
	if f.empty {
		return AuditPage{}, f.fail
	}
	return AuditPage{Next: "a2", Rows: []AuditRow{
		{At: f.ago(12 * time.Minute), Actor: "mira", Action: "retry", WorkflowID: "card-payment/order-99011", Path: "auth", Reason: "the bank is back", Before: "U_STOPPED", After: "U_PENDING", Position: &Position{"pay.saga.lifecycle", 3, 88121}},
		{At: f.ago(31 * time.Minute), Actor: "ann", Action: "approve", WorkflowID: "fx-transfer/7f3c-2290", Path: "signoff", Reason: "the customer is known", Position: &Position{"pay.saga.lifecycle", 9, 1422}},
		{At: f.ago(2 * time.Hour), Actor: "jo", Action: "activate", Reason: "card-payment v3: asks the bank before it gives up", Before: "v2", After: "v3"},
		{At: f.ago(9 * time.Hour), Actor: "mira", Action: "close", WorkflowID: "card-payment/order-100238", Reason: "the customer has paid in cash", Before: "running", After: "closed", Position: &Position{"pay.saga.lifecycle", 1, 5}},
	}}, f.fail
}
