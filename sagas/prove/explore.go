package prove

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/amendsio/amends/sagas"
)

// explorer is one exploration. What it holds is not changed while it runs, but for the shards.
type explorer struct {
	plan  *sagas.Plan // bounded
	opts  Options
	wid   string
	nodes map[string]int
	after [][]bool // after[i][d]: node i depends on node d, in their lane
	flat  bool     // no node has a body
	reads []bool   // by node: an expression that is looked at on the way back may ask for it
	named []bool   // by node: any expression may ask for it
	// On the way back expressions may ask for the input, an item or a signal:
	readsInput, readsSignals bool
	inputs                   [][]byte
	outs                     [][][]byte // by node: the outputs of its command
	codes                    [][]string // by node: the codes of its refusals
	payloads                 [][][]byte // by node: what a signal that it awaits carries
	asked                    []string   // signals that expressions ask for
	signals                  []signal
	values                   []Value  // what was drawn, for the report
	sizes                    []string // what was left out when values were drawn

	shards [shardCount]shard
}

const shardCount = 64

// key names a state: the first half of the SHA-256 of its description.
type key [16]byte

// shard is a part of the states that were seen. Their numbers are index<<6 | shard.
type shard struct {
	mu     sync.Mutex
	index  map[key]uint32
	full   map[key][]byte // FullKeys
	states []seen
}

// seen is what is kept of a state: how it was reached first, and whether it is an end.
type seen struct {
	parent uint32
	order  uint32 // of the parent in its frontier
	move   uint16
	depth  uint16
	end    bool // terminal, or it asks for a person, or it waits for the world
}

const noParent = ^uint32(0)

// edge is a transition that comes by itself.
type edge struct{ from, to uint32 }

// Run explores every run of a plan within the bounds of the options. An error means that it could not
// begin, or that ctx has ended; a counterexample is no error.
func Run(ctx context.Context, plan *sagas.Plan, opts Options) (*Report, error) {
	x, err := newExplorer(plan, opts)
	if err != nil {
		return nil, err
	}
	return x.explore(ctx)
}

func newExplorer(plan *sagas.Plan, opts Options) (*explorer, error) {
	if plan == nil || len(plan.Steps) == 0 {
		return nil, errors.New("the plan has no steps")
	}
	opts = opts.withDefaults()
	x := &explorer{plan: Bound(plan, opts.Attempts), opts: opts, wid: plan.Type + "/prove", nodes: make(map[string]int), flat: true}
	for i := range x.plan.Steps {
		s := &x.plan.Steps[i]
		if s.Kind == 0 && s.Node == sagas.NodeCall {
			s.Kind = sagas.Compensatable
		}
		x.nodes[s.Path] = i
		x.flat = x.flat && s.Node == sagas.NodeCall
	}
	x.after = closure(x.plan)
	for i := range plan.Steps {
		a, b := &plan.Steps[i], &x.plan.Steps[i]
		if a.Repeat != nil && b.Repeat.Rounds < a.Repeat.Rounds {
			x.sizes = append(x.sizes, fmt.Sprintf("%s has %s, not %d", a.Path, count(int(b.Repeat.Rounds), "round"), a.Repeat.Rounds))
		}
		if a.Scope != nil && b.Scope.Rounds < a.Scope.Rounds {
			x.sizes = append(x.sizes, fmt.Sprintf("%s has %s, not %d", a.Path, count(int(b.Scope.Rounds), "round"), a.Scope.Rounds))
		}
	}
	x.read(plan.Definition)
	if err := x.draw(plan); err != nil {
		return nil, err
	}
	x.signals = x.known()
	for i := range x.shards {
		x.shards[i].index = make(map[key]uint32)
		if opts.FullKeys {
			x.shards[i].full = make(map[key][]byte)
		}
	}
	return x, nil
}

// outputs are what the command of a step may answer with.
func (x *explorer) outputs(path string) [][]byte {
	if i := x.nodeOf(path); i >= 0 {
		return x.outs[i]
	}
	return nil
}

func keyOf(b []byte) key {
	sum := sha256.Sum256(b)
	return key(sum[:16])
}

// add notes a state, reached at depth from the parent-th state of the frontier by its mv-th move. It
// returns its number and whether it is new.
func (x *explorer) add(k key, body []byte, parent, order uint32, mv, depth int, end bool) (id uint32, fresh bool, err error) {
	n := uint32(k[0]) % shardCount
	sh := &x.shards[n]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if at, found := sh.index[k]; found {
		if sh.full != nil && !bytes.Equal(sh.full[k], body) {
			return 0, false, errors.New("two states have one key")
		}
		// Of several ways of the same length the first of the frontier is kept, so that the result does not
		// depend on which processor came first.
		if old := &sh.states[at]; int(old.depth) == depth {
			if c := cmp.Or(cmp.Compare(order, old.order), cmp.Compare(mv, int(old.move))); c < 0 {
				old.parent, old.order, old.move = parent, order, uint16(mv)
			}
		}
		return at<<6 | n, false, nil
	}
	at := uint32(len(sh.states))
	sh.index[k] = at
	if sh.full != nil {
		sh.full[k] = bytes.Clone(body)
	}
	sh.states = append(sh.states, seen{parent: parent, order: order, move: uint16(mv), depth: uint16(depth), end: end})
	return at<<6 | n, true, nil
}

func (x *explorer) state(id uint32) *seen { return &x.shards[id%shardCount].states[id>>6] }

// pending is a state of the next depth.
type pending struct {
	key  key
	id   uint32
	body []byte
}

// finding is a violation that a state shows, or one of its moves.
type finding struct {
	violation
	from  uint32
	order uint32
	move  int // -1 = the state itself
}

// worker is what one processor has gathered in a chunk of the frontier.
type worker struct {
	next        []pending
	edges       []edge
	found       *finding
	transitions int
	err         error
}

func (w *worker) report(f finding) {
	if w.found == nil || f.order < w.found.order || f.order == w.found.order && f.move < w.found.move {
		w.found = &f
	}
}

// chunk is the number of states between two looks at what was found and at the bounds. All of a chunk
// is explored or nothing of it, so that the outcome does not depend on the number of processors.
const chunk = 1 << 14

// explore goes through all states, breadth first, so that the first counterexample is a shortest one.
func (x *explorer) explore(ctx context.Context) (*Report, error) {
	began := time.Now()
	r := x.newReport()
	root := (&state{}).append(nil)
	id, _, err := x.add(keyOf(root), root, noParent, 0, 0, 0, false)
	if err != nil {
		return nil, err
	}
	frontier := []pending{{keyOf(root), id, root}}
	r.States = 1
	var edges [][]edge
	var found *finding
	for depth := 0; len(frontier) > 0 && found == nil; depth++ {
		r.Depth = depth
		if x.opts.Depth > 0 && depth >= x.opts.Depth {
			r.cut("depth", x.opts.Depth)
			break
		}
		var next []pending
		for from := 0; from < len(frontier) && found == nil; from += chunk {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			to := min(from+chunk, len(frontier))
			for _, w := range x.level(ctx, frontier[from:to], uint32(from), depth) {
				if w.err != nil {
					return nil, w.err
				}
				next = append(next, w.next...)
				edges = append(edges, w.edges)
				r.Transitions += w.transitions
				if f := w.found; f != nil && (found == nil || f.order < found.order || f.order == found.order && f.move < found.move) {
					found = f
				}
			}
			clear(frontier[from:to])
			r.States = x.count()
			if r.States > x.opts.States && found == nil {
				r.cut("states", x.opts.States)
				break
			}
		}
		if r.Cut != "" {
			break
		}
		slices.SortFunc(next, func(a, b pending) int { return bytes.Compare(a.key[:], b.key[:]) })
		frontier = next
		if x.opts.Progress != nil {
			x.opts.Progress(Progress{States: r.States, Transitions: r.Transitions, Depth: depth + 1, Frontier: len(frontier), Elapsed: time.Since(began)})
		}
	}
	if found == nil && r.Cut == "" {
		found = x.liveness(edges)
	}
	if found != nil {
		if r.Counterexample, err = x.trace(found); err != nil {
			return nil, err
		}
	}
	r.Elapsed = time.Since(began)
	return r, nil
}

func (x *explorer) count() int {
	n := 0
	for i := range x.shards {
		n += len(x.shards[i].states)
	}
	return n
}

// level explores a part of the frontier on all processors. offset is the place of its first state.
func (x *explorer) level(ctx context.Context, part []pending, offset uint32, depth int) []worker {
	workers := make([]worker, x.opts.Workers)
	var next struct {
		sync.Mutex
		at int
	}
	const batch = 64
	var wg sync.WaitGroup
	for i := range workers {
		wg.Add(1)
		go func(w *worker) {
			defer wg.Done()
			for {
				next.Lock()
				from := next.at
				next.at += batch
				next.Unlock()
				if from >= len(part) || w.err != nil {
					return
				}
				if w.err = ctx.Err(); w.err != nil {
					return
				}
				for k := from; k < min(from+batch, len(part)); k++ {
					x.expand(w, &part[k], offset+uint32(k), depth)
				}
			}
		}(&workers[i])
	}
	wg.Wait()
	return workers
}

// expand explores what can happen in one state.
func (x *explorer) expand(w *worker, p *pending, order uint32, depth int) {
	s, v := x.reload(p.body)
	if v == nil {
		v = x.idle(s)
	}
	if v != nil {
		w.report(finding{*v, p.id, order, -1})
		return
	}
	var buf []byte
	for i, m := range x.successors(s) {
		next, v := x.apply(s, m)
		if next == nil && v == nil {
			continue
		}
		w.transitions++
		if v != nil {
			w.report(finding{*v, p.id, order, i})
			continue
		}
		buf = next.append(buf[:0])
		k := keyOf(buf)
		id, fresh, err := x.add(k, buf, p.id, order, i, depth+1, x.good(next))
		if err != nil {
			w.err = err
			return
		}
		if fresh {
			w.next = append(w.next, pending{k, id, bytes.Clone(buf)})
		}
		if m.fair() && id != p.id {
			w.edges = append(w.edges, edge{p.id, id})
		}
	}
}

// reload reads a state back from its bytes, as after a crash.
func (x *explorer) reload(body []byte) (*state, *violation) {
	s, err := decodeState(body)
	if err != nil {
		return nil, violated(Crash, "the record cannot be read back: %v", err)
	}
	if !bytes.Equal(s.append(nil), body) {
		return nil, violated(Crash, "the record reads back as another one")
	}
	return s, nil
}

// idle looks whether a timer event that finds nothing due leaves the state alone.
func (x *explorer) idle(s *state) *violation {
	if s.inst == nil || !s.inst.Phase.Active() {
		return nil
	}
	if due := s.inst.NextDue(); due != 0 && due <= base {
		return nil
	}
	after, effects, broke := x.run(s.inst, sagas.Timers{}, base)
	if broke != nil {
		return broke
	}
	for _, e := range effects {
		if _, is := e.(sagas.Ignored); !is {
			return violated(Stale, "a timer event that finds nothing due has an effect: %T", e)
		}
	}
	if !x.same(after, s.inst) {
		return violated(Stale, "a timer event that finds nothing due changes the state")
	}
	return nil
}

// good says whether a run may stay in this state: it has ended, or it asks for a person, or it waits
// for the world.
func (x *explorer) good(s *state) bool {
	inst := s.inst
	if inst == nil {
		return s.used.started
	}
	return !inst.Phase.Active() || inst.Run > 1 || len(inst.Attention) > 0 || inst.Suspended || x.waits(s)
}

// liveness looks for a state from which no run ends: neither it nor anything that follows by itself
// has ended, or asks for a person.
func (x *explorer) liveness(edges [][]edge) *finding {
	for changed := true; changed; {
		changed = false
		for i := len(edges) - 1; i >= 0; i-- { // most edges lead to a greater depth
			for _, e := range edges[i] {
				if from := x.state(e.from); !from.end && x.state(e.to).end {
					from.end, changed = true, true
				}
			}
		}
	}
	var worst *finding
	best := seen{depth: ^uint16(0)}
	for n := range x.shards {
		for i := range x.shards[n].states {
			s := &x.shards[n].states[i]
			if s.end || s.depth > best.depth || s.depth == best.depth && (s.order > best.order || s.order == best.order && s.move >= best.move) {
				continue
			}
			best = *s
			worst = &finding{*violated(Liveness, "from here on no run ends, and none asks for a person"), uint32(i)<<6 | uint32(n), 0, -1}
		}
	}
	return worst
}
