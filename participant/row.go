package participant

import (
	"encoding/binary"
	"errors"

	"github.com/amendsio/amends/protocol"
)

// ErrRow is returned for bytes that are not a row.
var ErrRow = errors.New("not an inbox row")

// rowFormat is the first byte of an encoded row.
const rowFormat = 1

const (
	flagNoop   = 1 << 0
	flagUndone = 1 << 1
)

var effects = []protocol.Effect{"", protocol.EffectNone, protocol.EffectDone, protocol.EffectUnknown}

// Append appends the row as bytes, for adapters that store bytes. The encoding is deterministic.
func (r Row) Append(dst []byte) []byte {
	effect := 0
	for i, e := range effects {
		if e == r.Effect {
			effect = i
		}
	}
	flags := byte(0)
	if r.Noop {
		flags |= flagNoop
	}
	if r.Undone {
		flags |= flagUndone
	}
	dst = append(dst, rowFormat, byte(r.Status), byte(effect), flags)
	dst = binary.AppendUvarint(dst, uint64(r.At))
	dst = binary.AppendUvarint(dst, uint64(r.Until))
	dst = append(dst, r.Sum[:]...)
	for _, s := range []string{r.Code, r.Message} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Output)))
	return append(dst, r.Output...)
}

// DecodeRow reads what Append wrote. Output does not alias b.
func DecodeRow(b []byte) (Row, error) {
	if len(b) < 4 || b[0] != rowFormat {
		return Row{}, ErrRow
	}
	r := Row{Status: Status(b[1]), Noop: b[3]&flagNoop != 0, Undone: b[3]&flagUndone != 0}
	if r.Status < Started || r.Status > Failed || int(b[2]) >= len(effects) || b[3]&^(flagNoop|flagUndone) != 0 {
		return Row{}, ErrRow
	}
	r.Effect = effects[b[2]]
	d := rowReader{b: b[4:]}
	r.At, r.Until = int64(d.uvarint()), int64(d.uvarint())
	copy(r.Sum[:], d.take(uint64(len(r.Sum))))
	r.Code = string(d.take(d.uvarint()))
	r.Message = string(d.take(d.uvarint()))
	if output := d.take(d.uvarint()); len(output) > 0 {
		r.Output = append([]byte(nil), output...)
	}
	if d.bad || len(d.b) > 0 {
		return Row{}, ErrRow
	}
	return r, nil
}

// RowTime returns the time of insertion of an encoded row in ms since the epoch, 0 when b is no row.
func RowTime(b []byte) int64 {
	if len(b) < 5 || b[0] != rowFormat {
		return 0
	}
	d := rowReader{b: b[4:]}
	return max(int64(d.uvarint()), 0)
}

type rowReader struct {
	b   []byte
	bad bool
}

func (d *rowReader) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *rowReader) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}
