package claimcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Dir is a store in a directory, for one machine or a file system that all share. Values lie in
// <dir>/<first two digits>/<name>.
type Dir struct{ path string }

// NewDir makes the directory when it is missing.
func NewDir(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("claimcheck: the directory has no name")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return &Dir{path}, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name[:2], name) }

// Put implements Store: the value is written beside its place, synced, and moved there.
func (d *Dir) Put(ctx context.Context, name string, value []byte, _ string) error {
	if !validName(name) {
		return fmt.Errorf("%w: name", ErrMalformed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	path := d.file(name)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(value)) {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err == nil { // Prune counts from the last Put
			return nil
		}
	}
	if err := d.write(path, value); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (d *Dir) write(path string, value []byte) error {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err == nil {
		if err := syncDir(d.path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what is left of it is deleted by Prune
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get implements Store.
func (d *Dir) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if !validName(name) {
		return nil, fmt.Errorf("%w: name", ErrMalformed)
	}
	f, err := os.Open(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return f, nil
}

// Prune deletes what was put for the last time before a time, and what crashes have left. It returns how
// many values it has deleted.
func (d *Dir) Prune(ctx context.Context, before time.Time) (n int, err error) {
	err = filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		name := filepath.Base(path)
		if !e.Type().IsRegular() || !validName(name) && !strings.HasPrefix(name, ".new-") {
			return nil // not ours
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			return nil // it is gone already, or young
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if validName(name) {
			n++
		}
		return nil
	})
	return n, err
}
