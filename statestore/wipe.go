package statestore

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// wipeSuffix marks a directory that is being removed.
const wipeSuffix = ".wiped"

// Wipe removes the directory of a store and all in it. One that does not exist
// is no error; one that is in use is ErrLocked. The directory is renamed
// first, so that a crash on the way leaves no half of a store behind.
func Wipe(fsys vfs.FS, dir string) error {
	if fsys == nil {
		fsys = vfs.Default
	}
	if dir == "" {
		return fmt.Errorf("%w: no directory", ErrMisuse)
	}
	gone := dir + wipeSuffix
	if err := ignoreMissing(fsys.RemoveAll(gone)); err != nil {
		return wipeError(dir, err)
	}
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return wipeError(dir, err)
	}
	lock, err := pebble.LockDirectory(dir, fsys)
	if err != nil {
		if refused(err) {
			return wipeError(dir, err)
		}
		return fmt.Errorf("wipe state store %s: %w: %v", dir, ErrLocked, err)
	}
	err = fsys.Rename(dir, gone)
	if cerr := lock.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.RemoveAll(gone)
	}
	if err != nil {
		return wipeError(dir, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func wipeError(dir string, err error) error {
	return fmt.Errorf("wipe state store %s: %w", dir, classify(err, false))
}
