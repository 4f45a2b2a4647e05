package protocol

import "time"

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
	const fixed = len("1.0") + len("2006-01-02T15:04:05.000Z")
	w := newHeaderWriter(7, fixed+len(e.ID)+len(source)+len(e.Type)+len(e.WorkflowID)+len(ContentJSON))
	w.add(HeaderCloudEventSpecVersion, "1.0")
	w.add(HeaderCloudEventID, e.ID)
	w.add(HeaderCloudEventSource, source)
	w.add(HeaderCloudEventType, e.Type)
	w.add(HeaderCloudEventTime, time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z"))
	w.add(HeaderWorkflowID, e.WorkflowID)
	w.add(HeaderContentType, ContentJSON)
	return w.hs
}

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
