package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
)

func (s *server) bindings(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "bindings", "amends binding list"
	list, err := desk.Bindings(r.Context())
	return bindingsPage(*p, list), err
}

// bindingOf finds one.
func bindingOf(r *http.Request, desk Desk, p *page) (Binding, error) {
	key := r.PathValue("type") + "/" + r.PathValue("name")
	list, err := desk.Bindings(r.Context())
	if err != nil {
		return Binding{}, err
	}
	for _, b := range list {
		if b.Key == key {
			p.Title, p.Twin = "Binding "+key, "amends binding replay "+shell(key)+" --from … --reason … --dry-run"
			return b, nil
		}
	}
	return Binding{}, &Problem{Status: http.StatusNotFound, Code: "NOT_FOUND", Title: "No active version has this binding"}
}

func (s *server) binding(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	b, err := bindingOf(r, desk, p)
	return bindingPage(*p, b, BindingReplay{RequestID: newRequest()}, nil, nil), err
}

// holdBinding pauses a binding, lets it go on, or reads a part of its topic again.
func (s *server) holdBinding(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	b, err := bindingOf(r, desk, p)
	if err != nil {
		return nil, err
	}
	verb, reason := r.PostFormValue("verb"), strings.TrimSpace(r.PostFormValue("reason"))
	again := BindingReplay{Key: b.Key, From: r.PostFormValue("from"), To: r.PostFormValue("to"), Reason: reason, RequestID: r.PostFormValue("requestId"), DryRun: verb == "preview"}
	if again.RequestID == "" || len(again.RequestID) > 128 {
		again.RequestID = newRequest()
	}
	if reason == "" && verb != "preview" {
		return bindingPage(*p, b, again, nil, &Problem{Status: 400, Code: "REASON", Title: "Say why", Detail: "The reason is kept with what you do."}), nil
	}
	switch verb {
	case "pause", "resume":
		if err := desk.HoldBinding(r.Context(), b.Key, verb == "pause", reason); err != nil {
			return bindingPage(*p, b, again, nil, problemOf(err)), nil
		}
		said := map[string]string{"pause": "Paused.", "resume": "It goes on."}[verb]
		return nil, &goTo{bindingPath(b.Key), said}
	case "preview", "replay":
		if _, ok := again.Span(); !ok {
			return bindingPage(*p, b, again, nil, &Problem{Status: 400, Code: "BAD_REQUEST", Title: "Say from when", Detail: "A date and a time, and the second one, when it is given, after the first."}), nil
		}
		pre, err := desk.ReplayBinding(r.Context(), again)
		switch {
		case err != nil:
			return bindingPage(*p, b, again, nil, problemOf(err)), nil
		case verb == "preview":
			return bindingPage(*p, b, again, &pre, nil), nil
		}
		return nil, &goTo{bindingPath(b.Key), number(pre.Records) + " records were read again, " + number(pre.Written) + " starts and signals written."}
	}
	return nil, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "A binding can be paused, go on, and read a part again"}
}

// Span reads the times of a form; ok: there is a beginning, and an end is after it. A zero end is now.
func (r BindingReplay) Span() (span [2]time.Time, ok bool) {
	for i, text := range []string{r.From, r.To} {
		if text == "" && i == 1 {
			return span, true
		}
		t, err := time.Parse("2006-01-02T15:04", text)
		if err != nil {
			if t, err = time.Parse("2006-01-02T15:04:05", text); err != nil {
				return span, false
			}
		}
		span[i] = t
	}
	return span, span[1].After(span[0])
}

// bindingLook says how a binding does.
func bindingLook(b Binding) look {
	switch {
	case b.Paused:
		return look{"amber", "pause", "Paused"}
	case b.Problem != "":
		return look{"red", "alert", "Trouble"}
	case b.Lag < 0:
		return look{"grey", "ring", "Not known"}
	}
	return look{"green", "check", "Reads"}
}

func bindingDoes(b Binding) string {
	switch b.Action {
	case "start":
		return "starts " + b.Saga
	case "signal":
		return "signals " + b.Saga + ": " + b.Signal
	case "startOrSignal":
		return "starts " + b.Saga + ", or signals " + b.Signal
	case "correlate":
		return "brings events to who waits for them"
	}
	return b.Action
}

func bindingNote(b Binding) string {
	switch {
	case b.Paused:
		return b.By + ": " + b.Reason
	case b.Problem != "":
		return b.Problem
	}
	return ""
}

func bindingSays(b Binding) string {
	switch {
	case b.Paused:
		return "Nothing is read until somebody lets it go on."
	case b.Problem != "":
		return b.Problem
	case b.Lag < 0:
		return "How far it has read is not known yet."
	case b.Lag == 0:
		return "It has read all there is."
	}
	return "It reads; " + plural(int(b.Lag), "record is", "records are") + " before it."
}

func bindingHeld(b Binding) string {
	if b.Paused {
		return "Paused"
	}
	return "Let go on"
}
