package protocol

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
)

// Op is the operation of a command.
type Op string

const (
	OpDo      Op = "do"
	OpUndo    Op = "undo"
	OpInquire Op = "inquire"
)

// Valid reports whether o is one of the three operations.
func (o Op) Valid() bool { return o == OpDo || o == OpUndo || o == OpInquire }

func (o Op) code() byte {
	switch o {
	case OpDo:
		return 1
	case OpUndo:
		return 2
	case OpInquire:
		return 3
	}
	return 0
}

func opOf(code byte) Op {
	switch code {
	case 1:
		return OpDo
	case 2:
		return OpUndo
	case 3:
		return OpInquire
	}
	return ""
}

// Token names one attempt of one operation of one instance. It travels in HeaderToken as text that
// participants do not look into.
type Token struct {
	WorkflowID string
	Run        uint32
	Path       string
	Op         Op
	Round      uint32
	Attempt    uint32
}

// The encoded form is base64url without padding of
//
//	format, op, uvarint run, round, attempt, uvarint length + workflow ID, uvarint length + path [, MAC]
//
// where format is tokenPlain or tokenSigned, and MAC the first 16 bytes of HMAC-SHA-256 over all
// bytes before it. There is exactly one encoding of a token.
const (
	tokenPlain  = 1
	tokenSigned = 2
	tokenMAC    = 16
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// Encode returns the token as text, signed when secret is not empty.
func (t Token) Encode(secret []byte) string {
	var scratch [256]byte
	raw := t.appendRaw(scratch[:0], secret)
	var text [344]byte
	if n := tokenEncoding.EncodedLen(len(raw)); n <= len(text) {
		tokenEncoding.Encode(text[:n], raw)
		return string(text[:n])
	}
	return tokenEncoding.EncodeToString(raw)
}

func (t Token) appendRaw(b, secret []byte) []byte {
	format := byte(tokenPlain)
	if len(secret) > 0 {
		format = tokenSigned
	}
	b = append(b, format, t.Op.code())
	b = binary.AppendUvarint(b, uint64(t.Run))
	b = binary.AppendUvarint(b, uint64(t.Round))
	b = binary.AppendUvarint(b, uint64(t.Attempt))
	b = binary.AppendUvarint(b, uint64(len(t.WorkflowID)))
	b = append(b, t.WorkflowID...)
	b = binary.AppendUvarint(b, uint64(len(t.Path)))
	b = append(b, t.Path...)
	if format == tokenSigned {
		b = append(b, tokenSum(b, secret)...)
	}
	return b
}

// tokenSum hashes a copy, so that the buffers of tokens without a signature can live on the stack.
func tokenSum(b, secret []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(bytes.Clone(b))
	return mac.Sum(nil)[:tokenMAC]
}

// DecodeToken reads a token. With a secret, the token must be signed with it: an unsigned one is
// refused too, else signing would protect nothing. Without a secret, a signature is not looked at.
func DecodeToken(s string, secret []byte) (Token, error) {
	if len(s) > MaxToken {
		return Token{}, badToken("longer than a token can be")
	}
	// The decoder skips line ends, which would give one token many spellings.
	if strings.ContainsAny(s, "\r\n") {
		return Token{}, badToken("a line end inside")
	}
	var in, out [512]byte
	src, b := in[:], out[:]
	if len(s) > len(in) {
		src, b = make([]byte, len(s)), make([]byte, len(s))
	}
	n, err := tokenEncoding.Decode(b, src[:copy(src, s)])
	if err != nil {
		return Token{}, badToken("not base64url without padding")
	}
	b = b[:n]
	if len(b) < 2 {
		return Token{}, badToken("too short")
	}
	switch b[0] {
	case tokenPlain:
		if len(secret) > 0 {
			return Token{}, badToken("not signed")
		}
	case tokenSigned:
		body := len(b) - tokenMAC
		if body < 2 {
			return Token{}, badToken("too short")
		}
		if len(secret) > 0 && !hmac.Equal(b[body:], tokenSum(b[:body], secret)) {
			return Token{}, badToken("wrong signature")
		}
		b = b[:body]
	default:
		return Token{}, badToken("unknown format")
	}
	t := Token{Op: opOf(b[1])}
	r := tokenReader{b: b[2:]}
	t.Run, t.Round, t.Attempt = r.uint32(), r.uint32(), r.uint32()
	t.WorkflowID, t.Path = r.text(MaxWorkflowID), r.text(MaxPath)
	switch {
	case r.bad || len(r.b) > 0:
		return Token{}, badToken("damaged")
	case t.Op == "":
		return Token{}, badToken("unknown operation")
	case t.WorkflowID == "":
		return Token{}, badToken("no workflow ID")
	}
	return t, nil
}

type tokenReader struct {
	b   []byte
	bad bool
}

func (r *tokenReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	// A last byte of zero is a longer spelling of the same number.
	if r.bad || size <= 0 || (size > 1 && r.b[size-1] == 0) {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *tokenReader) uint32() uint32 {
	n := r.uvarint()
	if n > math.MaxUint32 {
		r.bad = true
		return 0
	}
	return uint32(n)
}

func (r *tokenReader) text(max int) string {
	n := r.uvarint()
	if r.bad || n > uint64(max) || n > uint64(len(r.b)) || !utf8.Valid(r.b[:n]) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
