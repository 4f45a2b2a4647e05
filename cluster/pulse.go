package cluster

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amendsio/amends/orchestrator"
)

// Pulse is how the sagas of the namespace did within a window, by what each process has counted since it started.
type Pulse struct {
	From  int64 `json:"from"`  // ms
	Until int64 `json:"until"` // ms, the end of the part that has begun
	Part  int64 `json:"part"`  // length of a part in ms
	// Since is when the last of the processes began to count: what was before is known in part only.
	Since int64 `json:"since"`
	// Oldest is the start of the oldest running instance, 0 = none; see orchestrator.Pulse.
	Oldest int64 `json:"oldest,omitempty"`

	Sagas   []SagaPulse         `json:"sagas"`
	Steps   []StepPulse         `json:"steps,omitempty"`
	Changes []orchestrator.Mark `json:"changes"` // the newest first

	// Cut says that a process had too many sagas or steps to count them all.
	Cut bool `json:"cut,omitempty"`
	// Unread are the processes that did not answer.
	Unread []string `json:"unread,omitempty"`
}

// SagaPulse is how one saga did. Times are from start to end, of the last half day to day, to a tenth; -1 = none.
type SagaPulse struct {
	Type  string              `json:"type"`
	P50   int64               `json:"p50Ms"`
	P95   int64               `json:"p95Ms"`
	Total orchestrator.Ends   `json:"total"` // of the window
	Parts []orchestrator.Ends `json:"parts"` // the oldest first
}

// StepPulse is how a step of a version did. Times are from its first command to its success, -1 = none.
type StepPulse struct {
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Step    string `json:"step"`
	Sent    int64  `json:"sent"`    // do commands, retries included
	Done    int64  `json:"done"`    // successes
	Refused int64  `json:"refused"` // definite refusals
	Failed  int64  `json:"failed"`  // given up without a definite answer
	Undone  int64  `json:"undone"`
	P50     int64  `json:"p50Ms"`
	P95     int64  `json:"p95Ms"`
}

// Window says what of the pulse is asked for.
type Window struct {
	Length time.Duration // up to now; 0 = a day
	Parts  int           // 0 = 48
	Type   string        // "" = all
	Steps  bool          // steps too
}

// question makes parts of whole minutes that end with the one that has begun.
func (w Window) question(now time.Time) (orchestrator.PulseQuestion, error) {
	if w.Length == 0 {
		w.Length = 24 * time.Hour
	}
	if w.Parts == 0 {
		w.Parts = 48
	}
	q := orchestrator.PulseQuestion{Parts: w.Parts, Type: w.Type, Steps: w.Steps}
	part := w.Length / time.Duration(max(w.Parts, 1))
	if part%time.Minute != 0 {
		return q, invalid("the window cannot be divided into that many parts of whole minutes")
	}
	q.Part = part.Milliseconds()
	minute := time.Minute.Milliseconds()
	q.From = (now.UnixMilli()/minute+1)*minute - int64(w.Parts)*q.Part
	return q, q.Check()
}

// Pulse asks every process. It is always partial: who did not answer is in Unread.
func (c *Cluster) Pulse(ctx context.Context, w Window) (Pulse, error) {
	q, err := w.question(c.now())
	if err != nil {
		return Pulse{}, err
	}
	own, err := c.local.Pulse(q)
	if err != nil {
		return Pulse{}, err
	}
	others := c.local.Peers(ctx)
	parts := make([]orchestrator.Pulse, len(others))
	errs := make([]error, len(others))
	var asked sync.WaitGroup
	for i, address := range others {
		asked.Go(func() { errs[i] = c.peers.ask(ctx, address, opPulse, q, &parts[i]) })
	}
	asked.Wait()
	answered := []orchestrator.Pulse{own}
	var unread []string
	for i, err := range errs {
		if err != nil {
			c.log.Warn("a process of the group does not answer", "address", others[i], "err", err)
			unread = append(unread, others[i])
			continue
		}
		answered = append(answered, parts[i])
	}
	out := mergePulse(q, answered)
	slices.Sort(unread)
	out.Unread = unread
	return out, ctx.Err()
}

// mergePulse adds up what processes counted.
func mergePulse(q orchestrator.PulseQuestion, parts []orchestrator.Pulse) Pulse {
	out := Pulse{From: q.From, Until: q.From + int64(q.Parts)*q.Part, Part: q.Part, Sagas: []SagaPulse{}, Changes: []orchestrator.Mark{}}
	type saga struct {
		SagaPulse
		took spread
	}
	type stepRef struct {
		typ     string
		version uint32
		step    string
	}
	type step struct {
		StepPulse
		took spread
	}
	all, steps := map[string]*saga{}, map[stepRef]*step{}
	for _, p := range parts {
		out.Since, out.Cut = max(out.Since, p.Since), out.Cut || p.Cut
		if p.Oldest > 0 && (out.Oldest == 0 || p.Oldest < out.Oldest) {
			out.Oldest = p.Oldest
		}
		for _, s := range p.Sagas {
			into := all[s.Type]
			if into == nil {
				into = &saga{SagaPulse: SagaPulse{Type: s.Type, Parts: make([]orchestrator.Ends, q.Parts)}, took: spread{}}
				all[s.Type] = into
			}
			for i := range min(len(s.Parts), q.Parts) {
				into.Parts[i].Add(s.Parts[i])
				into.Total.Add(s.Parts[i])
			}
			into.took.add(s.Took)
		}
		for _, s := range p.Steps {
			ref := stepRef{s.Type, s.Version, s.Step}
			into := steps[ref]
			if into == nil {
				into = &step{StepPulse: StepPulse{Type: s.Type, Version: s.Version, Step: s.Step}, took: spread{}}
				steps[ref] = into
			}
			into.Sent, into.Done, into.Refused = into.Sent+int64(s.Sent), into.Done+int64(s.Done), into.Refused+int64(s.Refused)
			into.Failed, into.Undone = into.Failed+int64(s.Failed), into.Undone+int64(s.Undone)
			into.took.add(s.Took)
		}
		out.Changes = append(out.Changes, p.Marks...)
	}
	for _, s := range all {
		s.P50, s.P95 = s.took.at(0.5), s.took.at(0.95)
		out.Sagas = append(out.Sagas, s.SagaPulse)
	}
	slices.SortFunc(out.Sagas, func(a, b SagaPulse) int { return strings.Compare(a.Type, b.Type) })
	for _, s := range steps {
		s.P50, s.P95 = s.took.at(0.5), s.took.at(0.95)
		out.Steps = append(out.Steps, s.StepPulse)
	}
	slices.SortFunc(out.Steps, func(a, b StepPulse) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), cmp.Compare(a.Version, b.Version), strings.Compare(a.Step, b.Step))
	})
	orchestrator.SortMarks(out.Changes)
	out.Changes = slices.Compact(out.Changes) // versions are told by every process
	slices.Reverse(out.Changes)
	return out
}

// spread is a histogram by bucket.
type spread map[uint32]uint64

func (s spread) add(counts orchestrator.Spread) {
	for i := 0; i+1 < len(counts); i += 2 {
		s[counts[i]] += uint64(counts[i+1])
	}
}

// at is the time that a part of all took at most; -1 when there is none.
func (s spread) at(part float64) int64 {
	var all uint64
	buckets := make([]uint32, 0, len(s))
	for b, n := range s {
		all, buckets = all+n, append(buckets, b)
	}
	if all == 0 {
		return -1
	}
	slices.Sort(buckets)
	rank, seen := uint64(math.Ceil(part*float64(all))), uint64(0)
	for _, b := range buckets {
		if seen += s[b]; seen >= rank {
			return orchestrator.BucketMs(int(b))
		}
	}
	return -1
}

// Stands is where the running instances of a type stand.
type Stands struct {
	Stands []orchestrator.Stand `json:"stands"`
	// AtLeast says that there were too many to look at all.
	AtLeast bool    `json:"atLeast,omitempty"`
	Missing []int32 `json:"missing,omitempty"`
}

type standsRequest struct {
	Type string `json:"type"`
}

// Stands asks all owners. It is always partial: what it lacks is in Missing.
func (c *Cluster) Stands(ctx context.Context, typ string) (Stands, error) {
	req := standsRequest{typ}
	parts, missing, err := gather(ctx, c, opStands, req, func(ctx context.Context) (orchestrator.Stands, error) { return c.local.Stands(ctx, typ) },
		func(p orchestrator.Stands) []int32 { return p.Tasks }, true)
	if err != nil {
		return Stands{}, err
	}
	out := Stands{Missing: missing}
	for _, p := range parts {
		out.Stands, out.AtLeast = append(out.Stands, p.Stands...), out.AtLeast || p.AtLeast
	}
	out.Stands = orchestrator.MergeStands(out.Stands)
	return out, nil
}
