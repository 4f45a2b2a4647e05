package protocol

import (
	"strings"
	"unicode/utf8"
)

// Class says what is wrong with a piece of input. The strings are stable: they are counted, and
// they stand in the header __saga.errors.class of a dead letter.
type Class string

const (
	ClassMalformed     Class = "MALFORMED"      // the bytes are not what they claim to be, or a field breaks its rule
	ClassTooLarge      Class = "TOO_LARGE"      // a limit of this package is exceeded
	ClassUnknownSchema Class = "UNKNOWN_SCHEMA" // Avro with a fingerprint that is not ours
	ClassUnsupported   Class = "UNSUPPORTED"    // well formed, but not for this topic or this version
	ClassBadToken      Class = "BAD_TOKEN"      // a token that cannot be read, or whose signature is wrong
)

// Error is any fault of input from outside. It is always the sender's to mend: retrying the same
// bytes gives the same error. Text never repeats payload values.
type Error struct {
	Class Class
	Field string // header name, JSON field or Avro field; "" = the record as a whole
	Text  string
	Hint  string // what the sender should do, if that is not obvious
}

// Error returns "CLASS field: text. hint".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Class))
	if e.Field != "" {
		b.WriteString(" " + e.Field)
	}
	b.WriteString(": " + e.Text)
	if e.Hint != "" {
		b.WriteString(". " + e.Hint)
	}
	return b.String()
}

func malformed(field, text string) *Error {
	return &Error{Class: ClassMalformed, Field: field, Text: text}
}

func tooLarge(field, text string) *Error {
	return &Error{Class: ClassTooLarge, Field: field, Text: text}
}

func badToken(text string) *Error {
	return &Error{Class: ClassBadToken, Field: HeaderToken, Text: text}
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// clean makes s fit for a header: valid UTF-8 of at most n bytes.
func clean(s string, n int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return cut(s, n)
}
