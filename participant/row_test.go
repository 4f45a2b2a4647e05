package participant

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/protocol"
)

func TestRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Row{
			Status: Status(rapid.IntRange(int(Started), int(Failed)).Draw(t, "status")),
			At:     rapid.Int64Min(0).Draw(t, "at"), Until: rapid.Int64Min(0).Draw(t, "until"),
			Sum:    [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum")),
			Effect: rapid.SampledFrom([]protocol.Effect{"", "none", "done", "unknown"}).Draw(t, "effect"),
			Code:   rapid.String().Draw(t, "code"), Message: rapid.String().Draw(t, "message"),
			Noop: rapid.Bool().Draw(t, "noop"), Undone: rapid.Bool().Draw(t, "undone"),
		}
		if output := rapid.SliceOf(rapid.Byte()).Draw(t, "output"); len(output) > 0 {
			in.Output = output
		}
		b := in.Append([]byte("x"))[1:]
		out, err := DecodeRow(b)
		if err != nil || !cmp.Equal(in, out) || RowTime(b) != in.At {
			t.Fatalf("got %+v, %v; want %+v", out, err, in)
		}
		for n := range b {
			if _, err := DecodeRow(b[:n]); err == nil {
				t.Fatalf("%d bytes of %d were accepted", n, len(b))
			}
		}
	})
}

func FuzzDecodeRow(f *testing.F) {
	f.Add(Row{Status: Done, At: 1, Code: "c", Output: []byte("{}")}.Append(nil))
	f.Add([]byte{1, 1, 0, 0, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		RowTime(b)
		r, err := DecodeRow(b)
		if err != nil {
			return
		}
		if again, err := DecodeRow(r.Append(nil)); err != nil || !cmp.Equal(again, r) {
			t.Fatalf("got %+v, %v; want %+v", again, err, r)
		}
	})
}

func TestFailureIsTidied(t *testing.T) {
	f := (&Failure{Outcome: protocol.OutcomeRejected, Effect: protocol.EffectDone, Code: string(bytes.Repeat([]byte("ü"), 100)), Message: "a\xffb"}).tidy()
	if f.Effect != "" || len(f.Code) != protocol.MaxCode || f.Message != "a?b" {
		t.Errorf("got %+v", f)
	}
	if f := (&Failure{Outcome: "ok"}).tidy(); f.Outcome != protocol.OutcomeFailedRetriable {
		t.Errorf("a handler can fake an outcome: %+v", f)
	}
	if f := (&Failure{Outcome: protocol.OutcomeFailedFatal, Effect: "some"}).tidy(); f.Effect != protocol.EffectUnknown {
		t.Errorf("got %+v", f)
	}
}
