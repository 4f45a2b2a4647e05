package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// clock is a moment as sentences name it: to the second, in UTC.
func clock(t sagas.Time) string {
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05Z")
}

// for how long something lasts or lasted, in its two largest units at most.
func span(ms int64) string {
	if ms < 0 {
		ms = 0
	}
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return strconv.FormatInt(ms, 10) + "ms"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return two(int(d/time.Minute), "m", int(d%time.Minute/time.Second), "s")
	case d < 24*time.Hour:
		return two(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "m")
	}
	return two(int(d/(24*time.Hour)), "d", int(d%(24*time.Hour)/time.Hour), "h")
}

func two(a int, x string, b int, y string) string {
	if b == 0 {
		return strconv.Itoa(a) + x
	}
	return strconv.Itoa(a) + x + strconv.Itoa(b) + y
}

// ago says since when, "" for a moment that is not known.
func (x *explainer) ago(t sagas.Time) string {
	if t == 0 {
		return ""
	}
	return " for " + span(int64(x.Now-t))
}

// until says when the engine acts by itself, "" for never.
func (x *explainer) until(what string, t sagas.Time) string {
	if t == 0 {
		return ""
	}
	if t <= x.Now {
		return "; " + what + " now"
	}
	return "; " + what + " in " + span(int64(t-x.Now)) + ", at " + clock(t)
}

// quote makes one word of a shell of s.
func quote(s string) string {
	plain := s != ""
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("@%_+=:,./-", c)) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// said is what a participant gave as its reason.
func said(code, message string) string {
	switch {
	case code == "" && message == "":
		return ""
	case message == "":
		return " " + code
	case code == "":
		return " " + strconv.Quote(message)
	}
	return fmt.Sprintf(" %s (%s)", code, message)
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + one + "s"
}
