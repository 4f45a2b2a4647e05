package web

import (
	"crypto/rand"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"
)

func (s *server) instances(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	v := r.URL.Query()
	q := InstanceQuery{Query: strings.TrimSpace(v.Get("q")), Status: v.Get("status"), Saga: v.Get("saga"), Cursor: v.Get("cursor"), Limit: 50}
	// A workflow ID in the search is not searched: it is gone to.
	if typ, id, ok := strings.Cut(q.Query, "/"); ok && typ != "" && id != "" && !strings.ContainsAny(q.Query, " =<>\"'") {
		return nil, &goTo{path: instancePath(q.Query)}
	}
	p.Live = "all"
	p.Twin = "amends ls"
	for _, a := range [][2]string{{"--status", q.Status}, {"--type", q.Saga}, {"--query", q.Query}} {
		if a[1] != "" {
			p.Twin += " " + a[0] + " " + shell(a[1])
		}
	}
	list, err := desk.Instances(r.Context(), q)
	if err != nil {
		return instancesPage(*p, q, list, problemOf(err)), nil
	}
	return instancesPage(*p, q, list, nil), nil
}

func workflowID(r *http.Request) string { return r.PathValue("type") + "/" + r.PathValue("id") }

func (s *server) instance(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	in, err := desk.Instance(r.Context(), workflowID(r))
	if err != nil {
		p.Title = workflowID(r)
		return nil, err
	}
	p.Title, p.Live = in.View.ID, "instance/"+in.View.WorkflowID
	p.Twin = "amends get " + shell(in.View.WorkflowID)
	tab := r.URL.Query().Get("tab")
	switch tab {
	case "history":
		p.Twin = "amends history " + shell(in.View.WorkflowID)
	case "messages", "related":
	case "state":
		p.Twin += " -o json"
	default:
		tab = ""
	}
	return instancePage(*p, tab, in), nil
}

// offer finds what an action is called and asks for.
func offer(in Instance, action, path string) (Offer, error) {
	for _, o := range in.Offers {
		if o.Action == action && o.Path == path {
			return o, nil
		}
	}
	return Offer{}, &Problem{Status: http.StatusConflict, Code: "NOT_OFFERED", Title: "This action does not fit any more",
		Detail: "The instance has gone on since, or has no such step.", Hint: "Look at it anew."}
}

func actionOf(r *http.Request, in Instance, get func(string) string) (Action, Offer, error) {
	a := Action{WorkflowID: in.View.WorkflowID, Action: get("action"), Path: get("path"), Args: map[string]string{}, Reason: strings.TrimSpace(get("reason")), RequestID: get("requestId")}
	o, err := offer(in, a.Action, a.Path)
	if err != nil {
		return a, o, err
	}
	for _, g := range o.Args {
		if v := get("arg." + g.Name); v != "" {
			a.Args[g.Name] = v
		} else if g.Default != "" {
			a.Args[g.Name] = g.Default
		}
	}
	if v := get("expectRev"); v != "" {
		if a.ExpectRev, err = strconv.ParseUint(v, 10, 64); err != nil {
			return a, o, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "The revision is no number"}
		}
	}
	if a.RequestID == "" || len(a.RequestID) > 128 {
		a.RequestID = "web-" + rand.Text()
	}
	return a, o, nil
}

func (s *server) actForm(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	in, err := desk.Instance(r.Context(), workflowID(r))
	if err != nil {
		return nil, err
	}
	return s.showAct(r, desk, p, in, r.URL.Query().Get, nil)
}

func (s *server) showAct(r *http.Request, desk Desk, p *page, in Instance, get func(string) string, failed *Problem) (templ.Component, error) {
	a, o, err := actionOf(r, in, get)
	if err != nil {
		return nil, err
	}
	p.Title = o.Title + " " + in.View.ID
	p.Twin = twinOf(a) + " --dry-run"
	pre, err := desk.Preview(r.Context(), a)
	if failed == nil && err != nil {
		failed = problemOf(err)
	}
	return actPage(*p, in, o, a, pre, failed), nil
}

// act does it. What is refused is shown on the form, with all that was typed.
func (s *server) act(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	in, err := desk.Instance(r.Context(), workflowID(r))
	if err != nil {
		return nil, err
	}
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	a, o, err := actionOf(r, in, r.PostFormValue)
	if err != nil {
		return nil, err
	}
	if a.Reason == "" {
		return s.showAct(r, desk, p, in, r.PostFormValue, &Problem{Status: http.StatusBadRequest, Code: "REASON", Title: "Say why", Detail: "The reason is kept in the audit."})
	}
	if err := desk.Act(r.Context(), a); err != nil {
		return s.showAct(r, desk, p, in, r.PostFormValue, problemOf(err))
	}
	return nil, &goTo{instancePath(in.View.WorkflowID), o.Title + ": published. The page shows what becomes of it."}
}

// mayPost refuses a change that the page would not have offered. The Source checks the role again.
func (s *server) mayPost(r *http.Request, p *page, what string) error {
	if err := r.ParseForm(); err != nil {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "TOO_LARGE", Title: "The form is too large or cannot be read"}
	}
	if why := p.whyNot(what); why != "" {
		return &Problem{Status: http.StatusForbidden, Code: "FORBIDDEN", Title: "This is not allowed here", Detail: why}
	}
	return nil
}

// twinOf is the command that does an action; why, a person fills in.
func twinOf(a Action) string {
	t := "amends " + a.Action + " " + shell(a.WorkflowID)
	if a.Path != "" {
		t += " --path " + shell(a.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Args)) {
		t += " --" + name + " " + shell(a.Args[name])
	}
	return t + " --reason …"
}
