package topology

import (
	"cmp"
	"slices"

	"github.com/amendsio/amends/changelog"
)

// positions holds the next offset of each input partition of a task, sorted by
// topic and partition, and what was taken behind it (fair.go). There are few,
// and records come in runs, so a slice with a remembered place beats a map.
type positions struct {
	all   []changelog.InputPosition
	ahead []changelog.InputSpan
	last  int
}

// set adds or replaces one position.
func (p *positions) set(topic string, partition int32, next int64) {
	at := changelog.InputPosition{Topic: topic, Partition: partition, Next: next}
	i, found := slices.BinarySearchFunc(p.all, at, func(a, b changelog.InputPosition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	if found {
		p.all[i].Next = next
		return
	}
	p.all = slices.Insert(p.all, i, at)
	for k := range p.ahead {
		if p.ahead[k].Input >= i {
			p.ahead[k].Input++
		}
	}
	p.last = 0
}

// next is the position of one partition.
func (p *positions) next(topic string, partition int32) (int64, bool) {
	for i := range p.all {
		if at := &p.all[i]; at.Partition == partition && at.Topic == topic {
			return at.Next, true
		}
	}
	return 0, false
}

// place is where a partition stands in all, -1 when it is not known.
func (p *positions) place(topic string, partition int32) int {
	if p.last < len(p.all) {
		if at := &p.all[p.last]; at.Partition == partition && at.Topic == topic {
			return p.last
		}
	}
	for i := range p.all {
		if at := &p.all[i]; at.Partition == partition && at.Topic == topic {
			p.last = i
			return i
		}
	}
	return -1
}

// advance moves the position of a partition that is known, never back.
func (p *positions) advance(topic string, partition int32, next int64) {
	if i := p.place(topic, partition); i >= 0 {
		p.all[i].Next = max(p.all[i].Next, next)
	}
}

// keep takes over the spans of those partitions of from that are in p and stand
// where they stood.
func (p *positions) keep(from []changelog.InputPosition, ahead []changelog.InputSpan) {
	for _, s := range ahead {
		at := from[s.Input]
		if i := p.place(at.Topic, at.Partition); i >= 0 && p.all[i].Next == at.Next {
			p.ahead = append(p.ahead, changelog.InputSpan{Input: i, From: s.From, To: s.To})
		}
	}
	p.sortAhead()
}

func (p *positions) sortAhead() {
	slices.SortFunc(p.ahead, func(a, b changelog.InputSpan) int {
		return cmp.Or(cmp.Compare(a.Input, b.Input), cmp.Compare(a.From, b.From))
	})
}

// taken says that a record was taken already: it lies in a span, or in one that
// Next has passed since the record was fetched again.
func (p *positions) taken(topic string, partition int32, offset int64) bool {
	place := p.place(topic, partition)
	if place >= 0 && offset < p.all[place].Next {
		return true
	}
	if len(p.ahead) == 0 {
		return false
	}
	i, _ := slices.BinarySearchFunc(p.ahead, changelog.InputSpan{Input: place, From: offset}, func(s, want changelog.InputSpan) int {
		if s.Input == want.Input && s.From <= want.From && want.From < s.To {
			return 0
		}
		return cmp.Or(cmp.Compare(s.Input, want.Input), cmp.Compare(s.From, want.From))
	})
	return i < len(p.ahead) && p.ahead[i].Input == place && p.ahead[i].From <= offset && offset < p.ahead[i].To
}

func (p *positions) copyFrom(from *positions) {
	p.all = append(p.all[:0], from.all...)
	p.ahead = append(p.ahead[:0], from.ahead...)
}

func (p *positions) list() []changelog.InputPosition { return p.all }
