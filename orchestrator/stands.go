package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// maxStands bounds the instances that one process looks at to say where they stand.
const maxStands = 10_000

// Stand is how many instances of a version stand at a step: it is sent, waits, is tried again, asked about or undone.
// An instance that is at several steps is counted at each; one in a block that lies in pages, at the block.
type Stand struct {
	Version uint32 `json:"version"`
	Step    string `json:"step"` // its id; "" = between steps
	N       int64  `json:"n"`
}

// Stands is where the running instances of a type stand.
type Stands struct {
	Stands []Stand `json:"stands"`
	// AtLeast says that there were too many to look at all.
	AtLeast bool    `json:"atLeast,omitempty"`
	Tasks   []int32 `json:"tasks,omitempty"` // those that were looked through
}

// Stands looks at the running instances of a type that this process has.
func (o *Orchestrator) Stands(ctx context.Context, typ string) (Stands, error) {
	q, err := query.Compile("active", o.cfg.Clock())
	if err != nil {
		return Stands{}, err
	}
	q = q.And("", typ)
	var out Stands
	w := o.worker.Load()
	if w == nil {
		return out, nil
	}
	n, examined := map[Stand]int64{}, 0
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		err := walk(view, q, "", func(_, value []byte) bool {
			if examined++; examined > maxStands || examined%256 == 0 && ctx.Err() != nil {
				out.AtLeast = true
				return false
			}
			standsOf(value, n)
			return true
		})
		switch {
		case errors.Is(err, topology.ErrNotRunning): // its part is counted twice when it moved just now: this is a view, no book
			continue
		case ctx.Err() != nil:
			return Stands{}, ctx.Err()
		case err != nil:
			return Stands{}, storeError(err)
		}
		out.Tasks = append(out.Tasks, t.Task)
	}
	for k, count := range n {
		k.N = count
		out.Stands = append(out.Stands, k)
	}
	out.Stands = MergeStands(out.Stands)
	return out, nil
}

// standsOf counts the places at which a stored instance is.
func standsOf(value []byte, n map[Stand]int64) {
	rec, err := sagas.OpenRecord(value, func(sagas.PageKey) ([]byte, error) { return nil, nil })
	if err != nil {
		return
	}
	inst := rec.Head()
	if !inst.Phase.Active() {
		return
	}
	for _, id := range placesOf(inst) {
		n[Stand{Version: inst.Version, Step: id}]++
	}
}

// placesOf are the ids of the steps at which an instance is, each once; "" alone when it is at none.
func placesOf(inst *sagas.Instance) (at []string) {
	for i := range inst.Steps {
		s := &inst.Steps[i]
		if (s.Undo == sagas.UndoNone && (s.State == sagas.StepOpen || s.State == sagas.StepReady)) && holdsOther(inst.Steps, s.Path) {
			continue // a block: what is inside says it
		}
		moving := s.Undo == sagas.UndoPending || s.Undo == sagas.UndoBackoff || s.Undo == sagas.UndoInquiring || s.Undo == sagas.UndoStopped
		if s.Undo == sagas.UndoNone {
			switch s.State {
			case sagas.StepReady, sagas.StepPending, sagas.StepBackoff, sagas.StepInquiring, sagas.StepUnknown, sagas.StepFailed, sagas.StepOpen:
				moving = true
			}
		}
		if id := stepOf(s.Path); moving && !slices.Contains(at, id) {
			at = append(at, id)
		}
	}
	if at == nil {
		at = []string{""}
	}
	return at
}

// holdsOther says whether a step has others inside: their paths begin with it and a bracket or stroke.
func holdsOther(steps []sagas.StepState, path string) bool {
	for i := range steps {
		if rest, ok := strings.CutPrefix(steps[i].Path, path); ok && rest != "" && (rest[0] == '[' || rest[0] == '/') {
			return true
		}
	}
	return false
}

// MergeStands adds up, the newest version and the fullest step first.
func MergeStands(list []Stand) []Stand {
	sum := map[Stand]int64{}
	for _, s := range list {
		n := s.N
		s.N = 0
		sum[s] += n
	}
	out := make([]Stand, 0, len(sum))
	for s, n := range sum {
		s.N = n
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Stand) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(b.N, a.N), strings.Compare(a.Step, b.Step))
	})
	return out
}
