package protocol

import (
	"strconv"
	"unicode/utf8"
)

// Header is one record header. Values of the protocol's own headers are UTF-8 text.
type Header struct {
	Key   string
	Value []byte
}

// Headers of a command and of its reply. Names are case-sensitive.
const (
	HeaderToken          = "saga-token"           // opaque; a reply echoes it unchanged
	HeaderWorkflowID     = "saga-wid"             // <type>/<id>, the record key of everything about one instance
	HeaderOp             = "saga-op"              // do, undo or inquire
	HeaderCommand        = "saga-cmd"             // command name, e.g. reserve
	HeaderKey            = "saga-key"             // idempotency key of this operation
	HeaderForwardKey     = "saga-fwd-key"         // undo and inquire: the key of the do
	HeaderAttempt        = "saga-attempt"         // from 1
	HeaderDeadline       = "saga-deadline"        // ms since the epoch; absent on undo
	HeaderReplyTo        = "saga-reply-to"        // topic of the reply
	HeaderReplyPartition = "saga-reply-partition" // partition of the reply; never hash the key yourself
	HeaderDefinition     = "saga-def"             // type@version
	HeaderIdempotencyKey = "idempotency-key"      // copy of saga-key under the name that HTTP bridges look for
	HeaderTraceparent    = "traceparent"          // W3C trace context
	HeaderContentType    = "content-type"         // of the value
)

// Headers of a reply, beside HeaderToken.
const (
	HeaderOutcome    = "saga-outcome"     // see Outcome
	HeaderEffect     = "saga-effect"      // none, done or unknown; absent = the default of the outcome
	HeaderCode       = "saga-code"        // machine-readable reason
	HeaderMessage    = "saga-message"     // human-readable reason
	HeaderRetryAfter = "saga-retry-after" // ms to wait before the next attempt
	HeaderNoop       = "saga-noop"        // true: the undo found nothing to undo
	HeaderReplayed   = "saga-replayed"    // true: answered from the inbox
)

// Headers of our own records.
const (
	HeaderForwarded = "saga-forwarded" // <topic>/<partition>/<offset> of a record that was re-routed
	HeaderKind      = "saga-kind"      // lifecycle: kind of the fact
	HeaderSeq       = "saga-seq"       // lifecycle: gapless number per workflow ID
	HeaderRun       = "saga-run"       // result: run of the instance
	HeaderPhase     = "saga-phase"     // result: phase the instance ended in
	HeaderCause     = "saga-cause"     // result: why it was compensated or closed
	HeaderDigest    = "saga-digest"    // definition: SHA-256 of the canonical JSON
)

// CloudEvents headers, in the binary mode of its Kafka binding. Domain events carry all but subject and
// dataschema, lifecycle records all when that is asked for; of intake records only the id is read.
const (
	HeaderCloudEventID          = "ce_id"          // id of a domain event; start id or signal id of an intake record that names none
	HeaderCloudEventSource      = "ce_source"      // workflow ID, percent-encoded
	HeaderCloudEventType        = "ce_type"        // as the definition says
	HeaderCloudEventTime        = "ce_time"        // RFC 3339, UTC
	HeaderCloudEventSpecVersion = "ce_specversion" // 1.0
	HeaderCloudEventSubject     = "ce_subject"     // path of the step, percent-encoded; absent when the fact is about the instance
	HeaderCloudEventDataSchema  = "ce_dataschema"  // urn:avro:amends.v1.Lifecycle:<fingerprint>
)

// Content types.
const (
	ContentJSON = "application/json"
	ContentAvro = "application/avro"
)

// lookup returns the value of the only header with this key. A key that occurs twice is an error:
// two readers would pick different ones.
func lookup(hs []Header, key string) (value []byte, found bool, err error) {
	for i := range hs {
		if hs[i].Key != key {
			continue
		}
		if found {
			return nil, false, malformed(key, "the header occurs twice")
		}
		value, found = hs[i].Value, true
	}
	return value, found, nil
}

// checkHeaders enforces the limits on all headers of a record together.
func checkHeaders(hs []Header) error {
	if len(hs) > MaxHeaders {
		return tooLarge("", "more than "+strconv.Itoa(MaxHeaders)+" headers")
	}
	n := 0
	for i := range hs {
		n += len(hs[i].Key) + len(hs[i].Value)
	}
	if n > MaxHeaderBytes {
		return tooLarge("", "headers of more than "+strconv.Itoa(MaxHeaderBytes)+" bytes")
	}
	return nil
}

// headerReader reads single headers and keeps the first error.
type headerReader struct {
	hs  []Header
	err error
}

func (r *headerReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// text returns an optional header of at most max bytes, "" when it is absent.
func (r *headerReader) text(key string, max int) (string, bool) {
	v, found, err := lookup(r.hs, key)
	switch {
	case err != nil:
		r.fail(err)
		return "", false
	case !found:
		return "", false
	case len(v) > max:
		r.fail(tooLarge(key, "longer than "+strconv.Itoa(max)+" bytes"))
		return "", false
	case !utf8.Valid(v):
		r.fail(malformed(key, "not UTF-8"))
		return "", false
	}
	return string(v), true
}

// must returns a required, non-empty header.
func (r *headerReader) must(key string, max int) string {
	s, found := r.text(key, max)
	if r.err == nil && (!found || s == "") {
		r.fail(malformed(key, "the header is missing"))
	}
	return s
}

// message returns an optional text for people. It decides nothing, so it is repaired, not refused.
func (r *headerReader) message(key string) string {
	v, _, err := lookup(r.hs, key)
	if err != nil {
		r.fail(err)
	}
	if len(v) > MaxHeaderBytes {
		v = v[:MaxHeaderBytes]
	}
	return clean(string(v), MaxMessage)
}

// number returns a decimal integer in [min, max]: digits only, no sign, no leading zero.
func (r *headerReader) number(key string, min, max int64, required bool) int64 {
	s, found := r.text(key, 20)
	if r.err != nil {
		return 0
	}
	if !found {
		if required {
			r.fail(malformed(key, "the header is missing"))
		}
		return 0
	}
	n, ok := parseDecimal(s)
	if !ok {
		r.fail(malformed(key, "not a decimal integer"))
		return 0
	}
	if n < min || n > max {
		r.fail(malformed(key, "not in "+strconv.FormatInt(min, 10)+".."+strconv.FormatInt(max, 10)))
		return 0
	}
	return n
}

// flag returns an optional "true" or "false".
func (r *headerReader) flag(key string) bool {
	s, found := r.text(key, 5)
	if r.err != nil || !found {
		return false
	}
	if s != "true" && s != "false" {
		r.fail(malformed(key, `want "true" or "false"`))
	}
	return s == "true"
}

func parseDecimal(s string) (int64, bool) {
	if s == "" || len(s) > 19 || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= 1<<63-1
}

// headerWriter builds a header list whose values share one buffer: two allocations in all. Values
// have their capacity cut, so appending to one cannot reach the next.
type headerWriter struct {
	hs  []Header
	buf []byte
}

func newHeaderWriter(headers, bytes int) headerWriter {
	return headerWriter{hs: make([]Header, 0, headers), buf: make([]byte, 0, bytes)}
}

func (w *headerWriter) add(key, value string) {
	from := len(w.buf)
	w.buf = append(w.buf, value...)
	w.hs = append(w.hs, Header{key, w.buf[from:len(w.buf):len(w.buf)]})
}

func (w *headerWriter) addInt(key string, n int64) {
	from := len(w.buf)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.hs = append(w.hs, Header{key, w.buf[from:len(w.buf):len(w.buf)]})
}

// addSome adds the header unless value is empty.
func (w *headerWriter) addSome(key, value string) {
	if value != "" {
		w.add(key, value)
	}
}
