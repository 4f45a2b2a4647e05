package nearest

import "strings"

// MaxBytes is the longest name that is compared.
const MaxBytes = 128

// Name is the known name that s was probably meant to be, "" when none is near: at most three edits and half of
// the longer name away, and with the same first letter unless it is a single edit. Case counts for nothing.
func Name(s string, known []string) string {
	if s == "" || len(s) > MaxBytes {
		return ""
	}
	best, bestDistance := "", 4
	for _, k := range known {
		if k == "" || len(k) > MaxBytes {
			continue
		}
		limit := min(bestDistance-1, max(1, max(len(s), len(k))/2))
		d := distance(strings.ToLower(s), strings.ToLower(k))
		if d <= limit && (d < 2 || strings.EqualFold(s[:1], k[:1])) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between two names, in bytes:
// the optimal string alignment distance.
func distance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
