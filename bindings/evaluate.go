package bindings

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Event is a record under evaluation. One goroutine uses it, for one record after another.
type Event struct {
	Record sagas.EventRecord
	Values sagas.EventValues
}

// Take makes ev the next record. Its value is canonical JSON.
func (ev *Event) Take(rec sagas.EventRecord) {
	ev.Record = rec
	ev.Values.Reset(rec)
}

// Position is <topic>/<partition>/<offset>.
func (ev *Event) Position() string {
	b := make([]byte, 0, len(ev.Record.Topic)+24)
	b = append(append(b, ev.Record.Topic...), '/')
	b = append(strconv.AppendInt(b, int64(ev.Record.Partition), 10), '/')
	return string(strconv.AppendInt(b, ev.Record.Offset, 10))
}

// Headers of CloudEvents in binary mode, beside protocol.HeaderCloudEventID.
const headerCloudEventSource = "ce_source"

// ID is what makes two records one event: the CloudEvents source and id, else the position. own says
// that it is the event's own.
func (ev *Event) ID() (id string, own bool) {
	var source, event string
	for _, h := range ev.Record.Headers {
		switch strings.ToLower(h.Key) {
		case protocol.HeaderCloudEventID:
			event = h.Value
		case headerCloudEventSource:
			source = h.Value
		}
	}
	if event == "" {
		return ev.Position(), false
	}
	return "ce:" + source + "#" + event, true
}

// HeaderBinding names the binding on what it wrote, HeaderEvent the record that it was made from.
const (
	HeaderBinding = "saga-binding"
	HeaderEvent   = "saga-event"
)

// Evaluate implements Rule: a start, a signal, both in one, or nothing.
func (b *Binding) Evaluate(ev *Event, dst []Output) ([]Output, error) {
	holds, err := ev.Values.Bool(b.Def.When)
	if err != nil {
		return dst, &Fault{ClassFilter, "when: " + err.Error()}
	}
	if !holds {
		return dst, nil
	}
	var input, payload []byte
	if b.Def.Action.Starts() {
		if input, err = ev.Values.JSON(b.Def.Input); err != nil {
			return dst, &Fault{ClassMapping, "input: " + err.Error()}
		}
		if input[0] != '{' {
			return dst, &Fault{ClassMapping, "input: the result is not a JSON object"}
		}
	}
	if b.Def.Action.Signals() {
		if payload, err = ev.Values.JSON(b.Def.Payload); err != nil {
			return dst, &Fault{ClassMapping, "payload: " + err.Error()}
		}
		if len(payload) > protocol.MaxSignalBytes {
			return dst, &Fault{ClassTooLarge, "payload: the result has " + strconv.Itoa(len(payload)) + " bytes, the limit is " + strconv.Itoa(protocol.MaxSignalBytes)}
		}
	}
	id, err := b.instance(ev, input)
	if err != nil {
		return dst, err
	}
	event, _ := ev.ID()
	if b.Def.Dedupe != nil {
		if event, err = ev.Values.Text(b.Def.Dedupe); err != nil {
			return dst, &Fault{ClassMapping, "dedupe: " + err.Error()}
		}
		if event == "" {
			return dst, &Fault{ClassMapping, "dedupe: the result is empty"}
		}
	}
	value := b.append(make([]byte, 0, 256+len(input)+len(payload)), ev, id, event, input, payload)
	if len(value) > protocol.MaxRecordBytes {
		return dst, &Fault{ClassTooLarge, "the result has " + strconv.Itoa(len(value)) + " bytes, the limit is " + strconv.Itoa(protocol.MaxRecordBytes)}
	}
	out := Output{Key: []byte(b.Plan.Type + "/" + id), Value: value, Headers: []sagas.KV{{Key: HeaderBinding, Value: b.Key()}, {Key: HeaderEvent, Value: ev.Position()}}}
	for _, h := range ev.Record.Headers {
		// It only links traces: one that cannot be passed on is no reason to refuse the event.
		if strings.EqualFold(h.Key, protocol.HeaderTraceparent) && len(h.Value) <= maxTrace && utf8.ValidString(h.Value) {
			out.Headers = append(out.Headers, sagas.KV{Key: protocol.HeaderTraceparent, Value: h.Value})
			break
		}
	}
	return append(dst, out), nil
}

const maxTrace = 256

var errNoText = errors.New("the result is empty")

// instance is the id part of the workflow ID.
func (b *Binding) instance(ev *Event, input []byte) (string, error) {
	var id string
	var err error
	if b.Def.ID != nil {
		id, err = ev.Values.Text(b.Def.ID)
	} else {
		id, err = b.Plan.IDOf(input)
	}
	switch {
	case err != nil:
	case id == "":
		err = errNoText
	default:
		err = protocol.ValidateID(id)
	}
	if err != nil {
		return "", &Fault{ClassNoID, "id: " + err.Error()}
	}
	return id, nil
}

// eventID is an event's id as an instance remembers it: what would be too long, or no text, as its hash.
func eventID(prefix, id string) string {
	if id = prefix + id; len(id) <= protocol.MaxID && plain(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// plain says that protocol takes the text as an id.
func plain(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// append writes the intake record: JSON, as docs/protocol.md has it.
func (b *Binding) append(dst []byte, ev *Event, id, event string, input, payload []byte) []byte {
	text := func(key, s string) {
		dst = sagas.AppendText(append(dst, key...), s)
	}
	issued := func(key string) {
		if at := ev.Record.Time; at > 0 && at <= protocol.MaxTime {
			text(key, time.UnixMilli(int64(at)).UTC().Format(time.RFC3339Nano))
		}
	}
	signal := func() {
		text(`"name":`, b.Def.Signal)
		text(`,"signalId":`, eventID(b.Def.Signal+":", event))
		dst = append(append(dst, `,"payload":`...), payload...)
		if b.Def.TTL > 0 {
			text(`,"ttl":`, sagas.FormatDuration(b.Def.TTL))
		}
	}
	if b.Def.Action == sagas.BindSignal {
		text(`{"kind":"signal","type":`, b.Plan.Type)
		text(`,"id":`, id)
		issued(`,"issuedAt":`)
		dst = append(dst, ',')
		signal()
		return append(dst, '}')
	}
	text(`{"kind":"start","type":`, b.Plan.Type)
	text(`,"id":`, id)
	// The version whose mapping made the input, whatever is active when the start is read.
	dst = strconv.AppendUint(append(dst, `,"version":`...), uint64(b.Plan.Version), 10)
	text(`,"startId":`, eventID("", event))
	issued(`,"issuedAt":`)
	dst = append(append(dst, `,"input":`...), input...)
	if b.Def.Action == sagas.BindStartOrSignal {
		dst = append(dst, `,"orSignal":{`...)
		signal()
		dst = append(dst, '}')
	}
	return append(dst, '}')
}
