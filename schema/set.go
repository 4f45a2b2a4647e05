package schema

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Config is what a Set knows schemas from. Its zero value reads JSON, and Avro not at all.
type Config struct {
	Registry *Registry // nil = none
	Dir      *Dir      // nil = none

	// Bare are topics whose values are Avro without any framing, and the full name of their record in Dir.
	Bare map[string]string

	// Last gives the newest record of a topic: a new writer looks how its topic is written. ok is false
	// when the topic is empty. nil = every topic counts as empty.
	Last func(ctx context.Context, topic string) (headers []kgo.RecordHeader, value []byte, ok bool, err error)

	Now func() time.Time // for tests
}

// Set is the Codec for all formats.
type Set struct {
	cfg Config
	now func() time.Time

	mu struct {
		sync.Mutex
		framing map[string]Framing // of topics that were looked at
	}
}

var _ Codec = (*Set)(nil)

// New makes a codec of its sources.
func New(cfg Config) *Set {
	s := &Set{cfg: cfg, now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.mu.framing = map[string]Framing{}
	return s
}

// Decode implements Codec.
func (s *Set) Decode(ctx context.Context, topic string, headers []kgo.RecordHeader, value []byte) ([]byte, Format, error) {
	if len(value) > protocol.MaxRecordBytes {
		return nil, Format{}, tooLarge(len(value))
	}
	if value == nil {
		return []byte("null"), Format{}, nil
	}
	if s.cfg.Registry == nil && s.cfg.Dir == nil {
		return Plain{}.Decode(ctx, topic, headers, value)
	}
	f, err := readFrame(headers, value)
	if err != nil {
		return nil, Format{Encoding: Avro, Framing: f.framing}, err
	}
	schema, err := s.reader(ctx, topic, headers, &f)
	if err != nil {
		return nil, Format{Encoding: Avro, Framing: f.framing, ID: f.id, GUID: f.guid}, err
	}
	if schema == nil {
		return decodePlain(contentType(headers), value)
	}
	format := Format{Encoding: Avro, Framing: f.framing, ID: f.id, GUID: f.guid, Name: schema.Name()}
	json, err := schema.Read(f.body)
	if err != nil {
		return nil, format, err
	}
	return json, format, nil
}

// reader is the schema that wrote a value, nil when it is no Avro.
func (s *Set) reader(ctx context.Context, topic string, headers []kgo.RecordHeader, f *frame) (*Schema, error) {
	switch f.framing {
	case Prefix, HeaderID, HeaderGUID:
		if s.cfg.Registry == nil {
			return nil, malformed("the value names its schema by %s, and no registry is configured", f.framing)
		}
		if f.framing == HeaderGUID {
			return s.cfg.Registry.byGUID(ctx, f.guid)
		}
		return s.cfg.Registry.byID(ctx, f.id)
	case SingleObject:
		if s.cfg.Dir != nil {
			if schema := s.cfg.Dir.byFingerprint[f.fingerprint]; schema != nil {
				return schema, nil
			}
		}
		b := binary.LittleEndian.AppendUint64(nil, f.fingerprint)
		return nil, malformed("no schema in the directory has the fingerprint %s", hex.EncodeToString(b))
	}
	if s.cfg.Dir == nil {
		return nil, nil
	}
	content := contentType(headers)
	name, bare := s.cfg.Bare[topic]
	if !bare && !strings.HasPrefix(content, "application/avro") && content != "avro/binary" && !strings.HasPrefix(content, "application/vnd.apache.avro") {
		return nil, nil
	}
	if bare && content != "" && (content == "application/json" || strings.HasSuffix(content, "+json")) {
		return nil, nil
	}
	schema := s.cfg.Dir.byName[name]
	if name == "" {
		schema = s.cfg.Dir.forSubject(topic, topic+"-value")
	}
	if schema == nil {
		return nil, malformed("the value is Avro without a framing, and no schema file is for the topic %s", cut(topic))
	}
	return schema, nil
}

// Encode implements Codec.
func (s *Set) Encode(ctx context.Context, target Target, json []byte) ([]byte, []kgo.RecordHeader, error) {
	if target.Encoding != Avro || s.cfg.Registry == nil && s.cfg.Dir == nil {
		return Plain{}.Encode(ctx, target, json)
	}
	if target.Subject == "" {
		target.Subject = target.Topic + "-value"
	}
	framing, err := s.framing(ctx, target.Topic)
	if err != nil {
		return nil, nil, err
	}
	if s.cfg.Registry == nil || framing == SingleObject {
		return s.encodeFile(target, framing, json)
	}
	newest, err := s.cfg.Registry.newest(ctx, target.Subject)
	if err != nil {
		return nil, nil, err
	}
	schema := newest.schema
	if target.Schema != "" && schema.Name() != target.Schema {
		return nil, nil, malformed("the subject %s holds %s, and the definition writes %s", cut(target.Subject), schema.root, cut(target.Schema))
	}
	switch framing {
	case HeaderID, HeaderGUID:
		value, err := schema.Write(make([]byte, 0, len(json)), json)
		if err != nil {
			return nil, nil, err
		}
		id := appendPrefix(nil, newest.id)
		if framing == HeaderGUID {
			guid, err := hex.DecodeString(strings.ReplaceAll(newest.guid, "-", ""))
			if err != nil || len(guid) != guidBytes {
				return nil, nil, malformed("the topic names schemas by GUID, and the registry gives none for %s", cut(target.Subject))
			}
			id = append([]byte{magicGUID}, guid...)
		}
		return value, []kgo.RecordHeader{{Key: HeaderSchema, Value: id}, headerAvro}, nil
	}
	value, err := schema.Write(appendPrefix(make([]byte, 0, len(json)+5), newest.id), json)
	if err != nil {
		return nil, nil, err
	}
	return value, headersAvro, nil
}

var (
	headerAvro  = kgo.RecordHeader{Key: HeaderContentType, Value: []byte(protocol.ContentAvro)}
	headersAvro = []kgo.RecordHeader{headerAvro}
)

// encodeFile writes with a schema of the directory.
func (s *Set) encodeFile(target Target, framing Framing, json []byte) ([]byte, []kgo.RecordHeader, error) {
	var schema *Schema
	if s.cfg.Dir != nil {
		if schema = s.cfg.Dir.byName[target.Schema]; target.Schema == "" {
			schema = s.cfg.Dir.forSubject(target.Topic, target.Subject)
		}
	}
	if schema == nil {
		what := target.Schema
		if what == "" {
			what = target.Subject
		}
		return nil, nil, malformed("no schema file is for %s", cut(what))
	}
	var head []byte
	if _, bare := s.cfg.Bare[target.Topic]; !bare {
		head = binary.LittleEndian.AppendUint64([]byte{0xC3, 0x01}, schema.fingerprint)
	}
	value, err := schema.Write(head, json)
	if err != nil {
		return nil, nil, err
	}
	return value, headersAvro, nil
}

// framing is how a topic is written: as its newest record is, else with the prefix where there is a registry and as single
// objects where there is none. It is looked up once in the life of a process.
func (s *Set) framing(ctx context.Context, topic string) (Framing, error) {
	s.mu.Lock()
	f, known := s.mu.framing[topic]
	s.mu.Unlock()
	if known {
		return f, nil
	}
	f = Prefix
	if s.cfg.Registry == nil {
		f = SingleObject
	}
	if s.cfg.Last != nil {
		headers, value, ok, err := s.cfg.Last(ctx, topic)
		if err != nil {
			return f, unavailable(err, "the newest record of %s cannot be read", cut(topic))
		}
		if last := framingOf(headers, value); ok && last != Bare {
			f = last
		}
	}
	if f == SingleObject && s.cfg.Dir == nil {
		f = Prefix // nothing here could write single objects
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.framing[topic] = f
	return f, nil
}
