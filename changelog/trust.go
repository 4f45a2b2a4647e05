package changelog

import (
	"fmt"
	"time"

	"github.com/amendsio/amends/statestore"
)

// Verdict says what a store on disk is good for.
type Verdict uint8

const (
	// TrustTail: read on from the store's position.
	TrustTail Verdict = iota + 1
	// Rebuild: wipe the store and read everything.
	Rebuild
	// Refuse: the log is not the one that the store was made from, or lost a
	// part. Keep the store, it may be the last copy; the operator decides.
	Refuse
)

func (v Verdict) String() string {
	switch v {
	case TrustTail:
		return "trust tail"
	case Rebuild:
		return "rebuild"
	case Refuse:
		return "refuse"
	}
	return "invalid"
}

// Trust decides whether a store may be brought up to date from its position.
// r must have been listed after this process took the task over. now and
// deleteRetentionMs are in milliseconds; the latter is the topic's
// delete.retention.ms, 0 or less when it is not known.
//
// A deletion leaves a tombstone, and the broker drops tombstones after
// delete.retention.ms. A store that slept for longer could miss one and keep
// the deleted key for ever, so it is rebuilt after half of that time. The same
// holds when its time is that far in the future: then a clock was wrong, and
// the store's age is not known.
//
// A store that lacks at most one offset lacks nothing: the marker of the last
// transaction it contains takes an offset, and a record never comes without
// one. So a quiet task is not rebuilt, however long it was quiet.
func Trust(pos statestore.Position, r Range, now, deleteRetentionMs int64) (verdict Verdict, reason string) {
	switch {
	case pos.Next > r.End:
		return Refuse, fmt.Sprintf("the store contains the changelog up to %d, but it ends at %d: records were lost or the topic was made anew", pos.Next, r.End)
	case pos.Next < r.Start && pos.Next == 0:
		return Rebuild, fmt.Sprintf("the store is empty and the changelog starts at %d", r.Start)
	case pos.Next < r.Start:
		return Rebuild, fmt.Sprintf("the store stands at %d and the changelog starts at %d", pos.Next, r.Start)
	case pos.Next == 0:
		return TrustTail, "the store is empty"
	case r.End-pos.Next <= 1:
		return TrustTail, "the store contains all of the changelog"
	case deleteRetentionMs <= 0:
		return Rebuild, "it is not known how long the changelog keeps deletions"
	}
	age, limit := now-pos.Time, deleteRetentionMs/2
	switch {
	case age > limit:
		return Rebuild, fmt.Sprintf("the store is %v old, more than half of delete.retention.ms (%v)", millis(age), millis(deleteRetentionMs))
	case age < -limit:
		return Rebuild, fmt.Sprintf("the store's time is %v ahead of the clock: its age is not known", millis(-age))
	}
	return TrustTail, fmt.Sprintf("%d offsets to read", r.End-pos.Next)
}

func millis(ms int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond
}
