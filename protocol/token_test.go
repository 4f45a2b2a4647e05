package protocol

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var sampleToken = Token{WorkflowID: "card-payment/order-1", Run: 1, Path: "auth", Op: OpDo, Round: 1, Attempt: 3}

func TestTokenGolden(t *testing.T) {
	// A token outlives the process that wrote it, so its form is pinned.
	const plain = "AQEBAQMUY2FyZC1wYXltZW50L29yZGVyLTEEYXV0aA"
	if got := sampleToken.Encode(nil); got != plain {
		t.Fatalf("plain token changed: %s", got)
	}
	const signed = "AgEBAQMUY2FyZC1wYXltZW50L29yZGVyLTEEYXV0aA"
	if got := sampleToken.Encode([]byte("secret")); !strings.HasPrefix(got, signed[:40]) || len(got) <= len(signed) {
		t.Fatalf("signed token changed: %s", got)
	}
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Token{
			WorkflowID: rapid.StringN(1, 100, MaxWorkflowID).Draw(t, "wid"),
			Run:        rapid.Uint32().Draw(t, "run"),
			Path:       rapid.StringN(0, 100, MaxPath).Draw(t, "path"),
			Op:         rapid.SampledFrom([]Op{OpDo, OpUndo, OpInquire}).Draw(t, "op"),
			Round:      rapid.Uint32().Draw(t, "round"),
			Attempt:    rapid.Uint32().Draw(t, "attempt"),
		}
		secret := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "secret")
		text := in.Encode(secret)
		if out, err := DecodeToken(text, secret); err != nil || out != in {
			t.Fatalf("got %+v, %v; want %+v", out, err, in)
		}
		if out, err := DecodeToken(text, nil); err != nil || out != in {
			t.Fatalf("without a secret: got %+v, %v; want %+v", out, err, in)
		}
	})
}

func TestTokenForged(t *testing.T) {
	secret := []byte("k1")
	signed := sampleToken.Encode(secret)
	raw, _ := base64.RawURLEncoding.DecodeString(signed)
	for i := range raw {
		for bit := range 8 {
			damaged := append([]byte(nil), raw...)
			damaged[i] ^= 1 << bit
			if got, err := DecodeToken(base64.RawURLEncoding.EncodeToString(damaged), secret); err == nil {
				t.Fatalf("byte %d bit %d: accepted as %+v", i, bit, got)
			}
		}
	}
	for name, text := range map[string]string{
		"other secret": sampleToken.Encode([]byte("k2")),
		"unsigned":     sampleToken.Encode(nil),
	} {
		if _, err := DecodeToken(text, secret); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	enc := base64.RawURLEncoding.EncodeToString
	plain, _ := base64.RawURLEncoding.DecodeString(sampleToken.Encode(nil))
	long := sampleToken
	long.WorkflowID = strings.Repeat("x", MaxWorkflowID+1)
	for name, text := range map[string]string{
		"empty":            "",
		"not base64":       "!!!!",
		"padding":          sampleToken.Encode(nil) + "==",
		"other last bits":  sampleToken.Encode(nil)[:41] + "B",
		"newline":          sampleToken.Encode(nil)[:20] + "\n" + sampleToken.Encode(nil)[20:],
		"unknown format":   enc(append([]byte{9}, plain[1:]...)),
		"unknown op":       enc(append([]byte{1, 7}, plain[2:]...)),
		"trailing byte":    enc(append(append([]byte(nil), plain...), 0)),
		"cut":              enc(plain[:len(plain)-1]),
		"only a MAC":       enc(append([]byte{2}, make([]byte, 16)...)),
		"long varint":      enc([]byte{1, 1, 0x81, 0x00, 1, 1, 1, 'a', 0}),
		"huge varint":      enc([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}),
		"run over 32 bits": enc([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 1, 1, 'a', 0}),
		"huge length":      enc([]byte{1, 1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 'a'}),
		"not UTF-8":        enc([]byte{1, 1, 1, 1, 1, 1, 0xff, 0}),
		"no workflow ID":   enc([]byte{1, 1, 1, 1, 1, 0, 0}),
		"long workflow ID": long.Encode(nil),
		"oversized":        strings.Repeat("A", 1<<20),
	} {
		_, err := DecodeToken(text, nil)
		var e *Error
		if !errors.As(err, &e) || e.Class != ClassBadToken {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeToken(f *testing.F) {
	f.Add(sampleToken.Encode(nil))
	f.Add(sampleToken.Encode([]byte("s")))
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := DecodeToken(s, nil)
		if err != nil {
			return
		}
		// One token has one spelling (a signature is not looked at here).
		if again := tok.Encode(nil); s[:2] == again[:2] && again != s {
			t.Fatalf("%q decodes to %+v, which encodes to %q", s, tok, again)
		}
		if _, err := DecodeToken(s, []byte("some secret")); err == nil {
			t.Fatalf("%q passes as signed", s)
		}
	})
}

func BenchmarkTokenEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sampleToken.Encode(nil)
	}
}

func BenchmarkTokenDecode(b *testing.B) {
	s := sampleToken.Encode(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeToken(s, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenSigned(b *testing.B) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeToken(sampleToken.Encode(secret), secret); err != nil {
			b.Fatal(err)
		}
	}
}
