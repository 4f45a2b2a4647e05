package sagas

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour},
	{"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

var (
	errDuration      = errors.New("want a duration such as 500ms, 30s, 2m, 1h30m, 7d or 2w")
	errDurationRange = errors.New("a duration is at most 10 years and has whole milliseconds")
)

// parseDuration reads a duration in the units w d h m s ms, as in Go with days and weeks. A day is
// 24 hours. Milliseconds are the finest grain, because that is what timers have.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if s == "" || len(s) > 40 {
		return 0, errDuration
	}
	var total time.Duration
	for s != "" {
		n := 0
		for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
			n++
		}
		u := n
		for u < len(s) && s[u] >= 'a' && s[u] <= 'z' {
			u++
		}
		unit := time.Duration(0)
		for _, d := range durationUnits {
			if d.name == s[n:u] {
				unit = d.size
			}
		}
		whole, frac, dotted := strings.Cut(s[:n], ".")
		if unit == 0 || whole == "" || dotted && frac == "" || strings.Contains(frac, ".") {
			return 0, errDuration
		}
		if len(whole) > 12 || len(frac) > 9 {
			return 0, errDurationRange
		}
		w, _ := strconv.ParseInt(whole, 10, 64)
		if time.Duration(w) > MaxDuration/unit {
			return 0, errDurationRange
		}
		total += time.Duration(w) * unit
		if frac != "" {
			f, _ := strconv.ParseInt(frac, 10, 64)
			scale := int64(1)
			for range len(frac) {
				scale *= 10
			}
			// unit*f stays below 2^63: a week is 6.1e14 ns, so go through milliseconds.
			ms := int64(unit/time.Millisecond) * f
			if ms%scale != 0 {
				return 0, errDurationRange
			}
			total += time.Duration(ms/scale) * time.Millisecond
		}
		if total > MaxDuration {
			return 0, errDurationRange
		}
		s = s[u:]
	}
	return total, nil
}

// FormatDuration is the one canonical spelling of a duration in a definition, e.g. 1d12h. It reads
// back as the same duration; "0" is none.
func FormatDuration(d time.Duration) string { return formatDuration(d) }

// formatDuration is the one canonical spelling, e.g. 1d12h. It reads back as the same duration.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	var b strings.Builder
	for _, u := range durationUnits[1:] {
		if n := d / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10))
			b.WriteString(u.name)
			d -= n * u.size
		}
	}
	return b.String()
}
