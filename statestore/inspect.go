package statestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// inspect looks for damage that Pebble would take for an empty or older store.
//
// A directory with tables or logs and no manifest is not new: Pebble would
// make a new store there and replay the logs into it. And a manifest that is
// broken in the middle is not an unfinished write: Pebble would go back to an
// older set of tables, while the logs between that and now are deleted. Where
// only the end of the manifest is broken, a crash may have done it; whether
// something is missing then is for the chain to find.
func inspect(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		if strings.Contains(err.Error(), "unknown format major version") {
			return fmt.Errorf("%w: %v", ErrNewerFormat, err)
		}
		return err
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	if desc.Exists {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "marker.format-version.") }) {
			return fmt.Errorf("%w: it has a manifest and no format version", ErrCorrupt)
		}
		return inspectManifest(fs, desc.ManifestFilename)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".blob") {
			return fmt.Errorf("%w: it has %s and no manifest", ErrCorrupt, name)
		}
	}
	return nil
}

func inspectManifest(fs vfs.FS, name string) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := record.NewReader(f, 0)
	for {
		at := r.Offset()
		edit, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, edit)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case record.IsInvalidRecord(err):
			later, err := chunkAfter(f, at+1)
			if err == nil && later {
				err = fmt.Errorf("%w: manifest broken at offset %d", ErrCorrupt, at)
			}
			return err
		case err != nil:
			return err
		}
	}
}

const (
	manifestMax = 256 << 20 // Pebble begins a new one at 128 MiB
	chunkHeader = 4 + 2 + 1 // checksum, length, type
)

// chunkAfter reports whether a chunk with a good checksum begins at an offset
// or behind it.
func chunkAfter(f vfs.File, at int64) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() > manifestMax {
		return false, fmt.Errorf("%w: manifest of %d bytes", ErrCorrupt, info.Size())
	}
	b := make([]byte, max(0, info.Size()-at))
	if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	for ; len(b) >= chunkHeader; b = b[1:] {
		n := int(binary.LittleEndian.Uint16(b[4:]))
		if kind := b[6]; kind < 1 || kind > 4 || chunkHeader+n > len(b) {
			continue
		}
		sum := crc32.Checksum(b[6:chunkHeader+n], crc32.MakeTable(crc32.Castagnoli))
		if sum = sum>>15 | sum<<17; sum+0xa282ead8 == binary.LittleEndian.Uint32(b) {
			return true, nil
		}
	}
	return false, nil
}
