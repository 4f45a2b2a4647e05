package statestore

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// inspect looks for damage that Pebble would take for an empty or older store.
//
// A directory with tables or logs and no manifest is not new: Pebble would
// make a new store there and replay the logs into it. And a manifest that
// breaks off in the middle is not an unfinished write: Pebble would go back to
// an older set of tables, while the logs between that and now are deleted.
func inspect(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		if strings.Contains(err.Error(), "unknown format major version") {
			return fmt.Errorf("%w: %v", ErrNewerFormat, err)
		}
		return err
	}
	if !desc.Exists {
		names, err := fs.List(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".blob") {
				return fmt.Errorf("%w: it has %s and no manifest", ErrCorrupt, name)
			}
		}
		return nil
	}
	f, err := fs.Open(desc.ManifestFilename)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := record.NewReader(f, 0); ; {
		edit, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, edit)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case record.IsInvalidRecord(err):
			return fmt.Errorf("%w: manifest: %v", ErrCorrupt, err)
		case err != nil:
			return err
		}
	}
}
