package statestore

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Limits. They are far above what a changelog record may carry and exist so
// that a bug ends in an error instead of in a huge allocation.
const (
	KeyMax   = 16 << 10 // bytes of a key
	ValueMax = 64 << 20 // bytes of a value
	AttrMax  = 512      // bytes of an attribute
)

// Kinds: the first byte of every key in Pebble.
const (
	KindData  byte = 'd'
	KindTimer byte = 't'
	KindAttr  byte = 'x'
	kindMeta  byte = 'm'
)

// reserved reports whether key belongs to the runtime, not to the user.
func reserved(key []byte) bool { return len(key) > 0 && key[0] == 0 }

func appendData(dst, key []byte) []byte {
	return append(append(dst, KindData), key...)
}

func appendTimer(dst []byte, due int64, key []byte) []byte {
	dst = append(dst, KindTimer)
	dst = binary.BigEndian.AppendUint64(dst, uint64(due))
	return append(dst, key...)
}

// splitTimer is the inverse of appendTimer, without the kind.
func splitTimer(b []byte) (due int64, key []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(b)), b[8:], true
}

func appendAttr(dst []byte, attr string, key []byte) []byte {
	dst = append(dst, KindAttr)
	dst = append(dst, attr...)
	dst = append(dst, 0)
	return append(dst, key...)
}

func attrValid(attr string) bool {
	return attr != "" && len(attr) <= AttrMax && strings.IndexByte(attr, 0) < 0
}

// upper returns the smallest key above all keys with this prefix. The prefix
// begins with a kind, so there always is one.
func upper(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Local metadata.
var (
	keyIdentity = []byte{kindMeta, 'i'}
	keyPosition = []byte{kindMeta, 'p'}
)

// layout is the version of the key layout and of the local metadata.
const layout = 1

const (
	positionSize = 1 + 8 + 8 + 8
	identityMax  = 4 << 10
)

// appendPosition also carries the number of applied batches, the chain's head.
func appendPosition(dst []byte, p Position, applied uint64) []byte {
	dst = append(dst, layout)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Next))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Time))
	return binary.BigEndian.AppendUint64(dst, applied)
}

func parsePosition(b []byte) (p Position, applied uint64, err error) {
	if len(b) != positionSize || b[0] != layout {
		return p, 0, fmt.Errorf("%w: position of %d bytes", ErrCorrupt, len(b))
	}
	p.Next = int64(binary.BigEndian.Uint64(b[1:]))
	p.Time = int64(binary.BigEndian.Uint64(b[9:]))
	applied = binary.BigEndian.Uint64(b[17:])
	if p.Next < 0 || p.Time < 0 || applied == 0 {
		return Position{}, 0, fmt.Errorf("%w: position %d, time %d, applied %d", ErrCorrupt, p.Next, p.Time, applied)
	}
	return p, applied, nil
}

func appendIdentity(dst []byte, id Identity) []byte {
	dst = append(dst, layout)
	dst = binary.BigEndian.AppendUint32(dst, id.Format)
	dst = binary.BigEndian.AppendUint32(dst, uint32(id.Partition))
	dst = binary.BigEndian.AppendUint32(dst, uint32(id.Partitions))
	dst = append(dst, id.TopicID[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(id.Cluster)))
	dst = append(dst, id.Cluster...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(id.Topic)))
	return append(dst, id.Topic...)
}

func parseIdentity(b []byte) (id Identity, err error) {
	if len(b) == 0 || len(b) > identityMax {
		return id, fmt.Errorf("%w: identity of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] > layout {
		return id, fmt.Errorf("%w: layout %d, this one knows %d", ErrNewerFormat, b[0], layout)
	}
	bad := fmt.Errorf("%w: identity cut short", ErrCorrupt)
	if b = b[1:]; len(b) < 12+16 {
		return id, bad
	}
	id.Format = binary.BigEndian.Uint32(b)
	id.Partition = int32(binary.BigEndian.Uint32(b[4:]))
	id.Partitions = int32(binary.BigEndian.Uint32(b[8:]))
	copy(id.TopicID[:], b[12:])
	b = b[12+16:]
	for _, dst := range []*string{&id.Cluster, &id.Topic} {
		if len(b) < 2 {
			return id, bad
		}
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; len(b) < n {
			return id, bad
		}
		*dst, b = string(b[:n]), b[n:]
	}
	if len(b) != 0 {
		return id, fmt.Errorf("%w: identity with %d bytes too many", ErrCorrupt, len(b))
	}
	return id, nil
}
