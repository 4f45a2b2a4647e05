package statestore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// The errors of this package, by who must act.
//
//	corrupt   ErrCorrupt, ErrIdentity (when Rebuild): wipe the directory, restore
//	retry     ErrFailed: the disk refused; close the store and open it later
//	fatal     ErrNewerFormat, ErrLocked, ErrIdentity (otherwise): the operator
//	          ErrLimit, ErrMisuse, ErrIndexer: a bug of the caller
//	          ErrClosed: the store was closed by its owner
//
// The classes rejected and fenced do not occur here.
var (
	// ErrCorrupt says that the files do not hold what was written. The copy
	// has no value any more: Wipe it and restore from the changelog.
	ErrCorrupt = errors.New("state store is corrupt")
	// ErrIdentity says that the directory belongs to another task, topic,
	// cluster or format. The error is an *IdentityError.
	ErrIdentity = errors.New("state store belongs to something else")
	// ErrNewerFormat says that a newer version of this program wrote the
	// directory. Run that version, or wipe the directory and restore.
	ErrNewerFormat = errors.New("state store was written by a newer version")
	// ErrLocked says that another process, or another store of this one, has
	// the directory open.
	ErrLocked = errors.New("state store is in use")
	// ErrFailed says that the file system refused a read or a write: disk
	// full, no permission, too many files, input/output error. The store takes
	// no more work; what it holds is an exact prefix. Close it, free the disk,
	// open it again.
	ErrFailed = errors.New("state store failed")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("state store is closed")
	// ErrLimit says that a key or value is larger than the limits in keys.go.
	ErrLimit = errors.New("limit of the state store exceeded")
	// ErrMisuse says that the caller broke a rule of this package.
	ErrMisuse = errors.New("state store used wrongly")
	// ErrIndexer says that the Indexer panicked.
	ErrIndexer = errors.New("indexer of the state store failed")
)

// IdentityError tells what a directory is and what it was expected to be.
type IdentityError struct{ Stored, Want Identity }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("%v: it is %v, wanted %v", ErrIdentity, e.Stored, e.Want)
}

func (e *IdentityError) Unwrap() error { return ErrIdentity }

// Rebuild reports whether the directory may be wiped and restored without
// asking anyone. It may not when only the topic id differs: then the topic was
// deleted and created again, and this directory may be the last copy of the
// state.
func (e *IdentityError) Rebuild() bool {
	s, w := e.Stored, e.Want
	return s.Cluster != w.Cluster || s.Topic != w.Topic || s.TopicID == w.TopicID
}

// classify gives an error of Pebble or of the file system its class. Opening
// is strict: an error that is not known to come from the machine means that
// the files are not what they should be.
func classify(err error, opening bool) error {
	switch {
	case err == nil:
		return nil
	case classed(err):
		return err
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	case refused(err):
		return fmt.Errorf("%w: %w", ErrFailed, err)
	case opening:
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

func classed(err error) bool {
	for _, class := range []error{ErrCorrupt, ErrIdentity, ErrNewerFormat, ErrLocked, ErrFailed, ErrClosed, ErrLimit, ErrMisuse, ErrIndexer} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// refused reports whether the machine, not the content of a file, is at fault.
func refused(err error) bool {
	for _, cause := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, fs.ErrPermission,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// contain, deferred, turns a panic while opening into ErrCorrupt. Pebble
// panics on states that it holds to be impossible; with a damaged file they
// are possible.
func contain(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrCorrupt, r)
	}
}

// contain, deferred, turns a panic in an open store into ErrFailed and ends
// the store's work: nobody knows what it left behind in memory. The files are
// an exact prefix as ever. A panic of the caller's own function passes.
func (s *Store) contain(err *error, inCaller *bool) {
	if inCaller != nil && *inCaller {
		return
	}
	if r := recover(); r != nil {
		s.panicked.Store(true)
		*err = s.fail(fmt.Errorf("%w: panic: %v", ErrFailed, r))
	}
}
