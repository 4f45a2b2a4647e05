package statestore

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// haltFS stops the disk at the first write that it refuses. From then on
// nothing changes any more: writes, syncs, renames and removals are dropped
// and reported as done. To Pebble all goes well, so it neither panics with its
// locks held nor ends the process, and can be closed. The directory is left as
// kill -9 would have left it in that moment: the next Open finds an exact
// prefix there.
//
// The obvious way, passing the error on, does not work: Pebble answers a
// failed log write with a panic under its commit lock, after which Close never
// returns and the directory stays locked until the process ends.
//
// A failed sync stops the disk as well. It must not be tried again: the kernel
// may have dropped the pages, and a second sync would claim that they are safe.
type haltFS struct {
	vfs.FS
	halted atomic.Bool
	onHalt func(error) // may be called more than once
}

var _ vfs.FS = (*haltFS)(nil)

// halt is called with the error of a write. The cause is told before the disk
// stops, and so before anybody can meet a consequence of that.
func (h *haltFS) halt(err error) {
	if !h.halted.Load() {
		h.onHalt(err)
		h.halted.Store(true)
	}
}

// change runs an operation on names, unless the disk has stopped. An error
// that does not come from the machine is an answer, such as a file that is not
// there, and passes.
func (h *haltFS) change(op func() error) error {
	if h.halted.Load() {
		return nil
	}
	err := op()
	if err != nil && refused(err) {
		h.halt(err)
		return nil
	}
	return err
}

// writable runs an operation that opens a file for writing.
func (h *haltFS) writable(op func() (vfs.File, error)) (vfs.File, error) {
	if h.halted.Load() {
		return discard{}, nil
	}
	f, err := op()
	switch {
	case err == nil:
		return &haltFile{File: f, fs: h}, nil
	case refused(err):
		h.halt(err)
		return discard{}, nil
	}
	return nil, err
}

func (h *haltFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.writable(func() (vfs.File, error) { return h.FS.Create(name, c) })
}

func (h *haltFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.writable(func() (vfs.File, error) { return h.FS.ReuseForWrite(old, name, c) })
}

func (h *haltFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return h.writable(func() (vfs.File, error) { return h.FS.OpenReadWrite(name, c, opts...) })
}

func (h *haltFS) OpenDir(name string) (vfs.File, error) {
	return h.writable(func() (vfs.File, error) { return h.FS.OpenDir(name) })
}

func (h *haltFS) Link(old, name string) error {
	return h.change(func() error { return h.FS.Link(old, name) })
}

func (h *haltFS) Remove(name string) error {
	return h.change(func() error { return h.FS.Remove(name) })
}

func (h *haltFS) RemoveAll(name string) error {
	return h.change(func() error { return h.FS.RemoveAll(name) })
}

func (h *haltFS) Rename(old, name string) error {
	return h.change(func() error { return h.FS.Rename(old, name) })
}

func (h *haltFS) MkdirAll(dir string, perm os.FileMode) error {
	return h.change(func() error { return h.FS.MkdirAll(dir, perm) })
}

func (h *haltFS) Unwrap() vfs.FS { return h.FS }

// haltFile is a file that is written.
type haltFile struct {
	vfs.File
	fs *haltFS
}

func (f *haltFile) Write(b []byte) (int, error) {
	err := f.do(func() error { _, err := f.File.Write(b); return err })
	return len(b), err
}

func (f *haltFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.do(func() error { _, err := f.File.WriteAt(b, at); return err })
	return len(b), err
}

func (f *haltFile) Sync() error     { return f.do(f.File.Sync) }
func (f *haltFile) SyncData() error { return f.do(f.File.SyncData) }

func (f *haltFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Preallocate is a hint: what it cannot do, the write will tell.
func (f *haltFile) Preallocate(offset, length int64) error {
	if f.fs.halted.Load() {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

// Close closes the file also on a stopped disk.
func (f *haltFile) Close() error {
	if err := f.File.Close(); err != nil && !f.fs.halted.Load() {
		f.fs.halt(err)
	}
	return nil
}

// do stops the disk at any error at all.
func (f *haltFile) do(op func() error) error {
	if f.fs.halted.Load() {
		return nil
	}
	if err := op(); err != nil {
		f.fs.halt(err)
	}
	return nil
}

// discard is a file that was opened for writing after the disk stopped.
type discard struct{}

func (discard) Read([]byte) (int, error)               { return 0, io.EOF }
func (discard) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (discard) Write(b []byte) (int, error)            { return len(b), nil }
func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (discard) Close() error                           { return nil }
func (discard) Preallocate(_, _ int64) error           { return nil }
func (discard) Prefetch(_, _ int64) error              { return nil }
func (discard) Stat() (vfs.FileInfo, error)            { return nothing{}, nil }
func (discard) Sync() error                            { return nil }
func (discard) SyncData() error                        { return nil }
func (discard) SyncTo(int64) (bool, error)             { return true, nil }
func (discard) Fd() uintptr                            { return vfs.InvalidFd }

// nothing is what there is to say about such a file.
type nothing struct{}

func (nothing) Name() string           { return "" }
func (nothing) Size() int64            { return 0 }
func (nothing) Mode() os.FileMode      { return 0 }
func (nothing) ModTime() time.Time     { return time.Time{} }
func (nothing) IsDir() bool            { return false }
func (nothing) Sys() any               { return nil }
func (nothing) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
