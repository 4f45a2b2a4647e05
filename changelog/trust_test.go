package changelog_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

func TestTrust(t *testing.T) {
	const day = int64(24 * time.Hour / time.Millisecond)
	const now = int64(1_790_000_000_000)
	at := func(next, time int64) statestore.Position { return statestore.Position{Next: next, Time: time} }
	log := func(start, end int64) changelog.Range { return changelog.Range{Start: start, End: end} }
	for _, c := range []struct {
		name      string
		pos       statestore.Position
		log       changelog.Range
		now       int64
		retention int64
		want      changelog.Verdict
		reason    string
	}{
		{"new task", at(0, 0), log(0, 0), now, day, changelog.TrustTail, "empty"},
		{"new disk", at(0, 0), log(0, 900), now, day, changelog.TrustTail, "empty"},
		{"new disk, retention not known", at(0, 0), log(0, 900), now, 0, changelog.TrustTail, "empty"},
		{"new disk, log was cut", at(0, 0), log(40, 900), now, day, changelog.Rebuild, "starts at 40"},
		{"restart", at(800, now-1000), log(0, 900), now, day, changelog.TrustTail, "100 offsets"},
		{"restart within half the retention", at(800, now-day/2), log(0, 900), now, day, changelog.TrustTail, "100 offsets"},
		{"restart after half the retention", at(800, now-day/2-1), log(0, 900), now, day, changelog.Rebuild, "12h0m0.001s old"},
		{"slept for a year, nothing new", at(900, now-365*day), log(0, 900), now, day, changelog.TrustTail, "all of"},
		{"slept for a year, own marker behind", at(899, now-365*day), log(0, 900), now, day, changelog.TrustTail, "all of"},
		{"slept for a year, two offsets", at(898, now-365*day), log(0, 900), now, day, changelog.Rebuild, "old"},
		{"log was cut", at(30, now), log(40, 900), now, day, changelog.Rebuild, "stands at 30"},
		{"log was cut to the position", at(40, now), log(40, 900), now, day, changelog.TrustTail, "860"},
		{"log is shorter", at(901, now), log(0, 900), now, day, changelog.Refuse, "ends at 900"},
		{"log is empty", at(901, now), log(0, 0), now, day, changelog.Refuse, "ends at 0"},
		{"log is shorter and starts behind", at(901, now), log(900, 900), now, day, changelog.Refuse, "ends at 900"},
		{"log was emptied by DeleteRecords", at(30, now), log(900, 900), now, day, changelog.Rebuild, "starts at 900"},
		{"retention not known", at(800, now), log(0, 900), now, 0, changelog.Rebuild, "not known"},
		{"retention negative", at(800, now), log(0, 900), now, -1, changelog.Rebuild, "not known"},
		{"clock went back a little", at(800, now+day/2), log(0, 900), now, day, changelog.TrustTail, "100"},
		{"clock went back a lot", at(800, now+day/2+1), log(0, 900), now, day, changelog.Rebuild, "ahead of the clock"},
		{"no time in the store", at(800, 0), log(0, 900), now, day, changelog.Rebuild, "old"},
		{"extremes", at(math.MaxInt64, math.MaxInt64), log(0, math.MaxInt64), 0, math.MaxInt64, changelog.TrustTail, "all of"},
		{"retention for ever", at(1, now), log(0, math.MaxInt64), now, math.MaxInt64, changelog.TrustTail, "offsets"},
	} {
		got, reason := changelog.Trust(c.pos, c.log, c.now, c.retention)
		if got != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %v because %q, want %v with %q", c.name, got, reason, c.want, c.reason)
		}
	}
	if changelog.Verdict(0).String() != "invalid" || changelog.Refuse.String() != "refuse" {
		t.Error("names of verdicts")
	}
}
