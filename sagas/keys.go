package sagas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// IdempotencyKey names one operation of one step for ever: the same for each of its attempts, and
// different in another round. It is SHA-256 over the parts ("saga1", ns, wid, run, path, op, round),
// each with its length before it as four bytes big endian, numbers in decimal, op by its name. The
// first sixteen bytes are shaped as a UUID of version 4, so that the key fits the 36-character fields
// of payment providers and is a legal UETR.
func IdempotencyKey(ns, wid string, run uint32, path string, op Op, round uint32) string {
	return idempotencyKey(ns, wid, run, path, op, round).String()
}

func idempotencyKey(ns, wid string, run uint32, path string, op Op, round uint32) Key {
	var buf [256]byte
	b := appendPart(buf[:0], "saga1")
	b = appendPart(b, ns)
	b = appendPart(b, wid)
	b = appendNumber(b, run)
	b = appendPart(b, path)
	b = appendPart(b, op.String())
	b = appendNumber(b, round)
	sum := sha256.Sum256(b)
	var k Key
	copy(k[:], sum[:])
	k[6] = k[6]&0x0f | 0x40 // version 4
	k[8] = k[8]&0x3f | 0x80 // variant of RFC 9562
	return k
}

// TraceID is the trace of one run: the first half of SHA-256 over namespace, workflow ID and run. It is in
// the traceparent of each of its commands.
func TraceID(ns, wid string, run uint32) (id [16]byte) {
	var buf [256]byte
	b := appendPart(buf[:0], ns)
	b = appendPart(b, wid)
	sum := sha256.Sum256(appendNumber(b, run))
	return [16]byte(sum[:16])
}

// SpanID is the span of one attempt of a command, by its idempotency key.
func SpanID(key Key, attempt uint32) [8]byte {
	var buf [32]byte
	sum := sha256.Sum256(appendNumber(append(buf[:0], key[:]...), attempt))
	return [8]byte(sum[:8])
}

// CommandSpan is the SpanID of the command that an answer at a is for.
func CommandSpan(ns, wid string, a Address) [8]byte {
	return SpanID(idempotencyKey(ns, wid, a.Run, a.Path, a.Op, a.Round), a.Attempt)
}

// traceparent is the W3C trace context of one attempt: all commands of a run share a trace, each
// attempt is a span. It is derived, not drawn, so that a repeated transaction repeats it.
func traceparent(ns, wid string, run uint32, key Key, attempt uint32) string {
	trace, span := TraceID(ns, wid, run), SpanID(key, attempt)
	out := make([]byte, 0, 55)
	out = append(out, "00-"...)
	out = hex.AppendEncode(out, trace[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, span[:])
	return string(append(out, "-01"...))
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}

func appendNumber(dst []byte, n uint32) []byte {
	var buf [10]byte
	digits := strconv.AppendUint(buf[:0], uint64(n), 10)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(digits)))
	return append(dst, digits...)
}
