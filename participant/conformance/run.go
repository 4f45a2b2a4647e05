package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ErrSilent is returned when the participant answers nothing at all.
var ErrSilent = errors.New("the participant does not answer")

// scenario is one case: what it is called, which rules of docs/protocol.md it is about, how it is played.
type scenario struct {
	name  string
	rules string
	play  func(p *played)
}

var scenarios = []scenario{
	{"duplicate do", "3", duplicateDo},
	{"duplicate do at once", "2, 3", duplicateAtOnce},
	{"undo", "4", undo},
	{"undo first", "4", undoFirst},
	{"do after undo", "5", doAfterUndo},
	{"undo during do", "2, 4", undoDuringDo},
	{"refusal replay", "3", refusalReplay},
	{"undo of a refusal", "4", undoOfRefusal},
	{"expired do", "6", expiredDo},
	{"duplicate after the deadline", "3, 6", lateDuplicate},
	{"crash between commit and reply", "2, 3", crash},
	{"aborted transaction", "1", aborted},
	{"key reused", "10", keyReused},
	{"unreadable command", "10", unreadable},
	{"inquire", "9", inquire},
	{"reply address", "reply", replyAddress}, // the last one: it judges the replies of all others
}

// Cases are the names of the cases, in their order.
func Cases() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// Run plays all cases against a participant that runs, or is about to.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	w, err := connect(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	defer w.close()
	report := &Report{Participant: cfg.Participant, Topic: cfg.Topic, Started: time.Now().UTC().Truncate(time.Second), Passed: true}
	if err := w.awake(ctx); err != nil {
		return nil, fmt.Errorf("conformance: %w", err)
	}
	for _, s := range scenarios {
		p := &played{wire: w, ctx: ctx, result: Result{Case: s.name, Rules: s.rules}}
		began := time.Now()
		s.play(p)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.result.TookMs = time.Since(began).Milliseconds()
		p.result.Passed = len(p.result.Faults) == 0
		report.add(p.result)
		if cfg.Progress != nil {
			cfg.Progress(p.result)
		}
	}
	report.TookMs = time.Since(report.Started).Milliseconds()
	if cfg.Effects == nil {
		report.Notes = append(report.Notes, "How often an effect stands was not looked up: nothing was said about how to count.")
	}
	if cfg.Restart == nil {
		report.Notes = append(report.Notes, "The participant was not killed: nothing was said about how to restart it.")
	}
	return report, nil
}

// played is one case under way.
type played struct {
	*wire
	ctx    context.Context
	told   sync.Mutex // guards result: a case may have goroutines
	result Result
}

func (p *played) fault(format string, args ...any) {
	p.told.Lock()
	defer p.told.Unlock()
	p.result.Faults = append(p.result.Faults, fmt.Sprintf(format, args...))
}

func (p *played) note(format string, args ...any) {
	p.told.Lock()
	defer p.told.Unlock()
	p.result.Notes = append(p.result.Notes, fmt.Sprintf(format, args...))
}

// skip says why a case, or the rest of it, is not played.
func (p *played) skip(format string, args ...any) { p.result.Skipped = fmt.Sprintf(format, args...) }

// standing wants the effect of a do to stand n times.
func (p *played) standing(o *operation, n int) {
	if p.cfg.Effects == nil {
		return
	}
	got, err := p.cfg.Effects(p.ctx, o.cmd.Key)
	switch {
	case err != nil:
		p.fault("the effects of key %s could not be counted: %v", o.cmd.Key, err)
	case got != n:
		p.fault("the effect of key %s stands %d times, want %d", o.cmd.Key, got, n)
	}
}

// want is an outcome, with a code where the contract names one.
func (p *played) want(what string, a answer, outcome, code string) bool {
	if a.is(outcome, code) {
		return true
	}
	p.fault("%s: got %s, want %s", what, a, strings.TrimSpace(outcome+" "+code))
	return false
}
