package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Limits of one question to one task. What they cut off is asked for with the next page.
const (
	maxExamined = 20_000  // instances that a page may look at without finding enough
	maxCounted  = 500_000 // keys of the index that a count walks over
)

// Part is what the tasks of one process found.
type Part struct {
	Rows  []Row      `json:"rows,omitempty"`
	Tasks []TaskPart `json:"tasks,omitempty"`
}

// TaskPart says how far one task was looked through.
type TaskPart struct {
	Task int32 `json:"task"`
	// Upto is the last key that was looked at, empty when there is nothing behind it.
	Upto string `json:"upto,omitempty"`
}

// Find lists instances that this process owns, in the order of workflow IDs, beginning after a workflow ID.
// It gives at least the first limit ones that match, unless there were too many to look at: see TaskPart.
func (o *Orchestrator) Find(ctx context.Context, q *query.Query, after string, limit int) (Part, error) {
	var out Part
	w := o.worker.Load()
	if w == nil {
		return out, nil
	}
	var stores []frontier
	for _, t := range w.Tasks() {
		if view, ok := w.View(t.Task); ok {
			stores = append(stores, frontier{task: t.Task, view: view})
		}
	}
	out, err := findAll(ctx, stores, q, after, limit)
	switch {
	case ctx.Err() != nil:
		return Part{}, ctx.Err()
	case err != nil:
		return Part{}, storeError(err)
	}
	return out, nil
}

func storeError(err error) error {
	return &Error{Code: CodeInternal, Class: ErrUnreachable, Cause: "the store cannot be read", Err: err}
}

// store is what a walk needs of a topology.View.
type store interface {
	GetSorted(keys [][]byte, fn func(key, value []byte) bool) error
	Scan(prefix, after []byte, fn func(key, value []byte) bool) error
	ScanAttr(attr string, after []byte, fn func(key []byte) bool) error
}

type countedStore interface {
	store
	Counted(prefix string) (n map[string]int64, ok bool, err error)
}

// match reads a stored instance and decides about it.
func match(q *query.Query, value []byte) (Row, bool) {
	s, err := sagas.Summarise(value)
	if err != nil || s.WorkflowID == "" {
		return Row{}, false
	}
	if s.Phase == sagas.Marker && hidesMarkers(q) {
		return Row{}, false
	}
	row := rowOf(s)
	var tags []sagas.KV
	have := false
	if !q.Match(&query.Row{
		WorkflowID: row.WorkflowID, Type: row.Type, Version: row.Version, Run: row.Run, Status: row.Status, Phase: row.Phase,
		Attention: s.Attention, Active: s.Phase.Active(), Started: int64(row.StartedAt), Updated: int64(row.UpdatedAt), Due: int64(row.Due),
		Tags: func() []query.Tag {
			tags, _ = sagas.ReadTags(value) // none of one that cannot be read
			have = true
			out := make([]query.Tag, len(tags))
			for i, t := range tags {
				out[i] = query.Tag{Name: t.Key, Value: t.Value}
			}
			return out
		},
		Causes: func() []string {
			if !s.Attention {
				return nil
			}
			if row.Attention == nil {
				row.fill(value)
			}
			out := make([]string, len(row.Attention))
			for i, a := range row.Attention {
				out[i] = a.Reason + "@" + stepOf(a.Path)
			}
			return out
		},
	}) {
		return Row{}, false
	}
	if !have {
		tags, _ = sagas.ReadTags(value)
	}
	for _, t := range tags {
		row.Tags = append(row.Tags, sagas.TagView(t))
	}
	if s.Attention && row.Attention == nil {
		row.fill(value)
	}
	return row, true
}

// hidesMarkers: what is left of an instance after its retention is in a list only when it is asked for.
func hidesMarkers(q *query.Query) bool {
	p := q.Path()
	return p.Statuses == nil && p.Loose == nil && p.Phases == nil
}

// fill adds why somebody should look at it.
func (r *Row) fill(value []byte) {
	rec, err := sagas.OpenRecord(value, func(sagas.PageKey) ([]byte, error) { return nil, nil })
	if err != nil {
		return
	}
	for _, a := range rec.Head().Attention {
		r.Attention = append(r.Attention, sagas.AttentionView{Path: a.Path, Reason: string(a.Reason), Text: a.Text, Since: a.Since})
	}
}

// walk visits the stored instances that may match, in the order of keys, until fn returns false.
func walk(view store, q *query.Query, after string, fn func(key, value []byte) bool) error {
	prefix := prefixOf(q)
	lists := listsOf(q)
	if lists == nil {
		return view.Scan(prefix, []byte(after), func(key, value []byte) bool { return isPage(key) || fn(key, value) })
	}
	// The instances lie beside one another in the store, and the keys come in their order: some at a time are
	// read in one go.
	for most := walkKeysFirst; ; most = min(2*most, walkKeysMost) {
		keys := make([][]byte, 0, most)
		err := walkKeys(view, lists, prefix, after, func(key []byte) bool {
			keys = append(keys, bytes.Clone(key))
			return len(keys) < most
		})
		if err != nil {
			return err
		}
		more := true
		if err := view.GetSorted(keys, func(key, value []byte) bool { // what is not there is gone since
			more = fn(key, value)
			return more
		}); err != nil || !more || len(keys) < most {
			return err
		}
		after = string(keys[len(keys)-1])
	}
}

// Keys that a walk over the index takes before it reads their instances.
const (
	walkKeysFirst = 32
	walkKeysMost  = 512
)

// prefixOf is what all keys that may match begin with.
func prefixOf(q *query.Query) []byte {
	p := q.Path()
	prefix := p.Prefix
	if len(p.Types) == 1 {
		if t := p.Types[0] + "/"; strings.HasPrefix(t, prefix) {
			prefix = t
		}
	}
	return []byte(prefix)
}

// listsOf are attributes that together hold all that may match; nil when there is no better way than to
// look at everything.
func listsOf(q *query.Query) []string {
	p := q.Path()
	names := p.Phases
	if names == nil {
		names = p.Statuses
	}
	if names == nil {
		names = p.Loose
	}
	if names == nil && len(p.Tags) == 0 {
		return nil
	}
	if names == nil {
		for ph := sagas.Running; ph <= sagas.Mailbox; ph++ {
			if ph != sagas.Marker {
				names = append(names, ph.String())
			}
		}
	}
	lists := []string{}
	for _, name := range names {
		switch {
		case len(p.Tags) > 0:
			lists = append(lists, attrTag(name, p.Tags[0].Name, p.Tags[0].Value))
		case name == StatusAttention:
			lists = append(lists, attrAttention)
		default:
			lists = append(lists, attrStatusPrefix+name)
		}
	}
	slices.Sort(lists)
	return slices.Compact(lists)
}

// walkKeys visits the keys of several lists as one list, each key once.
func walkKeys(view store, lists []string, prefix []byte, after string, fn func(key []byte) bool) error {
	from := []byte(after)
	if bytes.Compare(from, prefix) < 0 {
		from = before(prefix)
	}
	if len(lists) == 1 {
		return view.ScanAttr(lists[0], from, func(key []byte) bool {
			return bytes.Compare(key, prefix) < 0 || bytes.HasPrefix(key, prefix) && fn(key)
		})
	}
	pulls := make([]pull, len(lists))
	for i := range pulls {
		pulls[i] = pull{attr: lists[i], after: from}
	}
	var last []byte
	for {
		var least []byte
		at := -1
		for i := range pulls {
			key, err := pulls[i].peek(view, prefix)
			if err != nil {
				return err
			}
			if key != nil && (at < 0 || bytes.Compare(key, least) < 0) {
				least, at = key, i
			}
		}
		if at < 0 {
			return nil
		}
		pulls[at].at++
		if last != nil && bytes.Equal(least, last) {
			continue
		}
		if last = least; !fn(least) {
			return nil
		}
	}
}

// before is a key in front of a prefix, so that a walk that begins behind it meets the prefix itself, which is a
// workflow ID too. No workflow ID that is text lies between the two.
func before(prefix []byte) []byte {
	n := len(prefix)
	switch {
	case n == 0:
		return nil
	case prefix[n-1] == 0:
		return prefix[:n-1]
	}
	out := append(make([]byte, 0, n+1), prefix...)
	out[n-1]--
	return append(out, 0xff)
}

// pull takes the keys of one list in slices, so that several lists can be walked at once.
type pull struct {
	attr  string
	after []byte
	keys  [][]byte
	at    int
	slice int
	ended bool
}

func (p *pull) peek(view store, prefix []byte) ([]byte, error) {
	if p.at < len(p.keys) {
		return p.keys[p.at], nil
	}
	if p.ended {
		return nil, nil
	}
	p.slice = min(max(2*p.slice, 128), 4096)
	p.keys, p.at, p.ended = make([][]byte, 0, p.slice), 0, true
	err := view.ScanAttr(p.attr, p.after, func(key []byte) bool {
		if bytes.Compare(key, prefix) < 0 {
			return true
		}
		if !bytes.HasPrefix(key, prefix) {
			return false
		}
		if len(p.keys) == p.slice {
			p.ended = false
			return false
		}
		p.keys = append(p.keys, bytes.Clone(key))
		return true
	})
	if err != nil || len(p.keys) == 0 {
		return nil, err
	}
	p.after = p.keys[len(p.keys)-1]
	return p.keys[0], nil
}

// Tally is the number of instances.
type Tally struct {
	N int64 `json:"n"`
	// AtLeast says that there were too many to look at all.
	AtLeast bool    `json:"atLeast,omitempty"`
	Tasks   []int32 `json:"tasks,omitempty"` // those that were counted
}

// Count counts the instances of this process that match. It knows the number of a status, a type or a
// version, walks over the index for a tag, and looks at the instances for anything else.
func (o *Orchestrator) Count(ctx context.Context, q *query.Query) (Tally, error) {
	var out Tally
	w := o.worker.Load()
	if w == nil {
		return out, nil
	}
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		n, atLeast, err := countIn(ctx, view, q)
		switch {
		case errors.Is(err, topology.ErrNotRunning):
			continue
		case ctx.Err() != nil:
			return Tally{}, ctx.Err()
		case err != nil:
			return Tally{}, storeError(err)
		}
		out.N, out.AtLeast, out.Tasks = out.N+n, out.AtLeast || atLeast, append(out.Tasks, t.Task)
	}
	return out, nil
}

func countIn(ctx context.Context, view countedStore, q *query.Query) (n int64, atLeast bool, err error) {
	p := q.Path()
	if q.Exact() && p.Prefix == "" && len(p.Tags) == 0 {
		counts, ok, err := view.Counted(attrCountPrefix)
		if err != nil {
			return 0, false, err
		}
		if ok {
			return countKnown(counts, q), false, nil
		}
	}
	seen := 0
	more := func() bool {
		seen++
		atLeast = seen > maxCounted
		return !atLeast && (seen%1024 != 0 || ctx.Err() == nil)
	}
	if q.Exact() && len(p.Tags) == 1 && len(p.Tags[0].Name)+len(p.Tags[0].Value) < maxTagAttr && p.Statuses == nil && p.Versions == nil && oneRange(p) && (p.Phases == nil || p.Loose == nil) {
		err = walkKeys(view, listsOf(q), prefixOf(q), "", func([]byte) bool {
			if !more() {
				return false
			}
			n++
			return true
		})
		return n, atLeast, err
	}
	err = walk(view, q, "", func(_, value []byte) bool {
		if !more() {
			return false
		}
		if _, ok := match(q, value); ok {
			n++
		}
		return true
	})
	return n, atLeast, err
}

// oneRange says that what the path says of types and ids is one range of keys: see prefixOf. Two types that
// exclude each other are none.
func oneRange(p query.Path) bool {
	if p.Types == nil {
		return true
	}
	if len(p.Types) != 1 {
		return false
	}
	t := p.Types[0] + "/"
	return strings.HasPrefix(t, p.Prefix) || strings.HasPrefix(p.Prefix, t)
}

// countKnown adds up the counters that match.
func countKnown(counts map[string]int64, q *query.Query) (n int64) {
	for attr, count := range counts {
		ref, phase, attention, ok := splitCount(attr)
		if !ok || phase == sagas.Marker.String() && hidesMarkers(q) {
			continue
		}
		if q.Match(rowOfCount(ref, phase, attention)) {
			n += count
		}
	}
	return n
}

func rowOfCount(ref definitionRef, phase string, attention bool) *query.Row {
	r := &query.Row{WorkflowID: ref.typ + "/", Type: ref.typ, Version: ref.version, Status: phase, Phase: phase, Attention: attention,
		Active: activePhase(phase)}
	if r.Attention && r.Active {
		r.Status = StatusAttention
	}
	return r
}

func activePhase(phase string) bool {
	return phase == sagas.Running.String() || phase == sagas.Finishing.String() || phase == sagas.Compensating.String()
}

// Census is the number of instances by type, version and status.
type Census struct {
	Rows  []CensusRow `json:"rows"`
	Tasks []int32     `json:"tasks,omitempty"`
}

// CensusRow is one line of a Census.
type CensusRow struct {
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Status  string `json:"status"`
	Active  bool   `json:"active,omitempty"`
	// Attention says that these need a person; of those with status attention it goes without saying.
	Attention bool  `json:"attention,omitempty"`
	N         int64 `json:"n"`
}

// Census counts the instances of this process. A task with so many versions that they are not counted is
// left out of Tasks.
func (o *Orchestrator) Census() (Census, error) {
	var out Census
	w := o.worker.Load()
	if w == nil {
		return out, nil
	}
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		counts, ok, err := view.Counted(attrCountPrefix)
		switch {
		case errors.Is(err, topology.ErrNotRunning), err == nil && !ok:
			continue
		case err != nil:
			return Census{}, storeError(err)
		}
		for attr, n := range counts {
			if ref, phase, attention, ok := splitCount(attr); ok {
				r := rowOfCount(ref, phase, attention)
				out.Rows = append(out.Rows, CensusRow{Type: ref.typ, Version: ref.version, Status: r.Status, Active: r.Active, Attention: attention, N: n})
			}
		}
		out.Tasks = append(out.Tasks, t.Task)
	}
	out.Rows = MergeCensus(out.Rows)
	return out, nil
}

// MergeCensus adds up the rows of several tasks or processes, and sorts them.
func MergeCensus(rows []CensusRow) []CensusRow {
	sum := map[CensusRow]int64{}
	for _, r := range rows {
		n := r.N
		r.N = 0
		sum[r] += n
	}
	out := make([]CensusRow, 0, len(sum))
	for r, n := range sum {
		r.N = n
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b CensusRow) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		if a.Version != b.Version {
			return int(int64(a.Version) - int64(b.Version))
		}
		if c := strings.Compare(a.Status, b.Status); c != 0 || a.Attention == b.Attention {
			return c
		}
		if a.Attention {
			return 1
		}
		return -1
	})
	return out
}
