package protocol

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Event is the envelope of a domain event that a saga publishes: CloudEvents 1.0 in the binary mode of
// its Kafka binding. The value of the record is the payload, JSON, and is not part of it.
type Event struct {
	ID         string // the same for every attempt to publish it, so that a reader can tell repetitions
	WorkflowID string // becomes the source
	Type       string
	At         int64 // ms
}

// Headers returns the record headers.
func (e Event) Headers() []Header {
	source := uriReference(e.WorkflowID)
	const fixed = len("1.0") + len(cloudEventTime)
	w := newHeaderWriter(7, fixed+len(e.ID)+len(source)+len(e.Type)+len(e.WorkflowID)+len(ContentJSON))
	w.add(HeaderCloudEventSpecVersion, "1.0")
	w.add(HeaderCloudEventID, e.ID)
	w.add(HeaderCloudEventSource, source)
	w.add(HeaderCloudEventType, e.Type)
	w.add(HeaderCloudEventTime, time.UnixMilli(e.At).UTC().Format(cloudEventTime))
	w.add(HeaderWorkflowID, e.WorkflowID)
	w.add(HeaderContentType, ContentJSON)
	return w.hs
}

// LifecycleTypePrefix begins the CloudEvents type of a lifecycle record; its kind follows.
const LifecycleTypePrefix = "amends.v1.Lifecycle."

// AppendCloudEvent appends the CloudEvents headers of a lifecycle record: facts and values as AppendLifecycle wrote
// them. The id is unique for the source, also when a workflow ID is used again after its retention.
func (l *Lifecycle) AppendCloudEvent(dst []Header, value []byte) []Header {
	id := make([]byte, 0, 48)
	id = append(strconv.AppendUint(id, uint64(l.Run), 10), '-')
	id = append(strconv.AppendUint(id, l.Seq, 10), '-')
	id = strconv.AppendInt(id, l.At, 10)
	dst = append(dst,
		Header{HeaderCloudEventSpecVersion, cloudEvents10},
		Header{HeaderCloudEventID, id},
		Header{HeaderCloudEventSource, []byte(uriReference(l.WorkflowID))},
		Header{HeaderCloudEventType, []byte(LifecycleTypePrefix + l.Kind)},
		Header{HeaderCloudEventTime, time.UnixMilli(l.At).UTC().AppendFormat(make([]byte, 0, 24), cloudEventTime)},
	)
	if l.Path != "" {
		dst = append(dst, Header{HeaderCloudEventSubject, []byte(uriReference(l.Path))})
	}
	if isAvro(value) && len(value) >= 10 {
		dst = append(dst, Header{HeaderCloudEventDataSchema, fmt.Appendf(nil, "urn:avro:amends.v1.%s:%016x", SchemaLifecycle, binary.LittleEndian.Uint64(value[2:10]))})
	}
	return dst
}

var cloudEvents10 = []byte("1.0")

// cloudEventTime is RFC 3339 in UTC with milliseconds.
const cloudEventTime = "2006-01-02T15:04:05.000Z"

// ParseEvent reads the headers of a domain event.
func ParseEvent(h []Header) (Event, error) {
	if err := checkHeaders(h); err != nil {
		return Event{}, err
	}
	r := headerReader{hs: h}
	e := Event{
		ID:         r.must(HeaderCloudEventID, MaxHeaderBytes),
		WorkflowID: r.must(HeaderWorkflowID, MaxWorkflowID),
		Type:       r.must(HeaderCloudEventType, MaxHeaderBytes),
	}
	at := r.must(HeaderCloudEventTime, 64)
	if r.err != nil {
		return Event{}, r.err
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return Event{}, malformed(HeaderCloudEventTime, "want a time such as 2026-01-31T12:00:00Z")
	}
	e.At = t.UnixMilli()
	return e, nil
}

// uriReference percent-encodes what a path of a URI may not hold: a CloudEvents source is a URI
// reference, and ids may hold any printable text. A workflow ID begins with a type, which has no
// colon, so the result is never taken for a scheme; a "//" inside is no authority.
func uriReference(s string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/', c == ':', c == '@':
			if b != nil {
				b = append(b, c)
			}
		default:
			if b == nil {
				b = append(make([]byte, 0, len(s)+8), s[:i]...)
			}
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}
