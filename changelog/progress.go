package changelog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// InputPosition says which offset of an input partition is read next.
type InputPosition struct {
	Topic     string
	Partition int32
	Next      int64
}

// InputSpan is a run of offsets, From and before To, that were taken although
// earlier ones of their partition were not. Input is the place of the partition
// in Progress.Inputs.
type InputSpan struct {
	Input    int
	From, To int64
}

// Progress is what a commit says besides state: how far each input was read,
// and by whom. One record per task, replaced by each commit.
type Progress struct {
	Inputs []InputPosition
	// Ahead, in order and with gaps, all behind the Next of their inputs. At
	// most SpansMax. Mostly there are none.
	Ahead  []InputSpan
	Time   int64  // of the commit, milliseconds since 1970
	Epoch  int64  // raised by each takeover of the task
	Owner  string // address of the process, for people
	Commit uint64 // number of the commit, counted over all owners
}

// Limits of a progress record.
const (
	ownerMax  = 1 << 10
	topicMax  = 249 // Kafka's
	inputsMax = 1 << 17
	// SpansMax bounds Progress.Ahead.
	SpansMax = 1 << 12
)

const (
	progressFormat = 1 // without spans
	spansFormat    = 2
)

// Append encodes p behind dst.
//
//	format(1) commit time epoch owner runs { topic count { partition next } }
//	spans { input gap length }
//
// The second line is there with format 2 only, and then not empty. A gap counts
// from the span before, or from Next; inputs are counted from the one before.
// Numbers are varints, time and epoch and next zigzag; texts have their length
// in front. A run holds neighbours of one topic, so that its name is written
// once.
func (p *Progress) Append(dst []byte) []byte {
	if len(p.Ahead) > 0 {
		dst = append(dst, spansFormat)
	} else {
		dst = append(dst, progressFormat)
	}
	dst = binary.AppendUvarint(dst, p.Commit)
	dst = binary.AppendVarint(dst, p.Time)
	dst = binary.AppendVarint(dst, p.Epoch)
	dst = appendText(dst, p.Owner)
	runs := uint64(0)
	for i := range p.Inputs {
		if i == 0 || p.Inputs[i].Topic != p.Inputs[i-1].Topic {
			runs++
		}
	}
	dst = binary.AppendUvarint(dst, runs)
	for i := 0; i < len(p.Inputs); {
		end := i + 1
		for end < len(p.Inputs) && p.Inputs[end].Topic == p.Inputs[i].Topic {
			end++
		}
		dst = appendText(dst, p.Inputs[i].Topic)
		dst = binary.AppendUvarint(dst, uint64(end-i))
		for ; i < end; i++ {
			dst = binary.AppendUvarint(dst, uint64(uint32(p.Inputs[i].Partition)))
			dst = binary.AppendVarint(dst, p.Inputs[i].Next)
		}
	}
	if len(p.Ahead) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Ahead)))
	input := 0
	end := int64(0)
	for i, s := range p.Ahead {
		if i == 0 || s.Input != input {
			end = p.Inputs[s.Input].Next
		}
		dst = binary.AppendUvarint(dst, uint64(s.Input-input))
		dst = binary.AppendUvarint(dst, uint64(s.From-end))
		dst = binary.AppendUvarint(dst, uint64(s.To-s.From))
		input, end = s.Input, s.To
	}
	return dst
}

// spans reads what Append wrote of p.Ahead.
func (p *Progress) spans(r *reader) {
	count := r.uvarint()
	// Each takes three bytes at least.
	if count == 0 || count > SpansMax || count > uint64(len(r.b)/3) {
		r.failed = true
		return
	}
	p.Ahead = make([]InputSpan, 0, count)
	input, end := uint64(0), int64(0)
	for i := range count {
		further, gap, length := r.uvarint(), r.uvarint(), r.uvarint()
		if r.failed || further > uint64(len(p.Inputs)) || input+further >= uint64(len(p.Inputs)) {
			r.failed = true
			return
		}
		if input += further; i == 0 || further > 0 {
			end = p.Inputs[input].Next
		}
		if gap == 0 || length == 0 || gap > uint64(math.MaxInt64-end) || length > uint64(math.MaxInt64-end)-gap {
			r.failed = true
			return
		}
		s := InputSpan{Input: int(input), From: end + int64(gap), To: end + int64(gap) + int64(length)}
		p.Ahead, end = append(p.Ahead, s), s.To
	}
}

// DecodeProgress is the inverse of Append. It refuses everything that Append
// would not have written, and allocates nothing that the bytes do not pay for.
func DecodeProgress(b []byte) (Progress, error) {
	p, err := decodeProgress(b)
	if err == nil && !bytes.Equal(p.Append(make([]byte, 0, len(b))), b) {
		err = fmt.Errorf("not the shortest encoding")
	}
	if err != nil {
		return Progress{}, fmt.Errorf("%w: progress record: %w", ErrFatal, err)
	}
	return p, nil
}

func decodeProgress(b []byte) (p Progress, err error) {
	if len(b) == 0 {
		return p, fmt.Errorf("empty")
	}
	if b[0] != progressFormat && b[0] != spansFormat {
		return p, fmt.Errorf("format %d, this version knows %d", b[0], spansFormat)
	}
	r := reader{b: b[1:]}
	p.Commit = r.uvarint()
	p.Time = r.varint()
	p.Epoch = r.varint()
	p.Owner = r.text(ownerMax)
	runs := r.uvarint()
	for ; runs > 0 && !r.failed; runs-- {
		topic := r.text(topicMax)
		count := r.uvarint()
		// Each position takes two bytes at least.
		if topic == "" || count == 0 || count > uint64(len(r.b)/2) || count > uint64(inputsMax-len(p.Inputs)) {
			r.failed = true
			break
		}
		if p.Inputs == nil {
			p.Inputs = make([]InputPosition, 0, count)
		}
		for ; count > 0; count-- {
			partition, next := r.uvarint(), r.varint()
			if partition > 1<<31-1 || next < 0 {
				r.failed = true
			}
			p.Inputs = append(p.Inputs, InputPosition{Topic: topic, Partition: int32(partition), Next: next})
		}
	}
	if b[0] == spansFormat && !r.failed {
		p.spans(&r)
	}
	switch {
	case r.failed || p.Time < 0:
		return p, fmt.Errorf("malformed")
	case len(r.b) != 0:
		return p, fmt.Errorf("%d bytes too many", len(r.b))
	}
	return p, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// reader takes values off b until the first that is not there.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return take(r, v, n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return take(r, v, n)
}

func take[T any](r *reader, v T, n int) T {
	var zero T
	if r.failed || n <= 0 {
		r.failed = true
		return zero
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text(most int) string {
	n := r.uvarint()
	if r.failed || n > uint64(most) || n > uint64(len(r.b)) {
		r.failed = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
