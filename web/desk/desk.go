package desk

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

// Options of a Source.
type Options struct {
	// Actions says that the API takes changes.
	Actions bool
	// Login says that the API wants a token: the page asks for one.
	Login bool
	// Partition is that of a workflow ID. nil: not shown.
	Partition func(workflowID string) int32
	// Draining says that the process is about to stop: open streams end, and their readers come back
	// to another process. nil: never.
	Draining func() bool
	// Clock tells the time. Default: time.Now.
	Clock func() time.Time
}

// Source asks the API of this process.
type Source struct {
	api  http.Handler
	opts Options

	mu    sync.Mutex
	known map[string]known // by token

	definitions map[string]*sagas.Definition // by digest
}

// known is what was counted for somebody.
type known struct {
	counts  web.Counts
	may     []string
	until   time.Time
	mayTill time.Time
}

const (
	countsFor = 3 * time.Second
	mayFor    = time.Minute
	maxKnown  = 1000

	maxDefinitions = 100 // that are kept as they were read
)

// New makes the Source. api is the handler of the HTTP API.
func New(api http.Handler, o Options) *Source {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Source{api: api, opts: o, known: map[string]known{}, definitions: map[string]*sagas.Definition{}}
}

// desk is what one request sees.
type desk struct {
	s      *Source
	host   string
	remote string
	token  string
	actor  string
	may    []string
}

// As finds out who asks. Without login it is whoever the form, or an earlier one, names.
func (s *Source) As(r *http.Request) (web.Desk, error) {
	d := &desk{s: s, host: r.Host, remote: r.RemoteAddr}
	if d.host == "" {
		d.host = "localhost"
	}
	if !s.opts.Login {
		if d.actor = web.ActorOf(r); s.opts.Actions {
			d.may = []string{web.MayAct, web.MayActivate}
		}
		return d, nil
	}
	if d.token = web.TokenOf(r); d.token == "" {
		return nil, &web.Problem{Status: http.StatusUnauthorized, Code: "SIGN_IN", Title: "Sign in", Detail: "This process wants to know who looks.", Hint: "Paste the token that you use on the command line."}
	}
	err := d.findRole(r.Context())
	return d, err
}

// findRole asks the API what the token may do, by requests that it refuses for their form: the role is
// looked at first.
func (d *desk) findRole(ctx context.Context) error {
	now := d.s.opts.Clock()
	if k := d.s.recall(d.token); now.Before(k.mayTill) {
		d.may = k.may
		return nil
	}
	if err := d.get(ctx, "/api/v1/definitions", nil, nil); err != nil {
		return err
	}
	for what, path := range map[string]string{web.MayAct: "/api/v1/tasks/claim", web.MayActivate: "/api/v1/definitions/none/activate"} {
		err := d.request(ctx, http.MethodPost, path, nil, map[string]any{}, nil)
		if p, ok := err.(*web.Problem); d.s.opts.Actions && ok && p.Status != http.StatusForbidden && p.Status != http.StatusUnauthorized {
			d.may = append(d.may, what)
		}
	}
	d.s.remember(d.token, func(k *known) { k.may, k.mayTill = d.may, now.Add(mayFor) })
	return nil
}

func (s *Source) recall(token string) known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[token]
}

func (s *Source) remember(token string, set func(*known)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	k := s.known[token]
	set(&k)
	s.known[token] = k
}

// Session says who looks.
func (d *desk) Session() web.Session {
	s := web.Session{Actor: d.actor, May: d.may}
	if d.s.opts.Login {
		s.Actor, s.Role = "signed in", "viewer"
		for _, m := range d.may {
			switch {
			case m == web.MayActivate && s.Role == "operator", m == web.MayAct && s.Role == "deployer":
				s.Role = "admin"
			case m == web.MayAct:
				s.Role = "operator"
			case m == web.MayActivate:
				s.Role = "deployer"
			}
		}
	}
	return s
}

// now is the clock in ms.
func (d *desk) now() int64 { return d.s.opts.Clock().UnixMilli() }
