package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

func (d *desk) Instance(ctx context.Context, workflowID string) (web.Instance, error) {
	var in web.Instance
	path := instanceAPI(workflowID)
	answered := http.Header{}
	if err := d.request(ctx, http.MethodGet, path, nil, nil, &withHeader{out: &in.View, header: &answered}); err != nil {
		return in, err
	}
	in.Owner = d.owner(workflowID, answered)
	var asked sync.WaitGroup
	var explained explainJSON
	var explainErr error
	if in.View.Version != 0 {
		asked.Go(func() {
			in.Definition = d.pinned(ctx, in.View)
		})
	}
	asked.Go(func() { in.Facts, in.FactsFrom = d.history(ctx, path) })
	asked.Go(func() { in.Messages = d.messages(ctx, path) })
	if active(in.View) { // an ended one has nothing to explain
		asked.Go(func() { explainErr = d.get(ctx, path+"/explain", nil, &explained) })
	}
	asked.Wait()
	switch {
	case !active(in.View):
	case explainErr == nil && explained.Sentence != "":
		in.Explain = explanation(explained)
	default:
		in.Explain = explainView(in.View)
	}
	in.Offers = offers(in.View)
	for _, s := range in.View.Steps {
		if s.Child != "" {
			status := "running"
			switch s.State {
			case "DONE":
				status = "completed"
			case "REFUSED":
				status = "compensated"
			}
			in.Children = append(in.Children, web.Related{WorkflowID: s.Child, Status: status, Path: s.Path, How: "started by this one"})
		}
	}
	return in, nil
}

func active(v sagas.View) bool {
	return v.Phase == "running" || v.Phase == "finishing" || v.Phase == "compensating" || v.Phase == "parked" || len(v.Attention) > 0
}

func (d *desk) history(ctx context.Context, path string) ([]web.Fact, uint64) {
	var h struct {
		Facts []factJSON `json:"facts"`
	}
	if d.get(ctx, path+"/history", nil, &h) != nil || len(h.Facts) == 0 {
		return nil, 1
	}
	out := make([]web.Fact, 0, len(h.Facts))
	for _, f := range h.Facts {
		w := web.Fact{Seq: f.Seq, Rev: f.Rev, At: f.At, Kind: f.Kind, Path: f.Path, Phase: f.Phase, Attention: f.Attention, Cause: f.Cause, Source: positionOf(f.Source)}
		for k, v := range f.Detail {
			if v != "" {
				w.Detail = append(w.Detail, web.NV{Name: k, Value: v})
			}
		}
		slices.SortFunc(w.Detail, func(a, b web.NV) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, w)
	}
	return out, out[0].Seq
}

func (d *desk) messages(ctx context.Context, path string) []web.Message {
	var l struct {
		Messages []messageJSON `json:"messages"`
	}
	if d.get(ctx, path+"/messages", nil, &l) != nil {
		return nil
	}
	var out []web.Message
	for _, m := range l.Messages {
		w := web.Message{Dir: "in", What: m.Kind, Name: m.Name, Path: m.Path, Outcome: m.Outcome, At: m.At, Position: positionOf(&m.Place), Body: m.Value, Bytes: m.Size}
		if m.Kind == "command" {
			w.Dir, w.What = "out", cmp.Or(m.Op, "do")
		}
		if len(m.Value) == 0 && m.Bytes != "" {
			w.Body, _ = json.Marshal(m.Bytes) // a string always has JSON
		}
		for _, h := range m.Headers {
			switch h.Key {
			case "saga-token":
				continue
			case "saga-attempt":
				n, _ := strconv.ParseUint(h.Value, 10, 32)
				w.Attempt = uint32(n)
			case "saga-code":
				w.Code = h.Value
			case "saga-key":
				w.Key = h.Value
			case "saga-cmd":
				w.Name = cmp.Or(w.Name, h.Value)
			}
			w.Headers = append(w.Headers, web.NV{Name: h.Key, Value: h.Value})
		}
		out = append(out, w)
	}
	return out
}

// owner is the process that answered for the instance, and the partition that it is in.
func (d *desk) owner(workflowID string, answered http.Header) web.Place {
	p := web.Place{Partition: -1, Node: cmp.Or(answered.Get("Saga-Node"), answered.Get("Amends-Node"))}
	if d.s.opts.Partition != nil {
		p.Partition = d.s.opts.Partition(workflowID)
	}
	return p
}

// pinned is the definition of an instance, nil when it is not known. A published version never changes, so it is read
// once.
func (d *desk) pinned(ctx context.Context, v sagas.View) *sagas.Definition {
	d.s.mu.Lock()
	def := d.s.definitions[v.Digest]
	d.s.mu.Unlock()
	if def != nil && v.Digest != "" {
		return def
	}
	f, def, err := d.definition(ctx, v.Type, v.Version)
	if err != nil || def == nil {
		return nil
	}
	if v.Digest != "" && f.Digest == v.Digest {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		if len(d.s.definitions) >= maxDefinitions {
			clear(d.s.definitions)
		}
		d.s.definitions[v.Digest] = def
	}
	return def
}

func explanation(e explainJSON) web.Explanation {
	out := web.Explanation{Sentence: e.Sentence, Reason: cmp.Or(e.Cause, e.Reason), Timer: e.Next, TimerFor: "The engine looks at it by itself"}
	add := func(name, value string) {
		if value != "" {
			out.Facts = append(out.Facts, web.NV{Name: name, Value: value})
		}
	}
	if c := e.Command; c != nil && c.Topic != "" {
		at := c.Topic
		if c.Partition >= 0 {
			at += "[" + strconv.Itoa(int(c.Partition)) + "]"
		}
		if c.Offset >= 0 {
			at += "@" + strconv.FormatInt(c.Offset, 10)
		}
		add("command", at)
		for _, g := range c.Groups {
			text := g.State
			if g.Members >= 0 {
				text += ", " + strconv.Itoa(g.Members) + " members"
			}
			if g.Lag >= 0 {
				text += ", lag " + strconv.FormatInt(g.Lag, 10)
			}
			if g.Position >= 0 {
				text += ", has read to " + strconv.FormatInt(g.Position, 10)
			}
			add("group "+g.Name, text)
		}
	}
	add("held by", e.HeldBy)
	for _, a := range e.Also {
		add("also "+a.Path, a.Sentence)
	}
	for _, a := range e.Actions {
		advice := web.Advice{Text: a.Do, Path: a.Path}
		if _, known := actionWords[a.Verb]; known {
			advice.Action = a.Verb
		}
		out.Next = append(out.Next, advice)
	}
	return out
}

// explainView says what the state alone knows, when nothing more can be asked.
func explainView(v sagas.View) web.Explanation {
	e := web.Explanation{Timer: v.Due, TimerFor: "The engine looks at it by itself"}
	switch {
	case v.Suspended:
		e.Sentence, e.Reason = "It is suspended: nothing is sent until somebody resumes it.", "SUSPENDED"
		e.Next = []web.Advice{{Text: "Resume", Action: "resume"}}
		return e
	case len(v.Attention) > 0:
		a := v.Attention[0]
		e.Reason = a.Reason
		e.Sentence = "It waits for a person: " + strings.TrimSuffix(cmp.Or(web.ReasonText(a.Reason), a.Reason), ".") + "."
		if a.Text != "" {
			e.Facts = append(e.Facts, web.NV{Name: cmp.Or(a.Path, "instance"), Value: a.Text})
		}
		for _, h := range sagas.Reason(a.Reason).Helps() {
			e.Next = append(e.Next, web.Advice{Text: actionWords[string(h)].title, Action: string(h), Path: a.Path})
		}
		return e
	case len(v.Waiting) > 0:
		w := v.Waiting[0]
		e.Sentence, e.Reason = w.Topic+" takes nothing now, so "+cmp.Or(w.Path, "the result")+" is not sent: "+w.Reason+".", "DESTINATION"
		return e
	case v.Phase == "parked":
		e.Sentence = "It waits for its definition to be published."
		return e
	}
	for _, s := range v.Steps {
		switch {
		case s.State == "PENDING":
			e.Sentence = "It waits for " + s.Participant + " to answer " + s.Command + ", attempt " + strconv.Itoa(int(s.Attempts)) + "."
		case s.State == "BACKOFF":
			e.Sentence = s.Path + " failed for the moment (" + cmp.Or(s.Code, "no answer") + ") and is tried again."
		case s.State == "INQUIRING":
			e.Sentence = "It asks " + s.Participant + " what became of " + s.Path + "."
		case strings.HasPrefix(s.Undo, "U_"):
			e.Sentence = "It waits for the undo of " + s.Path + ", attempt " + strconv.Itoa(int(s.UndoAttempts)) + "."
		case s.State == "OPEN" && s.Node == "approve":
			e.Sentence = "It waits for people with the role " + strings.Join(s.Roles, " or ") + " to decide " + s.Path + "."
			e.Next = []web.Advice{{Text: "Decide it on the page Tasks."}}
		case s.State == "OPEN" && (s.Node == "await" || s.Node == "sleep"):
			e.Sentence = "It waits at " + s.Path + " (" + s.Node + ")."
		default:
			continue
		}
		e.Timer = cmp.Or(s.Until, s.Due, v.Due)
		return e
	}
	return e
}

// wording of an action: its title, what it does, and whether it may do harm.
type wording struct {
	title, text string
	risky       bool
	args        []web.Arg
}

var actionWords = map[string]wording{
	"retry":         {title: "Retry", text: "Send it again under the same key; its attempts begin anew."},
	"retry-new-key": {title: "Retry with a new key", text: "Send it as something new. If the first one took effect, it happens twice.", risky: true},
	"resolve": {title: "Resolve", text: "You know what became of it: say so, and the run goes on from there.", args: []web.Arg{
		{Name: "effect", Label: "Did it take effect?", Choice: []string{"done", "none"}, Default: "done", Must: true}, {Name: "output", Label: "Its output, a JSON object", JSON: true, Default: "{}"}}},
	"waive":      {title: "Waive the undo", text: "Give up taking it back; its effect becomes residue.", risky: true},
	"skip":       {title: "Skip", text: "Go on as if it were done.", args: []web.Arg{{Name: "output", Label: "The output to go on with, a JSON object", JSON: true, Default: "{}"}}},
	"compensate": {title: "Compensate", text: "Turn round and undo what is done, last first."},
	"suspend":    {title: "Suspend", text: "Send nothing until it is resumed; answers are taken."},
	"resume":     {title: "Resume", text: "Go on where it was suspended."},
	"extend":     {title: "Extend the deadline", text: "Give it more time.", args: []web.Arg{{Name: "hours", Label: "By how many hours", Default: "24", Must: true}}},
	"close":      {title: "Close", text: "End the run here. What may have effects becomes residue.", risky: true},
}

func offerOf(action, path string) web.Offer {
	w := actionWords[action]
	return web.Offer{Action: action, Path: path, Title: w.title, Text: w.text, Risky: w.risky, Args: w.args}
}

// offers are the actions that the state may allow, what helps first. The preview says what is refused.
func offers(v sagas.View) []web.Offer {
	var out []web.Offer
	add := func(action, path string) {
		if _, known := actionWords[action]; known && !slices.ContainsFunc(out, func(o web.Offer) bool { return o.Action == action && o.Path == path }) {
			out = append(out, offerOf(action, path))
		}
	}
	for _, a := range v.Attention {
		sent := slices.ContainsFunc(v.Steps, func(s sagas.StepView) bool {
			return s.Path == a.Path && (s.State == "PENDING" || s.Undo == "U_PENDING")
		})
		for _, h := range sagas.Reason(a.Reason).Helps() {
			// While a command is on its way only more time helps: another one with its key would say nothing new, and
			// the machine refuses the rest until there is an answer or its time has passed.
			if !sent || h == sagas.AdminExtend {
				add(string(h), a.Path)
			}
		}
	}
	if v.Phase != "running" && v.Phase != "finishing" && v.Phase != "compensating" {
		return out
	}
	for _, s := range v.Steps {
		if s.State == "BACKOFF" || s.Undo == "U_BACKOFF" {
			add("retry", s.Path)
		}
	}
	if v.Phase == "running" {
		add("compensate", "")
	}
	if v.Suspended {
		add("resume", "")
	} else {
		add("suspend", "")
	}
	if v.Deadline != 0 {
		add("extend", "")
	}
	add("close", "")
	return out
}
