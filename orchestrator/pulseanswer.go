package orchestrator

import (
	"cmp"
	"slices"
	"strings"

	"github.com/amendsio/amends/topology"
)

// MaxParts is the most parts of a window, MaxWindowMs the longest window: what a process remembers.
const (
	MaxParts    = 288
	MaxWindowMs = 24 * hourMs
)

// PulseQuestion says what of the pulse is asked for. Processes that are asked the same give parts that can be added.
type PulseQuestion struct {
	From  int64  `json:"from"` // ms, a whole minute
	Part  int64  `json:"part"` // length of a part in ms, whole minutes
	Parts int    `json:"parts"`
	Type  string `json:"type,omitempty"`  // "" = all
	Steps bool   `json:"steps,omitempty"` // steps too
}

// Check says what is wrong with a question.
func (q PulseQuestion) Check() error {
	if q.Part < minuteMs || q.Part%minuteMs != 0 || q.From%minuteMs != 0 || q.Parts < 1 || q.Parts > MaxParts || q.Part > MaxWindowMs || int64(q.Parts)*q.Part > MaxWindowMs {
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: "the window is not made of whole minutes, or is longer than a day"}
	}
	return nil
}

// Pulse is what one process counted.
type Pulse struct {
	Since int64       `json:"since"` // ms; it counts from then
	Sagas []SagaPulse `json:"sagas,omitempty"`
	Steps []StepPulse `json:"steps,omitempty"`
	Marks []Mark      `json:"marks,omitempty"` // in the window, the oldest first
	// Oldest is the start of the oldest running instance, 0 = none. Of so many that not all were looked at it is that of
	// the oldest that was.
	Oldest int64 `json:"oldest,omitempty"`
	// Cut says that there were too many sagas or steps to count them all.
	Cut bool `json:"cut,omitempty"`
}

// SagaPulse is how one saga did.
type SagaPulse struct {
	Type  string `json:"type"`
	Parts []Ends `json:"parts"`
	Took  Spread `json:"took,omitempty"` // start to end, of the last half day to day
}

// StepPulse is how a step of a version did since the process counts. Sent are do commands, retries included; Failed
// were given up without a definite answer.
type StepPulse struct {
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Step    string `json:"step"`
	Sent    uint32 `json:"sent,omitempty"`
	Done    uint32 `json:"done,omitempty"`
	Refused uint32 `json:"refused,omitempty"`
	Failed  uint32 `json:"failed,omitempty"`
	Undone  uint32 `json:"undone,omitempty"`
	Took    Spread `json:"took,omitempty"` // first command to success, of the last half day to day
}

// Pulse says what this process counted, and what happened to it. Versions of definitions are told by every process
// that knows them, without a node.
func (o *Orchestrator) Pulse(q PulseQuestion) (Pulse, error) {
	if err := q.Check(); err != nil {
		return Pulse{}, err
	}
	out := o.pulse.answer(q)
	until := q.From + int64(q.Parts)*q.Part
	for i := range out.Marks {
		out.Marks[i].Node = o.cfg.Advertise
	}
	out.Oldest = o.oldest.at(o)
	known := o.definitions.current.Load()
	add := func(at int64, kind, typ string, version uint32) {
		if at >= q.From && at < until && (q.Type == "" || q.Type == typ) {
			out.Marks = append(out.Marks, Mark{At: at, Kind: kind, Type: typ, Version: version})
		}
	}
	for ref, l := range known.versions {
		add(l.at, MarkVersion, ref.typ, ref.version)
	}
	for typ, at := range known.since {
		add(at.UnixMilli(), MarkActive, typ, known.active[typ])
	}
	SortMarks(out.Marks)
	if len(out.Marks) > maxMarks {
		out.Marks = out.Marks[len(out.Marks)-maxMarks:]
	}
	return out, nil
}

// SortMarks sorts the oldest first.
func SortMarks(list []Mark) {
	slices.SortFunc(list, func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Type, b.Type), cmp.Compare(a.Version, b.Version),
			strings.Compare(a.Node, b.Node), strings.Compare(a.Topic, b.Topic), strings.Compare(a.Actor, b.Actor), strings.Compare(a.Action, b.Action), strings.Compare(a.WorkflowID, b.WorkflowID), cmp.Compare(a.N, b.N))
	})
}

func (p *pulse) answer(q PulseQuestion) Pulse {
	now, until := p.clock().UnixMilli(), q.From+int64(q.Parts)*q.Part
	p.mu.Lock()
	defer p.mu.Unlock()
	out := Pulse{Since: p.since, Cut: p.cut}
	for typ, s := range p.sagas {
		if q.Type == "" || q.Type == typ {
			out.Sagas = append(out.Sagas, SagaPulse{Type: typ, Parts: s.parts(q.From, q.Part, q.Parts), Took: s.took.counts(now)})
		}
	}
	slices.SortFunc(out.Sagas, func(a, b SagaPulse) int { return strings.Compare(a.Type, b.Type) })
	if q.Steps {
		for ref, s := range p.steps {
			if q.Type == "" || q.Type == ref.typ {
				out.Steps = append(out.Steps, StepPulse{Type: ref.typ, Version: ref.version, Step: ref.step,
					Sent: s.sent, Done: s.done, Refused: s.refused, Failed: s.failed, Undone: s.undone, Took: s.took.counts(now)})
			}
		}
		slices.SortFunc(out.Steps, func(a, b StepPulse) int {
			return cmp.Or(strings.Compare(a.Type, b.Type), cmp.Compare(a.Version, b.Version), strings.Compare(a.Step, b.Step))
		})
	}
	for _, m := range p.marks {
		if m.At >= q.From && m.At < until {
			out.Marks = append(out.Marks, m)
		}
	}
	return out
}

// hooks notes what the runtime does.
func (p *pulse) hooks() topology.Hooks {
	return topology.Hooks{
		Rebalance: func(assigned, revoked []int32) {
			if len(assigned) > 0 {
				p.mark(Mark{Kind: MarkGained, N: len(assigned)})
			}
			if len(revoked) > 0 {
				p.mark(Mark{Kind: MarkLost, N: len(revoked)})
			}
		},
		Destination: func(info topology.DestinationInfo) {
			switch info.State {
			case topology.DestinationOpen:
				p.mark(Mark{Kind: MarkBlocked, Topic: info.Topic})
			case topology.DestinationClosed:
				p.mark(Mark{Kind: MarkFlows, Topic: info.Topic})
			}
		},
	}
}
