package schema

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The order in which a record is looked at: the header, the zero byte, C3 01, the content type, and last what
// the definition says of the topic. No JSON text and no UTF-8 text begins with one of these bytes.

// framingOf says how a record names its schema. Only the first bytes are looked at.
func framingOf(headers []kgo.RecordHeader, value []byte) Framing {
	if h := schemaHeader(headers); h != nil {
		if len(h) == 1+guidBytes && h[0] == magicGUID {
			return HeaderGUID
		}
		return HeaderID
	}
	switch {
	case len(value) > 0 && value[0] == magicID:
		return Prefix
	case len(value) >= 2 && value[0] == 0xC3 && value[1] == 0x01:
		return SingleObject
	}
	return Bare
}

const (
	magicID   = 0 // before an id of four bytes
	magicGUID = 1 // before a GUID
	guidBytes = 16
	idBytes   = 4
)

func schemaHeader(headers []kgo.RecordHeader) []byte {
	for i := range headers {
		if headers[i].Key == HeaderSchema {
			return headers[i].Value
		}
	}
	return nil
}

// frame is what a record says of its schema.
type frame struct {
	framing     Framing
	id          int32
	guid        string
	fingerprint uint64
	body        []byte
}

// readFrame takes the framing off. In the header the id stands behind its magic byte, alone in four bytes,
// or, as some producers write it, in decimal digits.
func readFrame(headers []kgo.RecordHeader, value []byte) (frame, error) {
	f := frame{framing: framingOf(headers, value), body: value}
	switch f.framing {
	case HeaderGUID:
		g := schemaHeader(headers)[1:]
		f.guid = fmt.Sprintf("%x-%x-%x-%x-%x", g[:4], g[4:6], g[6:8], g[8:10], g[10:])
	case HeaderID:
		id, ok := headerID(schemaHeader(headers))
		if !ok {
			return f, malformed("the header %s is neither an id nor a GUID", HeaderSchema)
		}
		f.id = id
	case Prefix:
		if len(value) < 1+idBytes {
			return f, malformed("the value ends within the id of its schema")
		}
		id := binary.BigEndian.Uint32(value[1:])
		if id > 1<<31-1 {
			return f, malformed("the id of the schema is negative")
		}
		f.id, f.body = int32(id), value[1+idBytes:]
	case SingleObject:
		if len(value) < 10 {
			return f, malformed("the value ends within the fingerprint of its schema")
		}
		f.fingerprint, f.body = binary.LittleEndian.Uint64(value[2:]), value[10:]
	}
	return f, nil
}

func headerID(h []byte) (int32, bool) {
	if len(h) == 1+idBytes && h[0] == magicID {
		h = h[1:]
	}
	if len(h) == idBytes && !digits(h) {
		id := binary.BigEndian.Uint32(h)
		return int32(id), id <= 1<<31-1
	}
	if len(h) == 0 || len(h) > 10 || !digits(h) {
		return 0, false
	}
	id := int64(0)
	for _, c := range h {
		id = id*10 + int64(c-'0')
	}
	return int32(id), id <= 1<<31-1
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func appendPrefix(dst []byte, id int32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, magicID), uint32(id))
}
