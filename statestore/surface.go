// Package statestore holds the state of one task in a Pebble store.
package statestore

import (
	"errors"
	"iter"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	ErrCorrupt     = errors.New("state store is corrupt")
	ErrIdentity    = errors.New("state store belongs to something else")
	ErrNewerFormat = errors.New("state store was written by a newer version")
	ErrLocked      = errors.New("state store is in use by another process")
	ErrFailed      = errors.New("state store failed")
	ErrClosed      = errors.New("state store is closed")
	ErrLimit       = errors.New("limit exceeded")
	ErrMisuse      = errors.New("state store misused")
)

type IdentityError struct{ Stored, Want Identity }

func (e *IdentityError) Error() string { panic("surface") }
func (e *IdentityError) Unwrap() error { return ErrIdentity }
func (e *IdentityError) Rebuild() bool { panic("surface") }

type Options struct {
	Dir          string
	FS           vfs.FS
	Shared       *Shared
	Identity     Identity
	Index        Indexer
	Logger       *slog.Logger
	MemTableSize uint64
	OnFailure    func(error)
}
type Shared struct{}

func NewShared(cacheBytes int64, files int) *Shared { panic("surface") }
func (s *Shared) Close()                            {}

type Identity struct {
	Format         uint32
	Cluster, Topic string
	TopicID        [16]byte
	Partition      int32
	Partitions     int32
}
type Indexer func(key, value []byte) Entry
type Entry struct {
	Due   int64
	Attrs []string
}
type Position struct{ Next, Time int64 }
type Mutation struct{ Key, Value []byte }
type Store struct{}
type Batch struct{}
type Savepoint struct{}
type Metrics struct{}

func Open(Options) (*Store, error)                                    { panic("surface") }
func (s *Store) Position() Position                                   { panic("surface") }
func (s *Store) Get(key []byte) (value []byte, found bool, err error) { panic("surface") }
func (s *Store) NewBatch() *Batch                                     { panic("surface") }
func (s *Store) Prepare(b *Batch) error                               { panic("surface") }
func (s *Store) Apply(b *Batch, p Position) error                     { panic("surface") }
func (s *Store) Load(muts []Mutation, p Position) error               { panic("surface") }
func (s *Store) Due(now int64, limit int, fn func(key []byte, due int64) bool) error {
	panic("surface")
}
func (s *Store) NextDue() (due int64, ok bool)                                      { panic("surface") }
func (s *Store) Scan(prefix, after []byte, fn func(key, value []byte) bool) error   { panic("surface") }
func (s *Store) ScanAttr(attr string, after []byte, fn func(key []byte) bool) error { panic("surface") }
func (s *Store) CountAttr(attr string) (int64, error)                               { panic("surface") }
func (s *Store) Dump(fn func(kind byte, key, value []byte)) error                   { panic("surface") }
func (s *Store) Flush() error                                                       { panic("surface") }
func (s *Store) Close() error                                                       { panic("surface") }
func (s *Store) Metrics() Metrics                                                   { panic("surface") }
func Wipe(fs vfs.FS, dir string) error                                              { panic("surface") }

func (b *Batch) Get(key []byte) (value []byte, found bool, err error) { panic("surface") }
func (b *Batch) Put(key, value []byte)                                { panic("surface") }
func (b *Batch) Delete(key []byte)                                    { panic("surface") }
func (b *Batch) Err() error                                           { panic("surface") }
func (b *Batch) Mark() Savepoint                                      { panic("surface") }
func (b *Batch) Rollback(Savepoint)                                   { panic("surface") }
func (b *Batch) Reset()                                               { panic("surface") }
func (b *Batch) Len() int                                             { panic("surface") }
func (b *Batch) Bytes() int                                           { panic("surface") }
func (b *Batch) All() iter.Seq2[[]byte, []byte]                       { panic("surface") }
