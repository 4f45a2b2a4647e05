package statestore

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// makeDir makes a directory and those above it, and waits until the disk has
// them: else a power cut could take the whole store, whatever it had written.
func makeDir(fsys vfs.FS, dir string) error {
	var parents []string // of those that are missing
	for d := dir; ; {
		if _, err := fsys.Stat(d); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		parent := fsys.PathDir(d)
		parents = append(parents, parent)
		if parent == d {
			break
		}
		d = parent
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, parent := range parents {
		f, err := fsys.OpenDir(parent)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
