package schema

import "github.com/twmb/franz-go/pkg/kgo"

// Framed says whether a record names the schema of its value, and so is Avro. No JSON text looks like it.
func Framed(headers []kgo.RecordHeader, value []byte) bool { return framingOf(headers, value) != Bare }
