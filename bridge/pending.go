package bridge

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/amendsio/amends/participant/durable"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/statestore"
)

// Keys of the store: those of the inbox (durable.RowKey), and one per call that is under way.
const pendingPrefix = 'p' // + saga-key

func pendingKey(sagaKey string) []byte { return append([]byte{pendingPrefix}, sagaKey...) }

// pending is a call that was begun and whose reply is not written.
type pending struct {
	Command protocol.Command   `json:"cmd"`
	Output  json.RawMessage    `json:"out,omitempty"` // of the do, for an undo or an inquiry
	Known   bool               `json:"known,omitempty"`
	Started int64              `json:"at"`                // ms: when the row of the key was made
	Clean   bool               `json:"clean,omitempty"`   // the row was made together with this entry
	Earlier []protocol.Command `json:"earlier,omitempty"` // deliveries before Command: each is answered
	Result  *result            `json:"res,omitempty"`

	payload []byte
}

// maxEarlier bounds the deliveries of one key that wait for one call; the oldest of more hears nothing.
const maxEarlier = 16

// First byte of an entry: what it waits for.
const (
	waits byte = 1 // for its call
	ended byte = 2 // for its reply
)

var errPending = errors.New("not a pending call")

// append writes state, length and JSON of what is known, length and bytes of the result's output, payload.
func (p *pending) append(dst []byte) ([]byte, error) {
	about, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("pending call: %w", err)
	}
	state, output := waits, []byte(nil)
	if p.Result != nil {
		state, output = ended, p.Result.Output
	}
	dst = append(dst, state)
	for _, part := range [][]byte{about, output} {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return append(dst, p.payload...), nil
}

// decodePending reads what append wrote. Nothing aliases b.
func decodePending(b []byte) (*pending, error) {
	if len(b) == 0 || b[0] != waits && b[0] != ended {
		return nil, errPending
	}
	state, rest := b[0], b[1:]
	var parts [2][]byte
	for i := range parts {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return nil, errPending
		}
		parts[i], rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	p := &pending{}
	if err := json.Unmarshal(parts[0], p); err != nil {
		return nil, fmt.Errorf("%w: %w", errPending, err)
	}
	if (p.Result != nil) != (state == ended) {
		return nil, errPending
	}
	if p.Result != nil && len(parts[1]) > 0 {
		p.Result.Output = append([]byte(nil), parts[1]...)
	}
	p.payload = append([]byte(nil), rest...)
	return p, nil
}

// index derives when an entry is due: a row at the end of its retention, a call that has ended at once.
func index(retention time.Duration) statestore.Indexer {
	rows := durable.Index(retention)
	return func(key, value []byte) statestore.Entry {
		if len(key) == 0 || key[0] != pendingPrefix {
			return rows(key, value)
		}
		if len(value) > 0 && value[0] == ended {
			return statestore.Entry{Due: 1}
		}
		return statestore.Entry{}
	}
}
