// Package schema turns the bytes of a record of any topic into a value of the engine and back: JSON, Avro by
// Confluent's prefix or header, Avro's single-object encoding, Avro by a schema file without a registry, and
// plain text. docs/schemas.md says the same for people.
//
// A value is canonical JSON (sagas.CanonicalJSON). Unions lose their wrapping, decimals are decimal
// strings, longs stay integers, times are RFC 3339 texts; avrotypes.go has the whole table.
//
// What it promises:
//
//   - Every error is one of two: ErrMalformed (the bytes will never be read: a dead letter) or
//     ErrUnavailable (a registry does not answer: the reader pauses its partition and tries again).
//     There is no third. Texts repeat no payload.
//   - Every length, count and depth is checked before anything is allocated for it. A record of n bytes
//     costs O(n) memory, whatever it claims, and a bounded number of values. No input makes it panic.
//   - A value that was read and is written again with the same schema gives a record that means the same.
//   - Where a registry is comes from configuration only, never from a record or a definition.
package schema
