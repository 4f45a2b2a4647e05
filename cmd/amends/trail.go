package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// A watch is a convenience: it asks the logs no longer than trailPatience, and once they were slower than
// trailSlow it asks them no more.
const (
	trailPatience = 3 * time.Second
	trailSlow     = time.Second
)

// leg is one way of a step: do, or undo.
type leg struct {
	path string
	undo bool
}

// trace is what the logs know of a leg.
type trace struct {
	sent, ended   sagas.Time // the first command, and the answer that decided it
	over          bool
	command, took string // records: the last command, and the answer
}

// trail is what the logs say of the steps of an instance: how long each took, and the records. Zero
// knows nothing.
type trail struct {
	legs  map[leg]*trace
	slow  bool
	asked uint64 // seq of the view that it was asked for
}

// text is the time that a leg took, and its records, "" for what is not known.
func (t *trail) text(l leg) (took, places string) {
	if t == nil || t.legs[l] == nil {
		return "", ""
	}
	is := t.legs[l]
	if is.over && is.sent > 0 && is.ended >= is.sent {
		took = spanText(time.Duration(is.ended-is.sent) * time.Millisecond)
	}
	switch {
	case is.command != "" && is.took != "":
		places = is.command + " → " + is.took
	case is.command != "":
		places = is.command + " →"
	case is.took != "":
		places = "→ " + is.took
	}
	return took, places
}

// spanText is a duration for people, in few signs.
func spanText(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// look asks the logs again when the instance has moved on. What cannot be read is left out: the steps
// are known without it.
func (t *trail) look(ctx context.Context, api *apiClient, v sagas.View) {
	if t.slow || t.legs != nil && t.asked == v.Seq {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, trailPatience)
	defer cancel()
	began := time.Now()
	var facts []fact
	for range 5 {
		var h struct {
			Facts []fact `json:"facts"`
		}
		if err := api.once(ctx, instancePath(v.WorkflowID)+"/history", nil, &h); err != nil {
			t.slow = ctx.Err() != nil
			return
		}
		facts = h.Facts
		// The end of a transaction comes to the readers of a log a moment after it comes to the store.
		if n := len(facts); n > 0 && facts[n-1].Seq >= v.Seq || !pause(ctx, 20*time.Millisecond) {
			break
		}
	}
	var m struct {
		Messages []orchestrator.Message `json:"messages"`
	}
	if err := api.once(ctx, instancePath(v.WorkflowID)+"/messages", nil, &m); err != nil {
		m.Messages = nil
	}
	t.legs, t.asked = legsOf(facts, m.Messages, v.Run), v.Seq
	t.slow = time.Since(began) > trailSlow
}

// legsOf joins the facts and messages of one run.
func legsOf(facts []fact, messages []orchestrator.Message, run uint32) map[leg]*trace {
	legs := map[leg]*trace{}
	at := func(l leg) *trace {
		if legs[l] == nil {
			legs[l] = &trace{}
		}
		return legs[l]
	}
	replies := map[string]bool{}
	for _, m := range messages {
		if m.Kind == "reply" {
			replies[placeText(m.Place)] = true
		}
	}
	from := sagas.Time(0)
	for _, f := range facts {
		if f.Run != run {
			continue
		}
		if from == 0 {
			from = f.At
		}
		l := leg{path: f.Path}
		switch sagas.Kind(f.Kind) {
		case sagas.KindStepSent, sagas.KindEntered, sagas.KindUndoSent:
			l.undo = sagas.Kind(f.Kind) == sagas.KindUndoSent
			// What was over begins again: another round, or a repair.
			if is := at(l); is.sent == 0 || is.over {
				*is = trace{sent: f.At}
			}
		case sagas.KindStepDone, sagas.KindStepRejected, sagas.KindStepFailed, sagas.KindStepUnknown, sagas.KindResolved, sagas.KindStepUndone:
			l.undo = sagas.Kind(f.Kind) == sagas.KindStepUndone
			is := at(l)
			is.ended, is.over = f.At, true
			if f.Source != nil && (replies[f.Source.String()] || len(messages) == 0 && strings.HasSuffix(f.Source.Topic, ".saga.replies")) {
				is.took = f.Source.String()
			}
		}
	}
	for _, m := range messages {
		if m.Kind != "command" || m.Op != sagas.OpDo.String() && m.Op != sagas.OpUndo.String() {
			continue
		}
		if is := legs[leg{m.Path, m.Op == sagas.OpUndo.String()}]; is != nil {
			is.command = placeText(m.Place)
		}
	}
	return legs
}

func placeText(p orchestrator.Place) string { return place(p).String() }
