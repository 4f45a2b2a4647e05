package sagatest

import (
	"sort"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Participants is the set of virtual participants of one world. They keep the participant contract,
// so what a saga leaves behind with them is what it would leave behind in production.
//
// Behaviour decides what each new command gets. Commands that the inbox already knows are answered
// from it and never reach Behaviour.
type Participants struct {
	// Behaviour answers a command that the inbox does not know. Nil is OK for everything.
	Behaviour func(sagas.Command) Answer
	// Forgetful participants break the contract on purpose: they store no refusals and no tombstones,
	// and they take a do after its deadline.
	Forgetful bool

	rows  map[string]*row // by saga-key, do and undo alike
	order []string        // keys in order of first sight
}

// row is one inbox row.
type row struct {
	command    sagas.Command
	state      rowState
	until      sagas.Time // started: when the work ends
	pending    Answer     // started: what happens then
	executed   bool       // do: the effect is there; undo: the reversal was made
	executions int        // how often; more than once is a broken participant
	reversals  int        // do: how often an undo reversed it
	reply      sagas.Reply
}

type rowState uint8

const (
	rowStarted   rowState = iota + 1 // in progress
	rowAnswered                      // has a stored reply
	rowTombstone                     // an undo came first: the do is refused from now on
	rowExecuted                      // took effect, but no reply is stored: the next delivery says ok
)

func (p *Participants) row(key string) *row {
	return p.rows[key]
}

func (p *Participants) insert(key string, r *row) {
	if p.rows == nil {
		p.rows = make(map[string]*row)
	}
	if _, ok := p.rows[key]; !ok {
		p.order = append(p.order, key)
	}
	p.rows[key] = r
}

// Handle lets a participant consume one delivery. It returns the reply, if any, and the time at
// which work that the delivery began will end (zero = none); call Finish then.
func (p *Participants) Handle(c sagas.Command, now sagas.Time) (reply *sagas.Reply, workUntil sagas.Time) {
	switch c.Op {
	case sagas.OpDo:
		return p.do(c, now)
	case sagas.OpUndo:
		return p.undo(c, now)
	default:
		return p.inquire(c), 0
	}
}

func (p *Participants) answer(c sagas.Command) Answer {
	if p.Behaviour == nil {
		return OK()
	}
	return p.Behaviour(c)
}

func (p *Participants) do(c sagas.Command, now sagas.Time) (*sagas.Reply, sagas.Time) {
	if c.Deadline != 0 && now > c.Deadline && !p.Forgetful {
		return to(c, sagas.Reply{Outcome: sagas.OutcomeFailedRetriable, Code: "EXPIRED", Effect: sagas.EffectNone}), 0
	}
	if r := p.row(c.Key); r != nil {
		switch r.state {
		case rowTombstone:
			return to(c, sagas.Reply{Outcome: sagas.OutcomeRejected, Code: "SUPPRESSED", Effect: sagas.EffectNone}), 0
		case rowStarted:
			return to(c, sagas.Reply{Outcome: sagas.OutcomeFailedRetriable, Code: "BUSY"}), 0
		case rowExecuted:
			return to(c, sagas.Reply{Outcome: sagas.OutcomeOK, Replayed: true}), 0
		case rowAnswered:
			again := r.reply
			again.Replayed = true
			return to(c, again), 0
		}
	}
	a := p.answer(c)
	if a.Work > 0 {
		until := now + sagas.Time(a.Work.Milliseconds())
		p.insert(c.Key, &row{command: c, state: rowStarted, until: until, pending: a})
		return nil, until
	}
	return p.complete(c, a), 0
}

// complete carries out a do (or the reversal of an undo) and stores its answer.
func (p *Participants) complete(c sagas.Command, a Answer) *sagas.Reply {
	if a.Outcome == "" && !a.Silent {
		a.Outcome, a.Executes = sagas.OutcomeOK, true
	}
	rep := sagas.Reply{Outcome: a.Outcome, Effect: a.Effect, Code: a.Code, Output: a.Output, RetryAfter: a.RetryAfter.Milliseconds()}
	executes := a.Executes || a.Outcome == sagas.OutcomeOK
	r := &row{command: c, executed: executes, reply: rep}
	if executes {
		r.executions = 1
	}
	switch {
	case a.Silent && executes && a.Outcome != sagas.OutcomeFailedFatal:
		r.state = rowExecuted
	case a.Outcome == sagas.OutcomeOK, a.Outcome == sagas.OutcomeRejected, a.Outcome == sagas.OutcomeFailedFatal:
		r.state = rowAnswered
		if a.Outcome == sagas.OutcomeRejected && p.Forgetful {
			r = nil
		}
	case executes: // a passing failure that took effect behind the participant's back
		r.state = rowExecuted
	default: // rolled back: nothing is stored, the next delivery starts anew
		r = nil
	}
	if r != nil {
		p.insert(c.Key, r)
	} else if old := p.row(c.Key); old != nil && old.state == rowStarted {
		delete(p.rows, c.Key)
		for i, k := range p.order {
			if k == c.Key {
				p.order = append(p.order[:i:i], p.order[i+1:]...)
				break
			}
		}
	}
	if a.Silent {
		return nil
	}
	return to(c, rep)
}

// Finish ends work that Handle began.
func (p *Participants) Finish(c sagas.Command) *sagas.Reply {
	r := p.row(c.Key)
	if r == nil || r.state != rowStarted {
		return nil
	}
	a := r.pending
	a.Work = 0
	return p.complete(r.command, a)
}

func (p *Participants) undo(c sagas.Command, _ sagas.Time) (*sagas.Reply, sagas.Time) {
	if r := p.row(c.Key); r != nil {
		again := r.reply
		again.Replayed = true
		return to(c, again), 0
	}
	fwd := p.row(c.ForwardKey)
	if fwd != nil && fwd.state == rowStarted {
		return to(c, sagas.Reply{Outcome: sagas.OutcomeFailedRetriable, Code: "BUSY"}), 0
	}
	a := p.answer(c)
	if a.Outcome == "" && !a.Silent {
		a.Outcome, a.Executes = sagas.OutcomeOK, true
	}
	rolledBack := !a.Executes && a.Outcome != sagas.OutcomeOK && a.Outcome != sagas.OutcomeFailedFatal
	if rolledBack {
		if a.Silent {
			return nil, 0
		}
		return to(c, sagas.Reply{Outcome: a.Outcome, Effect: a.Effect, Code: a.Code, RetryAfter: a.RetryAfter.Milliseconds()}), 0
	}
	reverses := a.Executes || a.Outcome == sagas.OutcomeOK
	rep := sagas.Reply{Outcome: a.Outcome, Effect: a.Effect, Code: a.Code, Output: a.Output}
	if reverses {
		if fwd == nil && !p.Forgetful {
			p.insert(c.ForwardKey, &row{command: c, state: rowTombstone})
		}
		if fwd == nil || !fwd.executed {
			rep.Noop = rep.Outcome == sagas.OutcomeOK
		} else {
			fwd.reversals++
		}
	}
	if rep.Outcome == "" { // silent, but the reversal is stored
		rep.Outcome = sagas.OutcomeOK
	}
	p.insert(c.Key, &row{command: c, state: rowAnswered, executed: reverses, reply: rep})
	if a.Silent {
		return nil, 0
	}
	return to(c, rep), 0
}

// inquire answers with the truth. A do that never came is refused from now on, because
// not-executed promises that it will not take effect later either.
func (p *Participants) inquire(c sagas.Command) *sagas.Reply {
	a := p.answer(c)
	switch {
	case a.Silent:
		return nil
	case a.Outcome != "" && a.Outcome != sagas.OutcomeOK:
		return to(c, sagas.Reply{Outcome: a.Outcome, Effect: a.Effect, Code: a.Code, Output: a.Output, RetryAfter: a.RetryAfter.Milliseconds()})
	}
	fwd := p.row(c.ForwardKey)
	switch {
	case fwd == nil:
		p.insert(c.ForwardKey, &row{command: c, state: rowTombstone})
		return to(c, sagas.Reply{Outcome: sagas.OutcomeNotExecuted})
	case fwd.state == rowStarted:
		return to(c, sagas.Reply{Outcome: sagas.OutcomeRunning})
	case fwd.executed:
		return to(c, sagas.Reply{Outcome: sagas.OutcomeExecuted, Output: fwd.reply.Output})
	}
	return to(c, sagas.Reply{Outcome: sagas.OutcomeNotExecuted})
}

// to addresses a reply to the command it answers.
func to(c sagas.Command, r sagas.Reply) *sagas.Reply {
	r.Address = c.Address
	return &r
}

// Effect is what one forward command came to at its participant.
type Effect struct {
	Run      uint32
	Path     string
	Round    uint32
	Key      string
	Executed int // 0 or 1
	Reversed int
}

// Ledger lists every forward command that a participant saw, in order of path, run and round.
func (p *Participants) Ledger() []Effect {
	var out []Effect
	for _, key := range p.order {
		r := p.rows[key]
		if r.command.Op != sagas.OpDo {
			continue
		}
		out = append(out, Effect{Run: r.command.Run, Path: r.command.Path, Round: r.command.Round, Key: key, Executed: r.executions, Reversed: r.reversals})
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Path != b.Path {
			return a.Path < b.Path
		}
		if a.Run != b.Run {
			return a.Run < b.Run
		}
		return a.Round < b.Round
	})
	return out
}

// Duration is a shorthand for tests that compute with saga time.
func Duration(t sagas.Time) time.Duration { return time.Duration(t) * time.Millisecond }
