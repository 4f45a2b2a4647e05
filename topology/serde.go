package topology

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Serde turns the value of a record into a Go value and back. One Serde serves all tasks at the same
// time.
type Serde[V any] interface {
	// Name says in a printed topology what it does, for example "json".
	Name() string
	// Decode reads a value. b is the record's; what is returned may alias it.
	Decode(b []byte) (V, error)
	// Append writes v behind dst. A nil result is a record without a value, a deletion.
	Append(dst []byte, v V) ([]byte, error)
}

// Bytes leaves values as they are. nil, the value of a deletion, stays nil.
func Bytes() Serde[[]byte] { return bytesSerde{} }

// Text takes values as UTF-8.
func Text() Serde[string] { return textSerde{} }

// JSON takes values as JSON documents of V. A record without a value is an error.
func JSON[V any]() Serde[V] { return jsonSerde[V]{} }

type bytesSerde struct{}

func (bytesSerde) Name() string                    { return "bytes" }
func (bytesSerde) Decode(b []byte) ([]byte, error) { return b, nil }

func (bytesSerde) Append(dst []byte, v []byte) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return append(dst, v...), nil
}

type textSerde struct{}

var errNotText = errors.New("the value is not valid UTF-8")

func (textSerde) Name() string { return "text" }

func (textSerde) Decode(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", errNotText
	}
	return string(b), nil
}

func (textSerde) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

type jsonSerde[V any] struct{}

func (jsonSerde[V]) Name() string { return "json" }

func (jsonSerde[V]) Decode(b []byte) (v V, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

func (jsonSerde[V]) Append(dst []byte, v V) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}
