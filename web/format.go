package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

const utcFormat = "2006-01-02 15:04:05.000"

func utc(t sagas.Time) string {
	if t == 0 {
		return "–"
	}
	return time.UnixMilli(int64(t)).UTC().Format(utcFormat)
}

func iso(t sagas.Time) string {
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.000Z")
}

// relative is a moment from the reader's point of view, with two units at most.
func relative(t, now sagas.Time) string {
	switch d := int64(now - t); {
	case t == 0:
		return "–"
	case d >= 0 && d < 1000:
		return "now"
	case d < 0:
		return "in " + span(-d)
	default:
		return span(d) + " ago"
	}
}

// span is a duration in ms for people: "12 ms", "3.2 s", "4 min 10 s", "2 d 4 h".
func span(ms int64) string {
	two := func(n int64, unit string, m int64, small string) string {
		if m == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, m, small)
	}
	const second, minute, hour, day = 1000, 60_000, 3600_000, 86400_000
	switch {
	case ms < 0:
		return "–"
	case ms < second:
		return fmt.Sprintf("%d ms", ms)
	case ms < 10*second:
		return fmt.Sprintf("%.1f s", float64(ms)/second)
	case ms < minute:
		return fmt.Sprintf("%d s", ms/second)
	case ms < hour:
		return two(ms/minute, "min", ms%minute/second, "s")
	case ms < day:
		return two(ms/hour, "h", ms%hour/minute, "min")
	case ms < 100*day:
		return two(ms/day, "d", ms%day/hour, "h")
	default:
		return fmt.Sprintf("%d d", ms/day)
	}
}

// number groups thousands with a space that does not break.
func number[N int | int32 | int64 | uint32 | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u00a0" + s[i:]
	}
	return sign + s
}

func percent(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64) + " %"
}

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// Pretty indents JSON; what is no JSON stays as it is.
func Pretty(b []byte) string { return pretty(b) }

// pretty indents JSON; what is no JSON stays as it is.
func pretty(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

func (p *Position) String() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%s[%d]@%d", p.Topic, p.Partition, p.Offset)
}

// shell quotes an argument of a command line where it must be.
func shell(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@=,+%", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func ver(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
