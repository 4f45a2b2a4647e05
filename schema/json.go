package schema

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Plain is the Codec without Avro: JSON, and what says by its content type that it is text or bytes. A value
// that is framed as Avro is malformed to it. Its zero value is ready.
type Plain struct{}

var _ Codec = Plain{}

// Decode implements Codec.
func (Plain) Decode(_ context.Context, _ string, headers []kgo.RecordHeader, value []byte) ([]byte, Format, error) {
	if len(value) > protocol.MaxRecordBytes {
		return nil, Format{}, tooLarge(len(value))
	}
	if value == nil {
		return []byte("null"), Format{}, nil
	}
	if f := framingOf(headers, value); f != Bare {
		return nil, Format{Encoding: Avro, Framing: f}, malformed("the value is Avro (%s), and neither a registry nor a directory of schemas is configured", f)
	}
	return decodePlain(contentType(headers), value)
}

// Encode implements Codec.
func (Plain) Encode(_ context.Context, target Target, value []byte) ([]byte, []kgo.RecordHeader, error) {
	if target.Encoding == Avro {
		return nil, nil, malformed("the value is to be written as Avro, and neither a registry nor a directory of schemas is configured")
	}
	return value, headersJSON, nil
}

var headersJSON = []kgo.RecordHeader{{Key: HeaderContentType, Value: []byte(protocol.ContentJSON)}}

func tooLarge(n int) *Error {
	return malformed("the value has %d bytes, the limit is %d", n, protocol.MaxRecordBytes)
}

// decodePlain reads what is not Avro, by its content type.
func decodePlain(content string, value []byte) ([]byte, Format, error) {
	switch {
	case content == "" || content == "application/json" || strings.HasSuffix(content, "+json"):
		canonical, err := sagas.CanonicalJSON(value)
		if err != nil {
			return nil, Format{}, malformed("not JSON that can be taken: %v", err)
		}
		return canonical, Format{Encoding: JSON}, nil
	case strings.HasPrefix(content, "text/"):
		if !utf8.Valid(value) {
			return nil, Format{}, malformed("content-type %s, but the value is not UTF-8", cut(content))
		}
		text, err := json.Marshal(string(value))
		if err == nil {
			text, err = sagas.CanonicalJSON(text) // the spelling of the engine, and its limits
		}
		if err != nil {
			return nil, Format{}, malformed("the text cannot be taken: %v", err)
		}
		return text, Format{Encoding: Text}, nil
	case content == "application/octet-stream":
		n := base64.StdEncoding.EncodedLen(len(value))
		if n > sagas.MaxValueBytes-2 {
			return nil, Format{}, malformed("%d bytes are more than a value may hold in base64", len(value))
		}
		text := make([]byte, n+2)
		base64.StdEncoding.Encode(text[1:], value)
		text[0], text[n+1] = '"', '"'
		return text, Format{Encoding: Bytes}, nil
	}
	return nil, Format{}, malformed("content-type %s is not known here", cut(content))
}

// contentType is the media type of a record in lower case, without parameters; "" when it has none.
func contentType(headers []kgo.RecordHeader) string {
	for i := range headers {
		if strings.EqualFold(headers[i].Key, HeaderContentType) {
			media, _, _ := strings.Cut(string(headers[i].Value), ";")
			return strings.ToLower(strings.TrimSpace(media))
		}
	}
	return ""
}

// cut shortens what an error repeats of a header.
func cut(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}
