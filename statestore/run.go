package statestore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A run is a file of entries in key order, written once, read once, and never
// needed after a crash. It is a row of blocks:
//
//	length 4B | CRC-32C of the payload 4B | payload
//
// A payload holds whole entries: the length of the key, 0 for a deletion or 1
// and the length of the value, key, value; lengths are varints.
const (
	runBlock    = 64 << 10
	runBlockMax = runBlock + KeyMax + ValueMax + 1 + 2*binary.MaxVarintLen64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type runWriter struct {
	f     vfs.File
	block []byte
}

func newRunWriter(fs vfs.FS, name string) (*runWriter, error) {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &runWriter{f: f, block: make([]byte, 8, runBlock+4<<10)}, nil
}

func (w *runWriter) put(key, val []byte) error {
	w.block = binary.AppendUvarint(w.block, uint64(len(key)))
	if val == nil {
		w.block = append(w.block, 0)
	} else {
		w.block = binary.AppendUvarint(w.block, uint64(len(val))+1)
	}
	w.block = append(append(w.block, key...), val...)
	if len(w.block) < runBlock {
		return nil
	}
	return w.flush()
}

func (w *runWriter) flush() error {
	payload := w.block[8:]
	if len(payload) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(w.block, uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.block[4:], crc32.Checksum(payload, castagnoli))
	_, err := w.f.Write(w.block)
	w.block = w.block[:8]
	return err
}

func (w *runWriter) close() error {
	err := w.flush()
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	return err
}

type runReader struct {
	f     vfs.File
	in    *bufio.Reader
	name  string
	block []byte
	rest  []byte // of the block
}

func openRun(fs vfs.FS, name string) (*runReader, error) {
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	return &runReader{f: f, in: bufio.NewReaderSize(f, runBlock), name: name}, nil
}

// next returns the next entry; its slices are valid until the call after.
func (r *runReader) next() (key, val []byte, ok bool, err error) {
	if len(r.rest) == 0 {
		if ok, err := r.load(); err != nil || !ok {
			return nil, nil, false, err
		}
	}
	k, n := binary.Uvarint(r.rest)
	if n <= 0 {
		return nil, nil, false, r.corrupt()
	}
	r.rest = r.rest[n:]
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		return nil, nil, false, r.corrupt()
	}
	r.rest = r.rest[n:]
	size := uint64(0)
	if v > 0 {
		size = v - 1
	}
	if k > KeyMax+1 || size > ValueMax || k+size > uint64(len(r.rest)) {
		return nil, nil, false, r.corrupt()
	}
	key = r.rest[:k:k]
	if v > 0 {
		val = r.rest[k : k+size : k+size]
	}
	r.rest = r.rest[k+size:]
	return key, val, true, nil
}

// load reads the next block; false at the end of the file.
func (r *runReader) load() (ok bool, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r.in, head[:]); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, r.cut(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > runBlockMax {
		return false, r.corrupt()
	}
	if cap(r.block) < int(n) {
		r.block = make([]byte, n)
	}
	r.block = r.block[:n]
	if _, err := io.ReadFull(r.in, r.block); err != nil {
		return false, r.cut(err)
	}
	if crc32.Checksum(r.block, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return false, r.corrupt()
	}
	r.rest = r.block
	return true, nil
}

func (r *runReader) cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return r.corrupt()
	}
	return err
}

func (r *runReader) corrupt() error { return fmt.Errorf("%w: sorted run %s", ErrCorrupt, r.name) }

func (r *runReader) close() error { return r.f.Close() }
