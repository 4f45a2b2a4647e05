package topology

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// HeaderOrigin marks a record that a stage has made from a record of another topic: its value is
// <stage>/<topic>/<partition>/<offset> of that record. See Config.Origins.
const HeaderOrigin = "saga-origin"

// originPrefix begins the keys of the watermarks: reserved, so they are never listed or indexed.
//
//	0x00 origin/<input>/<partition>/<stage>/<topic>/<partition>   highest offset taken, 8 bytes
const originPrefix = "\x00origin/"

// originMax bounds the part of the header that becomes a key.
const originMax = 600

// origin splits the header of a record; ok is false when it has none, or one that says nothing.
func origin(rec *kgo.Record) (from []byte, offset int64, ok bool) {
	for i := range rec.Headers {
		if rec.Headers[i].Key != HeaderOrigin {
			continue
		}
		value := rec.Headers[i].Value
		slash := bytes.LastIndexByte(value, '/')
		if slash <= 0 || slash > originMax {
			return nil, 0, false
		}
		n, err := strconv.ParseInt(string(value[slash+1:]), 10, 64)
		return value[:slash], n, err == nil && n >= 0
	}
	return nil, 0, false
}

// repeated says that the record was made from a source record that was taken already, and otherwise
// moves the watermark. There is one for each source partition and input partition: a stage writes what it
// makes of one source partition in order, so offsets on an input partition only rise. That does not hold
// for what another task has forwarded, which is taken as it comes.
func (c *Cycle) repeated(rec *kgo.Record) (bool, error) {
	from, offset, ok := origin(rec)
	if !ok || forwarded(rec) {
		return false, nil
	}
	key := append(c.originKey[:0], originPrefix...)
	key = append(append(key, rec.Topic...), '/')
	key = append(strconv.AppendInt(key, int64(rec.Partition), 10), '/')
	key = append(key, from...)
	c.originKey = key
	last, found, err := c.batch.Get(key)
	if err != nil {
		return false, err
	}
	if found && len(last) == 8 && offset <= int64(binary.BigEndian.Uint64(last)) {
		c.stats.Repeated++
		return true, nil
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(offset))
	c.batch.Put(key, b[:])
	return false, nil
}
