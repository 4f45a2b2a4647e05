package schema

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

func headers(pairs ...string) []kgo.RecordHeader {
	var hs []kgo.RecordHeader
	for i := 0; i < len(pairs); i += 2 {
		hs = append(hs, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return hs
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []kgo.RecordHeader
		value   []byte
		want    string // "" = malformed
		enc     Encoding
	}{
		{"json", nil, []byte(` {"b": 1, "a": [true]} `), `{"a":[true],"b":1}`, JSON},
		{"json by its type", headers("Content-Type", "application/cloudevents+JSON; charset=utf-8"), []byte(`1.50`), `1.5`, JSON},
		{"tombstone", nil, nil, `null`, 0},
		{"text", headers("content-type", "text/plain"), []byte("a\"b\n<"), `"a\"b\n<"`, Text},
		{"bytes", headers("content-type", "application/octet-stream"), []byte{0xFF, 2}, `"/wI="`, Bytes},
		{"empty", nil, []byte{}, ``, 0},
		{"not json", nil, []byte(`{`), ``, 0},
		{"twice", nil, []byte(`{"a":1,"a":2}`), ``, 0},
		{"text that is none", headers("content-type", "text/plain"), []byte{0xFF}, ``, 0},
		{"another type", headers("content-type", "image/png"), []byte(`{}`), ``, 0},
		{"prefix", nil, []byte{0, 0, 0, 0, 7, 1}, ``, Avro},
		{"header", headers(HeaderSchema, "7"), []byte(`{}`), ``, Avro},
		{"single object", nil, []byte{0xC3, 1, 0, 0, 0, 0, 0, 0, 0, 0}, ``, Avro},
		{"too large", nil, bytes.Repeat([]byte(" "), protocol.MaxRecordBytes+1), ``, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, f, err := Plain{}.Decode(context.Background(), "t", c.headers, c.value)
			if c.want == "" {
				if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnavailable) {
					t.Fatalf("got %s, %v; want ErrMalformed", got, err)
				}
			} else if err != nil || string(got) != c.want {
				t.Fatalf("got %s, %v; want %s", got, err, c.want)
			}
			if f.Encoding != c.enc {
				t.Fatalf("encoding %v, want %v", f.Encoding, c.enc)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	guid := "\x01" + "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
	for _, c := range []struct {
		name    string
		headers []kgo.RecordHeader
		value   []byte
		want    frame
		bad     bool
	}{
		{"prefix", nil, []byte{0, 0, 0, 1, 2, 9}, frame{framing: Prefix, id: 258, body: []byte{9}}, false},
		{"prefix cut off", nil, []byte{0, 0, 0}, frame{}, true},
		{"negative id", nil, []byte{0, 0x80, 0, 0, 0}, frame{}, true},
		{"header, framed id", headers(HeaderSchema, "\x00\x00\x00\x00\x07"), []byte{9}, frame{framing: HeaderID, id: 7, body: []byte{9}}, false},
		{"header, bare id", headers(HeaderSchema, "\x00\x00\x00\x07"), []byte{9}, frame{framing: HeaderID, id: 7, body: []byte{9}}, false},
		{"header, digits", headers(HeaderSchema, "1234"), []byte{0}, frame{framing: HeaderID, id: 1234, body: []byte{0}}, false},
		{"header, guid", headers(HeaderSchema, guid), []byte{9}, frame{framing: HeaderGUID, guid: "00112233-4455-6677-8899-aabbccddeeff", body: []byte{9}}, false},
		{"header, junk", headers(HeaderSchema, "x"), []byte{9}, frame{}, true},
		{"header, too many digits", headers(HeaderSchema, "9999999999"), []byte{9}, frame{}, true},
		{"single object", nil, []byte{0xC3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 5}, frame{framing: SingleObject, fingerprint: 1, body: []byte{5}}, false},
		{"single object cut off", nil, []byte{0xC3, 1, 1}, frame{}, true},
		{"bare", nil, []byte("{}"), frame{framing: Bare, body: []byte("{}")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readFrame(c.headers, c.value)
			if c.bad != (err != nil) || err != nil && !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v, want one: %v", err, c.bad)
			}
			if err == nil && (got.framing != c.want.framing || got.id != c.want.id || got.guid != c.want.guid || got.fingerprint != c.want.fingerprint || !bytes.Equal(got.body, c.want.body)) {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
