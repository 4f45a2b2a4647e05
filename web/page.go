package web

import (
	"net/url"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// page is what every page knows.
type page struct {
	Title   string
	Nav     string // the link that is marked
	Options Options
	Session Session
	Counts  Counts
	Now     sagas.Time
	Theme   string // light, dark or "" = what the reader prefers
	UTC     bool   // times as UTC, not relative
	Path    string // of this page, with its query
	Twin    string // the command line that shows the same
	Live    string // topic of Watch, "" = the page stands still
	Flash   string // what was just done
}

// Options of the pages.
type Options struct {
	Namespace   string
	Environment string // a name for the banner, "" = none
	Colour      string // of the banner: red, amber, green, blue or violet; "" = grey
	ReadOnly    bool   // no page changes anything, whatever the role
	Node        string // who answers
	Version     string
	Now         func() time.Time // nil = time.Now
}

func (p page) htmlClass() string {
	if p.UTC {
		return "times-utc"
	}
	return "times-rel"
}

func (p page) banner() string {
	switch p.Options.Colour {
	case "red", "amber", "green", "blue", "violet":
		return "env env-" + p.Options.Colour
	}
	return "env env-grey"
}

// may says whether the page offers a change.
func (p page) may(what string) bool { return !p.Options.ReadOnly && p.Session.Can(what) }

// whyNot says why the page does not offer a change; "" = it does.
func (p page) whyNot(what string) string {
	switch {
	case p.Options.ReadOnly:
		return "These pages are read-only."
	case p.Session.Can(what):
		return ""
	case p.Session.Role != "":
		return "The role " + p.Session.Role + " may not do this."
	default:
		return "This process does not take changes. Start it with --api-actions."
	}
}

type navLink struct {
	ID, Href, Title, Icon, Key string
	Count                      int
	Urgent                     bool
}

func (p page) nav() []navLink {
	return []navLink{
		{"overview", "/", "Overview", "grid", "o", 0, false},
		{"instances", "/instances", "Instances", "list", "i", 0, false},
		{"definitions", "/definitions", "Definitions", "flow", "d", 0, false},
		{"attention", "/attention", "Attention", "alert", "a", p.Counts.Attention, true},
		{"tasks", "/tasks", "Tasks", "person", "t", p.Counts.Tasks, false},
		{"deadletters", "/dead-letters", "Dead letters", "inbox", "l", p.Counts.DeadLetters, false},
		{"batches", "/batches", "Batches", "stack", "b", 0, false},
		{"bindings", "/bindings", "Bindings", "link", "n", 0, false},
		{"cluster", "/cluster", "Cluster", "nodes", "c", 0, false},
		{"audit", "/audit", "Audit", "book", "u", 0, false},
	}
}

// InstancePath is the address of the page of an instance.
func InstancePath(workflowID string) string { return instancePath(workflowID) }

// instancePath is the address of an instance.
func instancePath(workflowID string) string {
	typ, id := sagas.SplitWorkflowID(workflowID)
	return "/instances/" + url.PathEscape(typ) + "/" + escapeID(id)
}

// escapeID keeps the slashes that an id may have.
func escapeID(id string) string {
	parts := strings.Split(id, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// with is the address of a page with some of its query changed; "" takes a parameter away.
func with(path string, kv ...string) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	q := u.Query()
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] == "" {
			q.Del(kv[i])
		} else {
			q.Set(kv[i], kv[i+1])
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}
