package protocol

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// ContentCloudEvents is the content type of an event in the structured mode of CloudEvents: the value is one JSON
// object that holds the attributes, and the payload in data or data_base64.
const ContentCloudEvents = "application/cloudevents+json"

// cloudEventPrefix begins the header of an attribute in binary mode.
const cloudEventPrefix = "ce_"

// OpenCloudEvent turns a record in structured mode into the same event in binary mode: each attribute is a header
// ce_<name>, content-type is that of the payload, and the value is the payload: the JSON of data, its text when
// datacontenttype is not JSON, or the bytes of data_base64; null when the event has neither. Headers of the record
// itself stay, but for content-type and those that the event names. An extension traceparent is the trace when the
// record has no such header. Any other record is returned as it is.
//
// specversion has to be 1.x, and id, source and type must be there: an event without them would not be told from
// another one. The object has at most 16 members.
func OpenCloudEvent(h []Header, value []byte) (headers []Header, payload []byte, err error) {
	if !isStructured(h) {
		return h, value, nil
	}
	if len(value) > MaxRecordBytes {
		return nil, nil, tooLarge("", "a value of more than 1 MiB")
	}
	m, err := readMembers(value)
	if err != nil {
		return nil, nil, err
	}
	r := memberReader{members: m}
	for _, name := range [...]string{"specversion", "id", "source", "type"} {
		if r.text(name, MaxHeaderBytes) == "" && r.err == nil {
			r.fail(malformed(name, "the attribute is missing: this is no CloudEvent"))
		}
	}
	if v := r.text("specversion", 16); r.err == nil && !strings.HasPrefix(v, "1.") {
		r.fail(&Error{Class: ClassUnsupported, Field: "specversion", Text: "want CloudEvents 1.0"})
	}
	content := r.text("datacontenttype", 256)
	if r.err != nil {
		return nil, nil, r.err
	}
	if content == "" {
		content = ContentJSON
	}
	if payload, err = m.payload(content); err != nil {
		return nil, nil, err
	}
	headers = make([]Header, 0, len(h)+m.n)
	traced := false
	for i := range h {
		key := strings.ToLower(h[i].Key)
		if key == HeaderContentType || strings.HasPrefix(key, cloudEventPrefix) {
			continue
		}
		traced = traced || key == HeaderTraceparent
		headers = append(headers, h[i])
	}
	headers = append(headers, Header{HeaderContentType, []byte(content)})
	for i := range m.n {
		name, raw := string(m.names[i]), m.raws[i]
		if name == "data" || name == "data_base64" || name == "datacontenttype" {
			continue
		}
		text, err := attribute(name, raw)
		if err != nil {
			return nil, nil, err
		}
		if text == nil {
			continue
		}
		headers = append(headers, Header{cloudEventPrefix + name, text})
		if name == HeaderTraceparent && !traced {
			headers = append(headers, Header{HeaderTraceparent, text})
		}
	}
	if err := checkHeaders(headers); err != nil {
		return nil, nil, err
	}
	return headers, payload, nil
}

// isStructured says whether the value is an event in structured mode. Two content types are for others to refuse.
func isStructured(h []Header) bool {
	for i := range h {
		if IsCloudEvent(h[i].Key, h[i].Value) {
			return true
		}
	}
	return false
}

// IsCloudEvent says whether this header means that the value is an event in structured mode.
func IsCloudEvent(key string, value []byte) bool {
	if len(key) != len(HeaderContentType) || !strings.EqualFold(key, HeaderContentType) {
		return false
	}
	media, _, _ := bytes.Cut(value, []byte{';'})
	return strings.EqualFold(string(bytes.TrimSpace(media)), ContentCloudEvents)
}

// payload is what the event carries.
func (m *members) payload(content string) ([]byte, error) {
	data, encoded := m.raw("data"), m.raw("data_base64")
	switch {
	case data != nil && encoded != nil:
		return nil, malformed("data", "an event has data or data_base64, not both")
	case encoded != nil:
		text, ok := unquote(encoded)
		if !ok {
			return nil, malformed("data_base64", "want a string")
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, malformed("data_base64", "not base64")
		}
		return b, nil
	case data == nil && isJSON(content):
		return []byte("null"), nil
	case data == nil:
		return []byte{}, nil
	case isJSON(content):
		return data, nil
	}
	text, ok := unquote(data)
	if !ok {
		return nil, malformed("data", "want a string, because datacontenttype is not JSON")
	}
	return []byte(text), nil
}

// attribute is the text of an attribute: a string, a number or a boolean. nil = it is null, so not set.
func attribute(name string, raw []byte) ([]byte, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, malformed(cut(name, maxCutInErrorBytes), "a name of an attribute is lower-case letters and digits")
	}
	switch raw[0] {
	case '"':
		if text, ok := unquote(raw); ok {
			return []byte(text), nil
		}
	case 'n':
		return nil, nil
	case '{', '[':
	default:
		return raw, nil
	}
	return nil, malformed(cut(name, maxCutInErrorBytes), "want a string, a number or a boolean")
}
