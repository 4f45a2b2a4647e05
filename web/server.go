package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/amendsio/amends/sagas"
)

// MaxForm bounds the body of a form.
const MaxForm = 4 << 20

// server answers for the pages. It keeps nothing between two requests.
type server struct {
	source  Source
	options Options
}

// New makes the pages. Owns says which paths are theirs.
func New(source Source, options Options) http.Handler {
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &server{source: source, options: options}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", staticFiles())
	mux.HandleFunc("POST /preferences", s.preferences)
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("GET /{$}", s.page("overview", "Overview", s.overview))
	mux.HandleFunc("GET /instances", s.page("instances", "Instances", s.instances))
	mux.HandleFunc("GET /instances/{type}/{id...}", s.page("instances", "Instance", s.instance))
	mux.HandleFunc("GET /act/{type}/{id...}", s.page("instances", "Action", s.actForm))
	mux.HandleFunc("POST /act/{type}/{id...}", s.page("instances", "Action", s.act))
	mux.HandleFunc("GET /definitions", s.page("definitions", "Definitions", s.definitions))
	mux.HandleFunc("GET /definitions/{saga}", s.page("definitions", "Definition", s.definition))
	mux.HandleFunc("POST /definitions/{saga}", s.page("definitions", "Definition", s.activate))
	mux.HandleFunc("GET /attention", s.page("attention", "Attention", s.attention))
	mux.HandleFunc("GET /bulk", s.page("attention", "Bulk repair", s.bulkForm))
	mux.HandleFunc("POST /bulk", s.page("attention", "Bulk repair", s.bulk))
	mux.HandleFunc("GET /tasks", s.page("tasks", "Tasks", s.tasks))
	mux.HandleFunc("POST /tasks", s.page("tasks", "Tasks", s.decide))
	mux.HandleFunc("GET /dead-letters", s.page("deadletters", "Dead letters", s.deadLetters))
	mux.HandleFunc("GET /dead-letters/{id}", s.page("deadletters", "Dead letter", s.deadLetter))
	mux.HandleFunc("POST /dead-letters/{id}", s.page("deadletters", "Dead letter", s.settle))
	mux.HandleFunc("GET /batches", s.page("batches", "Batches", s.batches))
	mux.HandleFunc("GET /batches/{id}", s.page("batches", "Batch", s.batch))
	mux.HandleFunc("POST /batches/{id}", s.page("batches", "Batch", s.steer))
	mux.HandleFunc("GET /bindings", s.page("bindings", "Bindings", s.bindings))
	mux.HandleFunc("GET /bindings/{type}/{name}", s.page("bindings", "Binding", s.binding))
	mux.HandleFunc("POST /bindings/{type}/{name}", s.page("bindings", "Binding", s.holdBinding))
	mux.HandleFunc("GET /cluster", s.page("cluster", "Cluster", s.cluster))
	mux.HandleFunc("GET /audit", s.page("audit", "Audit", s.audit))
	mux.HandleFunc("/", s.page("", "Not found", func(*http.Request, Desk, *page) (templ.Component, error) {
		return nil, &Problem{Status: http.StatusNotFound, Code: "NOT_FOUND", Title: "There is no such page"}
	}))
	origin := http.NewCrossOriginProtection()
	return secure(origin.Handler(mux))
}

// Owns says whether the pages answer for a path, by its first segment.
func Owns(segment string) bool {
	switch segment {
	case "", "instances", "act", "definitions", "attention", "bulk", "tasks", "dead-letters", "batches", "bindings", "cluster", "audit", "static", "preferences", "sign-in", "live":
		return true
	}
	return false
}

// policy refuses everything that is not ours, inline scripts and styles included.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// goTo is the answer of a form that did what it was asked: go to a page that says so.
type goTo struct{ path, said string }

func (g *goTo) Error() string { return "go to " + g.path }

// page makes a handler of a function that loads what a page shows. The page is rendered whole before
// its first byte is sent, so that an error never leaves half of one.
func (s *server) page(nav, title string, load func(*http.Request, Desk, *page) (templ.Component, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := page{Title: title, Nav: nav, Options: s.options, Now: sagas.Time(s.options.Now().UnixMilli()), Path: r.URL.RequestURI()}
		p.preferences(r)
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
			p.Path = r.URL.Path
		}
		p.Flash = takeFlash(w, r)
		if r.Method == http.MethodPost && ActorOf(r) != "" {
			http.SetCookie(w, cookie(cookieActor, url.QueryEscape(ActorOf(r))))
		}
		desk, err := s.source.As(r)
		var c templ.Component
		if err == nil {
			p.Session = desk.Session()
			p.Counts, _ = desk.Counts(r.Context()) // without them the links have no numbers
			c, err = load(r, desk, &p)
		}
		var to *goTo
		if errors.As(err, &to) {
			setFlash(w, to.said)
			http.Redirect(w, r, to.path, http.StatusSeeOther)
			return
		}
		status := http.StatusOK
		if err != nil {
			problem := problemOf(err)
			status, c = problem.Status, errorPage(p, problem)
			if status == http.StatusUnauthorized {
				c = signInPage(p, problem)
			}
		}
		var b bytes.Buffer
		if err := c.Render(r.Context(), &b); err != nil {
			if r.Context().Err() == nil {
				slog.Default().Error("page cannot be rendered", "path", r.URL.Path, "err", err)
			}
			http.Error(w, "The page cannot be made.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes())
	}
}

// problemOf shows an error. What is no Problem may hold hosts and files, and is not shown.
func problemOf(err error) *Problem {
	var p *Problem
	switch {
	case errors.As(err, &p):
		if p.Status < 400 || p.Status > 599 {
			p.Status = http.StatusInternalServerError
		}
		return p
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Problem{Status: http.StatusServiceUnavailable, Code: "TIMEOUT", Title: "It took too long", Hint: "Ask again in a moment."}
	}
	return &Problem{Status: http.StatusInternalServerError, Code: "INTERNAL", Title: "Something went wrong", Detail: "The log of this process says what."}
}

// Cookies of the reader.
const (
	cookieTheme = "amends-theme"
	cookieTimes = "amends-times"
	cookieFlash = "amends-said"
	cookieActor = "amends-name"
	// CookieToken holds the token of somebody who has signed in.
	CookieToken = "amends-token"
)

func cookie(name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// maxActor bounds the name of a person.
const maxActor = 128

// ActorOf is the name that somebody gave on a form, now or earlier. It is worth what a name without a
// password is worth: where there is a login, that one counts.
func ActorOf(r *http.Request) string {
	name := ""
	if r.Method == http.MethodPost {
		name = strings.TrimSpace(r.PostFormValue("actor"))
	}
	if c, err := r.Cookie(cookieActor); err == nil && name == "" {
		name, _ = url.QueryUnescape(c.Value)
	}
	if len(name) > maxActor {
		return ""
	}
	return name
}

// signIn keeps a token; an empty one signs out. Whether it is good is seen on the next page.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	c := &http.Cookie{Name: CookieToken, Value: url.QueryEscape(strings.TrimSpace(r.PostFormValue("token"))), Path: "/", MaxAge: 12 * 3600, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}
	if c.Value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
	http.Redirect(w, r, ownPath(r.PostFormValue("back")), http.StatusSeeOther)
}

// TokenOf is the token that somebody has signed in with, or that the request brings along as one to the API
// does, "" = none.
func TokenOf(r *http.Request) string {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") && !strings.ContainsAny(token, "\r\n\x00 ") {
		return token
	}
	c, err := r.Cookie(CookieToken)
	if err != nil {
		return ""
	}
	token, err := url.QueryUnescape(c.Value)
	if err != nil || strings.ContainsAny(token, "\r\n\x00 ") {
		return ""
	}
	return token
}

func (p *page) preferences(r *http.Request) {
	if c, err := r.Cookie(cookieTheme); err == nil && (c.Value == "light" || c.Value == "dark") {
		p.Theme = c.Value
	}
	if c, err := r.Cookie(cookieTimes); err == nil {
		p.UTC = c.Value == "utc"
	}
}

func (s *server) preferences(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	keep := func(name, value string) { http.SetCookie(w, cookie(name, value)) }
	if v := r.PostFormValue("theme"); v == "light" || v == "dark" {
		keep(cookieTheme, v)
	}
	if v := r.PostFormValue("times"); v == "utc" || v == "relative" {
		keep(cookieTimes, v)
	}
	http.Redirect(w, r, ownPath(r.PostFormValue("back")), http.StatusSeeOther)
}

// ownPath is a path of this server, whatever was sent.
func ownPath(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(back, `\`) {
		return "/"
	}
	return u.RequestURI()
}

func setFlash(w http.ResponseWriter, text string) {
	if text != "" {
		http.SetCookie(w, &http.Cookie{Name: cookieFlash, Value: url.QueryEscape(text), Path: "/", MaxAge: 60, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
}

func takeFlash(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(cookieFlash)
	if err != nil {
		return ""
	}
	http.SetCookie(w, &http.Cookie{Name: cookieFlash, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	text, err := url.QueryUnescape(c.Value)
	if err != nil || len(text) > 300 {
		return ""
	}
	return text
}
