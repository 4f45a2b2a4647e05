package topology

import (
	"io"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// noteName is a file in the directory of a store that says how far the store is.
// It is written when the store is closed and goes with the directory when the
// store is wiped. A process that starts tells the group what it has without
// opening a store. It is a hint: after a crash it says less than there is, and
// nothing but the choice of who keeps a copy depends on it.
const noteName = "position"

// noteMost bounds what is read of it.
const noteMost = 32

// readNote is the position, 0 when there is no note that can be read.
func readNote(fs vfs.FS, dir string) int64 {
	f, err := fs.Open(fs.PathJoin(dir, noteName))
	if err != nil {
		return 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, noteMost))
	if err != nil {
		return 0
	}
	next, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || next < 0 {
		return 0
	}
	return next
}

func writeNote(fs vfs.FS, dir string, next int64) error {
	f, err := fs.Create(fs.PathJoin(dir, noteName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(strconv.AppendInt(nil, next, 10))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
