package web

import (
	"slices"
	"strconv"

	"github.com/amendsio/amends/sagas"
)

// axis maps moments to percent of a width. Gaps in which nothing happened, that are long beside the
// others, are folded: they take a fixed width and are marked.
type axis struct {
	at    []sagas.Time
	pos   []float64
	folds []fold
}

// fold is a gap that is not to scale.
type fold struct {
	X, W float64 // percent
	Text string
}

const (
	foldRatio = 12  // a gap this many times all shorter ones together is folded
	foldWidth = 7.0 // percent
)

// newAxis makes the axis of the moments, in any order.
func newAxis(moments []sagas.Time) *axis {
	at := slices.Compact(slices.Sorted(slices.Values(moments)))
	a := &axis{at: at, pos: make([]float64, len(at))}
	if len(at) < 2 {
		return a
	}
	gaps := make([]int64, 0, len(at)-1)
	for i := 1; i < len(at); i++ {
		gaps = append(gaps, int64(at[i]-at[i-1]))
	}
	limit, sum := int64(1<<62), int64(0)
	for _, g := range slices.Sorted(slices.Values(gaps)) {
		if sum > 0 && g > foldRatio*sum {
			limit = g
			break
		}
		sum += g
	}
	folded, scaled := 0, int64(0)
	for _, g := range gaps {
		if g >= limit {
			folded++
		} else {
			scaled += g
		}
	}
	width := foldWidth
	if most := 60.0 / float64(max(folded, 1)); width > most {
		width = most
	}
	perMs := (100 - width*float64(folded)) / float64(max(scaled, 1))
	x := 0.0
	for i, g := range gaps {
		w := float64(g) * perMs
		if g >= limit {
			w = width
			a.folds = append(a.folds, fold{X: x, W: w, Text: span(g)})
		}
		x += w
		a.pos[i+1] = x
	}
	return a
}

// x is where a moment of the axis, or one between two of them, stands.
func (a *axis) x(t sagas.Time) float64 {
	i, found := slices.BinarySearch(a.at, t)
	switch {
	case found:
		return a.pos[i]
	case i == 0:
		return 0
	case i == len(a.at):
		return 100
	}
	f := float64(t-a.at[i-1]) / float64(a.at[i]-a.at[i-1])
	return a.pos[i-1] + f*(a.pos[i]-a.pos[i-1])
}

// tick is a moment that is written under the axis.
type tick struct {
	X    float64
	Text string
}

// ticks are offsets from the start: at the ends of the folds and at even places between.
func (a *axis) ticks() []tick {
	if len(a.at) < 2 {
		return nil
	}
	var out []tick
	for i := 0; i <= 5; i++ {
		x := float64(i) * 20
		j, _ := slices.BinarySearch(a.pos, x)
		j = min(max(j, 1), len(a.pos)-1)
		if slices.ContainsFunc(a.folds, func(f fold) bool { return x > f.X-4 && x < f.X+f.W+4 }) {
			continue // in a fold no place means anything, and beside it its own words stand
		}
		t := a.at[j]
		if w := a.pos[j] - a.pos[j-1]; w > 0 {
			t = a.at[j-1] + sagas.Time((x-a.pos[j-1])/w*float64(a.at[j]-a.at[j-1]))
		}
		out = append(out, tick{X: x, Text: "+" + span(int64(t-a.at[0]))})
	}
	return out
}

// pct is a percentage for an attribute.
func pct(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }
