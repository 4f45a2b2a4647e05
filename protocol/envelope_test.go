package protocol

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var sampleCommand = Command{
	Token:          sampleToken.Encode(nil),
	WorkflowID:     "card-payment/order-1",
	Op:             OpDo,
	Name:           "authorise",
	Key:            "4dc5a6a2-7c0d-4b8b-9a57-0c2a3a3f8f11",
	Attempt:        2,
	Deadline:       1900000000000,
	ReplyTo:        "pay.saga.replies",
	ReplyPartition: 7,
	Definition:     "card-payment@3",
	Trace:          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	ContentType:    ContentJSON,
}

// text shows headers as people see them.
func text(hs []Header) string {
	var b strings.Builder
	for _, h := range hs {
		b.WriteString(h.Key + "=" + string(h.Value) + "\n")
	}
	return b.String()
}

// with returns hs with one header replaced, or removed when value is "-".
func with(hs []Header, key, value string) []Header {
	var out []Header
	for _, h := range hs {
		if h.Key != key {
			out = append(out, h)
		}
	}
	if value != "-" {
		out = append(out, Header{key, []byte(value)})
	}
	return out
}

func TestCommandHeaders(t *testing.T) {
	const want = `saga-token=AQEBAQMUY2FyZC1wYXltZW50L29yZGVyLTEEYXV0aA
saga-wid=card-payment/order-1
saga-op=do
saga-cmd=authorise
saga-key=4dc5a6a2-7c0d-4b8b-9a57-0c2a3a3f8f11
saga-attempt=2
saga-deadline=1900000000000
saga-reply-to=pay.saga.replies
saga-reply-partition=7
saga-def=card-payment@3
idempotency-key=4dc5a6a2-7c0d-4b8b-9a57-0c2a3a3f8f11
traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
content-type=application/json
`
	if diff := cmp.Diff(want, text(sampleCommand.Headers())); diff != "" {
		t.Error(diff)
	}
	undo := sampleCommand
	undo.Op, undo.ForwardKey = OpUndo, "k1"
	got := text(undo.Headers())
	if strings.Contains(got, HeaderDeadline) || !strings.Contains(got, "saga-fwd-key=k1\n") {
		t.Errorf("undo:\n%s", got)
	}
	undo.Deadline = 0
	if back, err := ParseCommand(undo.Headers()); err != nil || back != undo {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestHeadersDoNotOverlap(t *testing.T) {
	hs := sampleCommand.Headers()
	before := text(hs)
	for i := range hs {
		_ = append(hs[i].Value, "overwritten"...)
	}
	if diff := cmp.Diff(before, text(hs)); diff != "" {
		t.Error(diff)
	}
}

func TestCommandRoundTrip(t *testing.T) {
	word := rapid.StringN(1, 40, MaxName)
	rapid.Check(t, func(t *rapid.T) {
		in := Command{
			Token:          rapid.StringMatching(`[A-Za-z0-9_-]{1,200}`).Draw(t, "token"),
			WorkflowID:     rapid.StringN(1, 100, MaxWorkflowID).Draw(t, "wid"),
			Op:             rapid.SampledFrom([]Op{OpDo, OpUndo, OpInquire}).Draw(t, "op"),
			Name:           word.Draw(t, "name"),
			Key:            word.Draw(t, "key"),
			Attempt:        rapid.Uint32Min(1).Draw(t, "attempt"),
			ReplyTo:        word.Draw(t, "reply to"),
			ReplyPartition: rapid.Int32Min(0).Draw(t, "partition"),
			Definition:     word.Draw(t, "def"),
			Trace:          rapid.StringN(0, 55, 100).Draw(t, "trace"),
			ContentType:    rapid.StringN(0, 55, 100).Draw(t, "content type"),
		}
		if in.Op != OpDo {
			in.ForwardKey = word.Draw(t, "fwd")
		}
		if in.Op != OpUndo {
			in.Deadline = rapid.Int64Range(1, MaxTime).Draw(t, "deadline")
		}
		out, err := ParseCommand(in.Headers())
		if err != nil || out != in {
			t.Fatalf("got %+v, %v; want %+v", out, err, in)
		}
	})
}

func TestParseCommandRefused(t *testing.T) {
	hs := sampleCommand.Headers()
	for _, c := range []struct{ key, value string }{
		{HeaderToken, "-"}, {HeaderToken, ""}, {HeaderWorkflowID, "-"}, {HeaderWorkflowID, strings.Repeat("x", MaxWorkflowID+1)},
		{HeaderOp, "-"}, {HeaderOp, "DO"}, {HeaderOp, " do"}, {HeaderOp, "redo"}, {HeaderCommand, "-"}, {HeaderKey, "-"},
		{HeaderForwardKey, "k"}, {HeaderAttempt, "-"}, {HeaderAttempt, "0"}, {HeaderAttempt, "+1"}, {HeaderAttempt, "01"},
		{HeaderAttempt, "1.0"}, {HeaderAttempt, "4294967296"}, {HeaderAttempt, "99999999999999999999"}, {HeaderDeadline, "-"},
		{HeaderDeadline, "soon"}, {HeaderReplyTo, "-"}, {HeaderReplyPartition, "-"}, {HeaderReplyPartition, "-1"},
		{HeaderReplyPartition, "2147483648"}, {HeaderTraceparent, "\xff"},
	} {
		_, err := ParseCommand(with(hs, c.key, c.value))
		var e *Error
		if !errors.As(err, &e) || e.Field != c.key {
			t.Errorf("%s = %q: got %v", c.key, c.value, err)
		}
	}
	for name, c := range map[string]struct {
		hs    []Header
		field string
	}{
		"undo without forward key": {with(with(hs, HeaderOp, "undo"), HeaderDeadline, "-"), HeaderForwardKey},
		"undo with deadline":       {with(with(hs, HeaderOp, "undo"), HeaderForwardKey, "k"), HeaderDeadline},
		"twice":                    {append(hs[:len(hs):len(hs)], Header{HeaderKey, []byte("k")}), HeaderKey},
		"too many headers":         {make([]Header, MaxHeaders+1), ""},
		"too many bytes":           {with(hs, "x", strings.Repeat("x", MaxHeaderBytes)), ""},
	} {
		_, err := ParseCommand(c.hs)
		var e *Error
		if !errors.As(err, &e) || e.Field != c.field {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseCommandKeepsTheAddress(t *testing.T) {
	got, err := ParseCommand(with(sampleCommand.Headers(), HeaderAttempt, "-"))
	want := Command{Token: sampleCommand.Token, WorkflowID: sampleCommand.WorkflowID, Op: OpDo, Key: sampleCommand.Key, ReplyTo: sampleCommand.ReplyTo, ReplyPartition: 7}
	if err == nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = ParseCommand(nil)
	if err == nil || got != (Command{ReplyPartition: -1}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestReplyDefaults(t *testing.T) {
	for outcome, effect := range map[Outcome]Effect{
		OutcomeOK: EffectDone, OutcomeRejected: EffectNone, OutcomeFailedRetriable: EffectUnknown, OutcomeFailedFatal: EffectUnknown,
		OutcomeProgress: EffectUnknown, OutcomeExecuted: EffectDone, OutcomeNotExecuted: EffectNone, OutcomeRunning: EffectUnknown,
	} {
		got, err := ParseReply([]Header{{HeaderToken, []byte("t")}, {HeaderOutcome, []byte(outcome)}})
		if err != nil || got.Effect != effect {
			t.Errorf("%s: got %+v, %v", outcome, got, err)
		}
		for _, stated := range []Effect{EffectNone, EffectDone, EffectUnknown} {
			_, err := ParseReply([]Header{{HeaderToken, []byte("t")}, {HeaderOutcome, []byte(outcome)}, {HeaderEffect, []byte(stated)}})
			failed := outcome == OutcomeFailedRetriable || outcome == OutcomeFailedFatal
			if ok := err == nil; ok != (failed || stated == effect) {
				t.Errorf("%s with effect %s: %v", outcome, stated, err)
			}
		}
	}
}

func TestReplyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Reply{
			Token:       rapid.StringMatching(`[A-Za-z0-9_-]{1,200}`).Draw(t, "token"),
			Outcome:     rapid.SampledFrom(allOutcomes).Draw(t, "outcome"),
			Code:        rapid.StringN(0, 20, MaxCode).Draw(t, "code"),
			Message:     rapid.StringN(0, 100, MaxMessage).Draw(t, "message"),
			RetryAfter:  rapid.Int64Range(0, MaxTime).Draw(t, "retry after"),
			Noop:        rapid.Bool().Draw(t, "noop"),
			Replayed:    rapid.Bool().Draw(t, "replayed"),
			ContentType: rapid.StringN(0, 20, 60).Draw(t, "content type"),
		}
		in.Effect = in.Outcome.DefaultEffect()
		if in.Outcome == OutcomeFailedFatal {
			in.Effect = rapid.SampledFrom([]Effect{EffectNone, EffectDone, EffectUnknown}).Draw(t, "effect")
		}
		out, err := ParseReply(in.Headers())
		if err != nil || out != in {
			t.Fatalf("got %+v, %v; want %+v", out, err, in)
		}
	})
}

var allOutcomes = []Outcome{OutcomeOK, OutcomeRejected, OutcomeFailedRetriable, OutcomeFailedFatal,
	OutcomeProgress, OutcomeExecuted, OutcomeNotExecuted, OutcomeRunning}

func TestParseReplyRefused(t *testing.T) {
	hs := Reply{Token: "t", Outcome: OutcomeOK}.Headers()
	for _, c := range []struct{ key, value string }{
		{HeaderToken, "-"}, {HeaderToken, strings.Repeat("t", MaxToken+1)}, {HeaderOutcome, "-"}, {HeaderOutcome, "OK"},
		{HeaderOutcome, "done"}, {HeaderEffect, ""}, {HeaderEffect, "some"}, {HeaderEffect, "none"}, {HeaderCode, strings.Repeat("c", MaxCode+1)},
		{HeaderRetryAfter, "1s"}, {HeaderRetryAfter, "-1"}, {HeaderNoop, "True"}, {HeaderNoop, "1"}, {HeaderReplayed, ""}, {HeaderCode, "\xff"},
	} {
		got, err := ParseReply(with(hs, c.key, c.value))
		var e *Error
		if !errors.As(err, &e) || e.Field != c.key {
			t.Errorf("%s = %q: got %v", c.key, c.value, err)
		}
		if c.key != HeaderToken && got != (Reply{Token: "t"}) {
			t.Errorf("%s = %q: the token is lost: %+v", c.key, c.value, got)
		}
	}
}

func TestReplyMessageNeverRefuses(t *testing.T) {
	long := strings.Repeat("ü", MaxMessage)
	got, err := ParseReply(Reply{Token: "t", Outcome: OutcomeRejected, Message: long}.Headers())
	if err != nil || len(got.Message) > MaxMessage || !strings.HasPrefix(long, got.Message) {
		t.Errorf("got %d bytes, %v", len(got.Message), err)
	}
	raw := with(Reply{Token: "t", Outcome: OutcomeRejected}.Headers(), HeaderMessage, "a\xffb"+strings.Repeat("c", 4096))
	if got, err = ParseReply(raw); err != nil || !strings.HasPrefix(got.Message, "a\uFFFDbcc") {
		t.Errorf("got %q, %v", got.Message, err)
	}
}

func TestResult(t *testing.T) {
	in := Result{WorkflowID: "a/b", Run: 2, Phase: "compensated", Cause: "auth: declined", Trace: "t"}
	if out, err := ParseResult(in.Headers()); err != nil || out != in {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := ParseResult(with(in.Headers(), HeaderRun, "0")); err == nil {
		t.Error("run 0 accepted")
	}
}

func TestDeadLetter(t *testing.T) {
	in := DeadLetter{
		Original: []Header{{"a", nil}, {"a", []byte{0xff, 0}}, {HeaderToken, []byte("t")}},
		Topic:    "pay.saga.intake", Partition: 3, Offset: 1 << 40, Timestamp: -1, Group: "pay.saga.engine", Stage: "decode",
		Class: "MALFORMED", Message: "not JSON", Attempts: 1, WorkflowID: "a/b", Node: "n1:8480", Version: "0.1.0",
	}
	hs := in.Headers()
	if !reflect.DeepEqual(hs[:3], in.Original) {
		t.Errorf("original headers changed: %v", hs[:3])
	}
	const want = `__saga.errors.topic=pay.saga.intake
__saga.errors.partition=3
__saga.errors.offset=1099511627776
__saga.errors.timestamp=-1
__saga.errors.group=pay.saga.engine
__saga.errors.stage=decode
__saga.errors.class=MALFORMED
__saga.errors.message=not JSON
__saga.errors.attempts=1
__saga.errors.workflow.id=a/b
__saga.errors.node=n1:8480
__saga.errors.version=0.1.0
`
	if diff := cmp.Diff(want, text(hs[3:])); diff != "" {
		t.Error(diff)
	}
	out, err := ParseDeadLetter(hs)
	if err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("got %+v, %v", out, err)
	}
	// A dead letter that dies again: the first set belongs to the original headers.
	again := in
	again.Original, again.Stage = hs, "redrive"
	out, err = ParseDeadLetter(again.Headers())
	if err != nil || !reflect.DeepEqual(out, again) {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := ParseDeadLetter(in.Original); err == nil {
		t.Error("a record that is no dead letter was accepted")
	}
}

func fuzzHeaders(s string) []Header {
	var hs []Header
	for line := range strings.SplitSeq(s, "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			hs = append(hs, Header{k, []byte(v)})
		}
	}
	return hs
}

func FuzzParseReply(f *testing.F) {
	f.Add(text(Reply{Token: "t", Outcome: OutcomeRejected, Code: "C", Message: "m", RetryAfter: 5, Noop: true, Replayed: true}.Headers()))
	f.Add("saga-token=t\nsaga-outcome=failed-fatal\nsaga-effect=none")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReply(fuzzHeaders(s))
		if err != nil {
			return
		}
		if !r.Outcome.Valid() || !r.Effect.Valid() || r.Token == "" {
			t.Fatalf("accepted %+v", r)
		}
		if again, err := ParseReply(r.Headers()); err != nil || again != r {
			t.Fatalf("got %+v, %v; want %+v", again, err, r)
		}
	})
}

func FuzzParseCommand(f *testing.F) {
	f.Add(text(sampleCommand.Headers()))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCommand(fuzzHeaders(s))
		if err != nil {
			return
		}
		if again, err := ParseCommand(c.Headers()); err != nil || again != c {
			t.Fatalf("got %+v, %v; want %+v", again, err, c)
		}
	})
}

func FuzzParseDeadLetter(f *testing.F) {
	f.Add(text(DeadLetter{Topic: "t", Class: "c", Attempts: 1}.Headers()))
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDeadLetter(fuzzHeaders(s))
		if err != nil {
			return
		}
		if again, err := ParseDeadLetter(d.Headers()); err != nil || again.Offset != d.Offset || again.Topic != d.Topic {
			t.Fatalf("got %+v, %v; want %+v", again, err, d)
		}
	})
}

func BenchmarkCommandHeaders(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sampleCommand.Headers()
	}
}

func BenchmarkParseCommand(b *testing.B) {
	hs := sampleCommand.Headers()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCommand(hs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseReply(b *testing.B) {
	hs := Reply{Token: sampleToken.Encode(nil), Outcome: OutcomeOK, ContentType: ContentJSON}.Headers()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseReply(hs); err != nil {
			b.Fatal(err)
		}
	}
}
