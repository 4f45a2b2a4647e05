package topology

import (
	"cmp"
	"slices"

	"github.com/amendsio/amends/changelog"
)

// positions holds the next offset of each input partition of a task, sorted by
// topic and partition. There are few, and records come in runs, so a slice with
// a remembered place beats a map.
type positions struct {
	all  []changelog.InputPosition
	last int
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

// advance moves the position of a partition that is known.
func (p *positions) advance(topic string, partition int32, next int64) {
	if p.last < len(p.all) {
		if at := &p.all[p.last]; at.Partition == partition && at.Topic == topic {
			at.Next = next
			return
		}
	}
	for i := range p.all {
		if at := &p.all[i]; at.Partition == partition && at.Topic == topic {
			at.Next, p.last = next, i
			return
		}
	}
}

func (p *positions) copyFrom(from *positions) { p.all = append(p.all[:0], from.all...) }

func (p *positions) list() []changelog.InputPosition { return p.all }
