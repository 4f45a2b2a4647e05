// Package changelog is the compacted topic behind a state store.
package changelog

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/statestore"
)

var (
	ErrRetry     = errors.New("changelog is unreachable")
	ErrTruncated = errors.New("changelog starts after the position")
	ErrLost      = errors.New("changelog lost records")
	ErrFatal     = errors.New("changelog cannot be used")
)

const ProgressKey = "\x00progress"

type InputPosition struct {
	Topic     string
	Partition int32
	Next      int64
}
type Progress struct {
	Inputs []InputPosition
	Time   int64
	Epoch  int64
	Owner  string
	Commit uint64
}

func (p *Progress) Append(dst []byte) []byte    { panic("surface") }
func DecodeProgress(b []byte) (Progress, error) { panic("surface") }
func Records(topic string, partition int32, b *statestore.Batch, dst []*kgo.Record) []*kgo.Record {
	panic("surface")
}

type Range struct{ Start, End int64 }

func Ends(ctx context.Context, cl *kgo.Client, topic string, partition int32) (Range, error) {
	panic("surface")
}
func TopicIdentity(ctx context.Context, cl *kgo.Client, topic string) (clusterID string, topicID [16]byte, partitions int32, err error) {
	panic("surface")
}

type Restore struct {
	Client       *kgo.Client
	Topic        string
	Partition    int32
	From, Target int64
	MaxBytes     int32
	OnProgress   func(next int64)
}

func (r *Restore) Run(ctx context.Context, load func(muts []statestore.Mutation, next, recordTime int64) error) (next int64, err error) {
	panic("surface")
}

type Verdict uint8

const (
	TrustTail Verdict = iota + 1
	Rebuild
	Refuse
)

func (v Verdict) String() string { panic("surface") }
func Trust(pos statestore.Position, r Range, now, deleteRetentionMs int64) (verdict Verdict, reason string) {
	panic("surface")
}
