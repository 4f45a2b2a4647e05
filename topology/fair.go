package topology

import (
	"errors"
	"hash/maphash"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
)

// A hot key is one with more records than a cycle should give to one key. With
// Limits.KeyRecords a cycle takes that many of each key, looks behind them for
// records of others, and goes on with the hot ones when there is room left. So
// a burst for one key holds up nobody but itself, and costs no throughput.
//
// What is passed over stays in the queue, in front and in order, and is bounded
// with it. Positions stay before the first record that was passed over; what
// was taken behind it is in the progress record as spans of offsets, which the
// next owner skips when it reads them again. Records of one key are taken in
// the order of their partition, those of different keys need not be.

const (
	// lookahead is how many cycles' worth of records a cycle looks at.
	lookahead = 4
	// runsMax bounds the spans of a task, and with them the progress record: 3
	// to 4 bytes each, in each transaction while a key is hot.
	runsMax = 1024
)

// picking is how one cycle chooses among the records that wait.
type picking struct {
	seed    maphash.Seed
	counts  map[uint64]int // records of each key in this cycle, by hash: two keys that collide share
	done    []bool         // by record
	passed  []passing      // by input partition
	runs    int            // of records that were passed over
	dropped int            // records that were taken before
}

// passing is what was passed over of one partition.
type passing struct {
	any    bool
	offset int64 // of the last
}

// draw takes what waits in the queue, as much as the cycle may take.
func (c *Cycle) draw() (records []*kgo.Record) {
	t := c.task
	// Records that were passed over lie in front of the queue and come back to
	// it: the consumer is not asked for more before that.
	take := t.queue.take
	if t.hot {
		take = t.queue.look
	}
	t.scratch = take(t.batching.records(), t.cfg.Limits.CycleBytes, t.scratch[:0])
	return t.scratch
}

// pick takes records that were drawn into the cycle, or others that wait behind
// them, and settles the positions of their partitions. What it leaves goes back
// into the queue.
func (c *Cycle) pick(records []*kgo.Record) error {
	t := c.task
	limit := t.batching.records()
	share := t.cfg.Limits.KeyRecords
	if share <= 0 || !t.batching.whole() {
		share = limit
	}
	p := &c.picking
	p.begin(len(c.positions.all))
	end, left, err := false, 0, error(nil)
	for from := 0; from < len(records) && !end; {
		for i := from; i < len(records) && !end && err == nil; i++ {
			p.done = append(p.done, false)
			switch rec := records[i]; {
			case c.positions.taken(rec.Topic, rec.Partition, rec.Offset):
				p.done[i] = true
				p.dropped++
			case c.taken > 0 && (c.taken >= limit || c.full()):
				end = true
			case share < limit && p.over(rec, share):
				// A source position is taken in order, so nothing may overtake it.
				end = t.ordered(rec) || !p.pass(c.positions.place(rec.Topic, rec.Partition), rec.Offset)
				left++
			default:
				p.done[i], err = c.one(rec)
				end = err != nil
			}
		}
		from = len(records)
		if left > 0 && !end && c.taken < limit && len(records) < lookahead*limit {
			records = t.queue.look(limit, t.cfg.Limits.CycleBytes, records)
		}
	}
	p.done = append(p.done, make([]bool, len(records)-len(p.done))...)

	// what was passed over, while there is room
	for i := 0; i < len(records) && left > 0 && err == nil && c.taken < limit && (c.taken == 0 || !c.full()); i++ {
		if !p.done[i] {
			p.done[i], err = c.one(records[i])
		}
	}
	t.scratch = records
	if err != nil && !errors.Is(err, errAlone) {
		return err
	}
	c.positions.settle(records, p.done)
	rest := t.rest[:0]
	for i, rec := range records {
		if !p.done[i] {
			rest = append(rest, rec)
		}
	}
	t.rest = rest
	t.queue.putBack(rest)
	clear(rest)
	if t.hot {
		t.queue.settle()
	}
	t.hot = left > 0
	return nil
}

// one takes one record.
func (c *Cycle) one(rec *kgo.Record) (done bool, err error) {
	if err := c.record(rec); err != nil {
		return false, err
	}
	c.taken++
	c.lastTaken = rec
	return true, nil
}

func (p *picking) begin(partitions int) {
	if p.counts == nil {
		p.seed, p.counts = maphash.MakeSeed(), make(map[uint64]int)
	}
	clear(p.counts)
	p.done, p.runs, p.dropped = p.done[:0], 0, 0
	p.passed = append(p.passed[:0], make([]passing, partitions)...)
}

// over counts a record, unless its key has had its share.
func (p *picking) over(rec *kgo.Record, share int) bool {
	hash := maphash.Bytes(p.seed, rec.Key)
	n := p.counts[hash]
	if n >= share {
		return true
	}
	p.counts[hash] = n + 1
	return false
}

// pass notes that a record is passed over. It is false when there are as many
// runs of them as there may be, and nothing behind it may be taken.
func (p *picking) pass(place int, offset int64) bool {
	if place < 0 {
		return false
	}
	was := &p.passed[place]
	if !was.any || was.offset+1 != offset {
		p.runs++
	}
	was.any, was.offset = true, offset
	return p.runs < runsMax
}

// ordered says that a record has to be taken before all that follow it.
func (t *task) ordered(rec *kgo.Record) bool {
	if !t.cfg.originsOf(rec.Topic) {
		return false
	}
	_, _, from := origin(rec)
	return from
}

// settle moves the positions of the partitions behind what was taken of
// records, which are the first that wait of each of them, in order.
func (p *positions) settle(records []*kgo.Record, done []bool) {
	if len(p.ahead) == 0 && !slices.Contains(done, false) {
		for _, rec := range records {
			p.advance(rec.Topic, rec.Partition, rec.Offset+1)
		}
		return
	}
	type mark struct {
		left   int64 // the first that was not taken
		any    bool
		last   int64 // the last that was not taken, any says that there is one
		behind int   // its span in ahead, -1 for none
	}
	marks := make([]mark, len(p.all))
	for i, rec := range records {
		at := p.place(rec.Topic, rec.Partition)
		if at < 0 {
			continue
		}
		m := &marks[at]
		switch {
		case !done[i]:
			if !m.any {
				m.left, m.any = rec.Offset, true
			}
			m.last, m.behind = rec.Offset, -1
		case !m.any:
			p.all[at].Next = max(p.all[at].Next, rec.Offset+1)
		case m.behind >= 0:
			p.ahead[m.behind].To = max(p.ahead[m.behind].To, rec.Offset+1)
		default:
			m.behind = len(p.ahead)
			p.ahead = append(p.ahead, changelog.InputSpan{Input: at, From: m.last + 1, To: rec.Offset + 1})
		}
	}
	for at := range marks {
		if m := &marks[at]; m.any {
			p.all[at].Next = m.left
		}
	}
	p.merge()
}

// merge joins spans that touch, and drops those that the positions have passed.
func (p *positions) merge() {
	p.sortAhead()
	kept := p.ahead[:0]
	for _, s := range p.ahead {
		next := &p.all[s.Input].Next
		if s.From <= *next {
			*next = max(*next, s.To)
			continue
		}
		if n := len(kept); n > 0 && kept[n-1].Input == s.Input && s.From <= kept[n-1].To {
			kept[n-1].To = max(kept[n-1].To, s.To)
			continue
		}
		kept = append(kept, s)
	}
	p.ahead = kept
}
