package sagas

import "errors"

// Errors of DecodeInstance and Summarise.
var (
	// ErrNewerFormat: the record was written by a later release. Stop the partition; do not change it.
	ErrNewerFormat = errors.New("the state record has a newer format than this release knows")
	// ErrCorrupt: the bytes are not a state record. Restore the store from the changelog.
	ErrCorrupt = errors.New("the state record is damaged")
)

// MaxRecordBytes bounds an encoded instance.
const MaxRecordBytes = 900 << 10

// Summary is the fixed head of a state record: what lists and indexes need.
type Summary struct {
	WorkflowID string
	Type       string
	Version    uint32
	Run        uint32
	Phase      Phase
	Attention  bool
	Due        Time
	StartedAt  Time
	UpdatedAt  Time
	Rev        uint64
}

// Append appends the encoded instance to dst.
func (i *Instance) Append(dst []byte) []byte { panic("sagas: not yet") }

// DecodeInstance is the inverse of Append.
func DecodeInstance(b []byte) (*Instance, error) { panic("sagas: not yet") }

// Summarise reads the head of an encoded instance.
func Summarise(b []byte) (Summary, error) { panic("sagas: not yet") }
