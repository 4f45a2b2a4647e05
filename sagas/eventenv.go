package sagas

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// What expressions of bindings see, in place of the names of a saga:
//
//	event      dyn                  the value of the record
//	headers    map(string, string)  its headers; the last one of a name, and none that is not UTF-8
//	key        string               its key, "" without one; an error when it is not UTF-8
//	topic      string
//	partition  int
//	offset     int
//	time       timestamp            of the record
//
// The functions are those of cel/1.
const (
	nameHeaders   = "headers"
	nameTopic     = "topic"
	namePartition = "partition"
	nameOffset    = "offset"
	nameTime      = "time"
)

// maxEventHeaders bounds the headers of a record of which one is asked for.
const maxEventHeaders = 1000

// bindingItems lets paths in event be copied out of its text, as those in the item of an each.
var bindingItems = []string{nameEvent}

// bindingEnv is immutable and safe for concurrent use.
var bindingEnv = func() *cel.Env {
	e, err := newEventEnv(cel.DynType)
	if err != nil {
		panic("sagas: expression environment of bindings: " + err.Error()) // constant input: cannot fail in a release
	}
	return e
}()

// newEventEnv is the environment with a type for the variable event.
func newEventEnv(event *cel.Type, more ...cel.EnvOption) (*cel.Env, error) {
	opts := append(languageOptions(),
		cel.Variable(nameEvent, event),
		cel.Variable(nameHeaders, cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable(nameKey, cel.StringType),
		cel.Variable(nameTopic, cel.StringType),
		cel.Variable(namePartition, cel.IntType),
		cel.Variable(nameOffset, cel.IntType),
		cel.Variable(nameTime, cel.TimestampType),
	)
	return cel.NewCustomEnv(append(opts, more...)...)
}

// EventRecord is one record of any topic.
type EventRecord struct {
	Value     []byte // canonical JSON of any kind
	Headers   []KV   // as they came: values may be any bytes
	Key       []byte
	Topic     string
	Partition int32
	Offset    int64
	Time      Time
}

// EventValues evaluates the expressions of bindings over one record after another. It parses a value
// at most once. One goroutine uses it. The same record gives the same results.
type EventValues struct {
	ev      evaluation
	rec     EventRecord
	headers ref.Val
}

// Reset takes the next record.
func (v *EventValues) Reset(rec EventRecord) {
	v.rec, v.headers = rec, nil
	v.ev = evaluation{scope: eventScope{v}}
}

// Bool evaluates a condition; nil holds.
func (v *EventValues) Bool(x *Expr) (bool, error) {
	if x == nil {
		return true, nil
	}
	return x.boolean(&v.ev)
}

// Text evaluates an identifier. An integral number gives its digits.
func (v *EventValues) Text(x *Expr) (string, error) { return x.name(&v.ev) }

// JSON evaluates a mapping; nil is the value of the record.
func (v *EventValues) JSON(m *Mapping) ([]byte, error) {
	if m == nil {
		return v.rec.Value, nil
	}
	return m.json(&v.ev)
}

// eventScope shows a record to an expression.
type eventScope struct{ v *EventValues }

func (s eventScope) Input() []byte                      { return nil }
func (s eventScope) Step(string) ([]byte, string, bool) { return nil, "", false }
func (s eventScope) Now() Time                          { return 0 }
func (s eventScope) Key() string                        { return string(s.v.rec.Key) }
func (s eventScope) Round() uint32                      { return 0 }
func (s eventScope) Signal(string) []byte               { return nil }
func (s eventScope) Event() []byte                      { return s.v.rec.Value }

// Item is the event for paths that are copied.
func (s eventScope) Item(name string) ([]byte, uint32) {
	if name == nameEvent {
		return s.v.rec.Value, 0
	}
	return nil, 0
}

var errKeyText = errors.New("the key of the record is not UTF-8")

// resolve gives the names that only a record has.
func (s eventScope) resolve(name string) (ref.Val, bool) {
	rec := &s.v.rec
	switch name {
	case nameKey:
		if !utf8.Valid(rec.Key) {
			return types.WrapErr(errKeyText), true
		}
		return types.String(rec.Key), true
	case nameHeaders:
		if len(rec.Headers) > maxEventHeaders {
			return types.NewErr("the record has %d headers, at most %d are looked at", len(rec.Headers), maxEventHeaders), true
		}
		if s.v.headers == nil {
			o := &object{}
			for _, h := range rec.Headers {
				if utf8.ValidString(h.Key) && utf8.ValidString(h.Value) {
					o.set(h.Key, h.Value)
				}
			}
			s.v.headers = &objectVal{o}
		}
		return s.v.headers, true
	case nameTopic:
		return types.String(rec.Topic), true
	case namePartition:
		return types.Int(rec.Partition), true
	case nameOffset:
		return types.Int(rec.Offset), true
	case nameTime:
		return types.Timestamp{Time: time.UnixMilli(int64(rec.Time)).UTC()}, true
	}
	return nil, false
}

// IDOf evaluates the id of a definition over an input. The error is that of the expression, or says
// that there is none.
func (p *Plan) IDOf(input []byte) (string, error) {
	if p.ID == nil {
		return "", fmt.Errorf("%s@%d has no id", p.Type, p.Version)
	}
	if !bytes.HasPrefix(input, []byte("{")) {
		return "", errors.New("the input is not a JSON object")
	}
	return p.ID.String(InputOnly(input))
}
