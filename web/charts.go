package web

import (
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// stackBar is one bar of up to three parts. X and W are percent, Y and H pixels.
type stackBar struct {
	X, W float64
	Y, H [3]string
}

const pulseHeight = 30

// bars are the parts of a pulse, as high as the fullest of them allows.
func bars(list []Segment) []stackBar {
	most := 1
	for _, s := range list {
		most = max(most, s.Completed+s.Compensated+s.Attention)
	}
	out := make([]stackBar, len(list))
	w := 100 / float64(len(list))
	for i, s := range list {
		b := stackBar{X: float64(i) * w, W: w * 0.78}
		y := float64(pulseHeight)
		for k, n := range [3]int{s.Completed, s.Compensated, s.Attention} {
			h := float64(n) / float64(most) * pulseHeight
			if n > 0 && h < 1.5 {
				h = 1.5 // something is never nothing
			}
			y -= h
			b.Y[k], b.H[k] = pixels(max(y, 0)), pixels(h)
		}
		out[i] = b
	}
	return out
}

func trendBars(list []int) []stackBar {
	parts := make([]Segment, len(list))
	for i, n := range list {
		parts[i] = Segment{Completed: n}
	}
	return bars(parts)
}

func pixels(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func pulseTitle(s Segment) string {
	return number(s.Completed) + " completed, " + number(s.Compensated) + " compensated, " + number(s.Attention) + " asked for a person"
}

// place is where a moment stands in the window, in percent; negative = not in it.
func place(t sagas.Time, o Overview) float64 {
	if t < o.Since || t > o.Until || o.Until <= o.Since {
		return -1
	}
	return float64(t-o.Since) / float64(o.Until-o.Since) * 100
}

var changeLooks = map[string]look{
	"deploy": {"blue", "nodes", "Deployment"}, "definition": {"green", "flow", "Definition"}, "rebalance": {"violet", "split", "Partitions moved"},
	"breaker": {"red", "alert", "Destination"}, "operator": {"amber", "person", "Operator"},
}

func changeLook(kind string) look {
	if l, ok := changeLooks[kind]; ok {
		return l
	}
	return look{"grey", "ring", kind}
}

func joinInts(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ", ")
}

// pulses says whether it is known how the sagas did over time.
func pulses(o Overview) bool {
	for _, s := range o.Sagas {
		if len(s.Pulse) > 0 {
			return true
		}
	}
	return false
}

// windowNote says what time the numbers are of; a moment follows when they are not of all of it.
func windowNote(o Overview) string {
	note := "the last " + span(int64(o.Until-o.Since))
	if o.Counted != 0 {
		note += ", counted since "
	}
	return note
}
