package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Codec reads records and writes them. Its methods may be called from any goroutine.
type Codec interface {
	// Decode reads the value of a record of topic. The value comes back as canonical JSON that is the
	// caller's; of a record without a value (a tombstone) it is null. An error is an *Error of one of the
	// two classes. It may ask a registry, for no longer than ctx allows.
	Decode(ctx context.Context, topic string, headers []kgo.RecordHeader, value []byte) (json []byte, format Format, err error)

	// Encode writes a JSON value as target says. The headers are those that the format needs, among
	// them content-type; they are shared and must not be changed.
	Encode(ctx context.Context, target Target, json []byte) (value []byte, headers []kgo.RecordHeader, err error)
}

// The two classes of errors.
var (
	// ErrUnavailable: the answer is not to be had now, because a registry does not answer. The same
	// record may be read later: pause and try again.
	ErrUnavailable = errors.New("schema registry unavailable")
	// ErrMalformed: trying again gives the same. A record becomes a dead letter; a value that does not
	// fit its schema cannot be sent.
	ErrMalformed = errors.New("not readable")
)

// Error is every error of this package about a record or a value.
type Error struct {
	Class error  // ErrUnavailable or ErrMalformed
	Text  string // what is wrong, without payload
	cause error
}

func (e *Error) Error() string { return e.Text }

// Unwrap lets errors.Is find the class, and what the transport said.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.cause}
}

func malformed(format string, args ...any) *Error {
	return &Error{Class: ErrMalformed, Text: fmt.Sprintf(format, args...)}
}

// Encoding is what the bytes of a value are.
type Encoding uint8

// The encodings.
const (
	JSON  Encoding = iota + 1
	Avro           // binary
	Text           // UTF-8, as a JSON string
	Bytes          // anything else that says so, as a JSON string in base64
)

// String is the name of the encoding in a definition.
func (e Encoding) String() string {
	switch e {
	case JSON:
		return "json"
	case Avro:
		return "avro"
	case Text:
		return "text"
	case Bytes:
		return "bytes"
	}
	return "none"
}

// Framing is how a record says which schema wrote it.
type Framing uint8

// The framings.
const (
	Bare         Framing = iota // not at all: JSON, or the schema that a file names
	Prefix                      // Confluent: a zero byte, the id in four bytes
	HeaderID                    // the id in the header __value_schema_id
	HeaderGUID                  // the GUID in the same header
	SingleObject                // Avro's own: C3 01 and the fingerprint
)

// String names the framing in messages and settings.
func (f Framing) String() string {
	return [...]string{"bare", "prefix", "header", "guid", "single-object"}[f]
}

// Format is how a record was written. The zero value is that of a record without a value.
type Format struct {
	Encoding Encoding
	Framing  Framing
	ID       int32  // of the schema in the registry, with Prefix and HeaderID
	GUID     string // with HeaderGUID
	Name     string // full name of the schema, when it has one
}

// Target says how a value is to be written.
type Target struct {
	Topic    string
	Encoding Encoding // JSON or Avro; 0 is JSON
	// Schema is the full name of the Avro record. "" takes the one that the subject has.
	Schema string
	// Subject is where the registry keeps it; "" is <topic>-value.
	Subject string
}

// HeaderSchema is Confluent's header that names the schema of a value.
const HeaderSchema = "__value_schema_id"

// HeaderContentType says what a value is. Its parameters and its case do not matter.
const HeaderContentType = "content-type"
