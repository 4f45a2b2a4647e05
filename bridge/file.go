package bridge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Limits of a file.
const (
	MaxDestinations = 64
	MaxCommands     = 256
	MaxRules        = 32
	MaxNamed        = 64 // headers, parameters, query values of one operation

	maxResponseBytes = 16 << 20
)

// Bridge is what a file declares. It is immutable; any number of processes may run it.
type Bridge struct {
	Name      string        // of the participant
	Topic     string        // of its commands
	Retention time.Duration // of the rows of the inbox

	destinations []*destination
	commands     map[string]*command
}

// destination is a service and how it may be used.
type destination struct {
	name        string
	base        *url.URL
	timeout     time.Duration // of one try
	concurrency int
	pending     int // calls that are under way or wait, in one process
	rate, burst int // calls per second; 0 = no limit
	failures    int // in a row, that open the breaker; 0 = never
	pause       time.Duration
	retries     int
	response    int64  // bytes of a body that are read
	keyHeader   string // name of the idempotency key
	headers     []namedSecret
	tls         tlsFiles
}

// tlsFiles are paths of PEM files, "" for none.
type tlsFiles struct{ ca, cert, key, serverName string }

// command is what the file says of one command.
type command struct {
	name              string
	keyWindow, settle time.Duration
	ops               map[protocol.Op]*operation
}

// operation is one call: a do, an undo or an inquiry.
type operation struct {
	op      protocol.Op
	dest    *destination
	method  string
	path    []segment
	query   []named
	headers []named
	body    *tree // nil: the payload, or nothing when bare
	bare    bool
	timeout time.Duration // 0: the destination's
	rules   []rule
	output  *tree // nil: the body, when it is an object
}

// segment is a piece of a path: text as it stands in the URL, or a parameter.
type segment struct {
	text  string
	param *sagas.RecordExpr
}

// named is a header or a value of the query.
type named struct {
	name string
	text string
	expr *sagas.RecordExpr // nil: text
}

// What expressions see, besides input (the payload) and key (the saga-key of this command).
var (
	requestNames  = []string{"command", "output"}
	responseNames = append(slices.Clone(requestNames), "status", "headers", "body", "text")

	requestLanguage  = mustLanguage(requestNames)
	responseLanguage = mustLanguage(responseNames)
)

func mustLanguage(names []string) *sagas.RecordLanguage {
	l, err := sagas.NewRecordLanguage(names...)
	if err != nil {
		panic("bridge: " + err.Error()) // constant input: cannot fail in a release
	}
	return l
}

// Parse reads a file. file is only used in the findings. The error is sagas.Findings and lists
// everything that is wrong, with its place. No secret is read; Run does.
func Parse(file string, src []byte) (*Bridge, error) {
	doc, root := sagas.ReadDocument(file, src)
	p := parser{b: &Bridge{commands: map[string]*command{}}}
	p.root(root)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return p.b, nil
}

// Commands are the names of the commands, sorted.
func (b *Bridge) Commands() []string {
	var names []string
	for name := range b.commands {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// operation is what the file says of a command; nil when it says nothing.
func (b *Bridge) operation(cmd protocol.Command) *operation {
	if c := b.commands[cmd.Name]; c != nil {
		return c.ops[cmd.Op]
	}
	return nil
}

// Describe says what the file declares, a line each.
func (b *Bridge) Describe() string {
	var s strings.Builder
	s.WriteString("bridge " + b.Name + " reads " + b.Topic + "\n")
	for _, name := range b.Commands() {
		c := b.commands[name]
		for _, op := range []protocol.Op{protocol.OpDo, protocol.OpUndo, protocol.OpInquire} {
			o := c.ops[op]
			if o == nil {
				continue
			}
			s.WriteString("  " + name + " " + string(op) + ": " + o.method + " " + o.dest.base.String())
			for _, seg := range o.path {
				if seg.param != nil {
					s.WriteString("{}")
				} else {
					s.WriteString(seg.text)
				}
			}
			s.WriteString("\n")
		}
	}
	return s.String()
}

type parser struct{ b *Bridge }

func (p *parser) root(v sagas.DocValue) {
	if !v.Fields("a bridge file", "bridge", "topic", "retention", "destinations", "commands") {
		return
	}
	name := v.Required("bridge")
	if p.b.Name = name.Text("bridge"); p.b.Name != "" {
		if err := protocol.ValidateParticipant(p.b.Name); err != nil {
			name.Fault("SG03", "", "%v", err)
		}
	}
	p.b.Topic = protocol.CommandTopic(p.b.Name)
	if topic := v.Child("topic"); topic.Given() {
		p.b.Topic = topic.Text("topic")
		if len(p.b.Topic) == 0 || len(p.b.Topic) > protocol.MaxTopic {
			topic.Fault("SG03", "", "a topic has a name of at most %d bytes", protocol.MaxTopic)
		}
	}
	p.b.Retention = v.Child("retention").Duration("retention", participant.DefaultRetention, time.Hour, 10*365*24*time.Hour)
	p.destinations(v.Required("destinations"))
	p.commands(v.Required("commands"))
}

func (p *parser) destinations(v sagas.DocValue) {
	for _, name := range p.names(v, "destinations", MaxDestinations) {
		d := v.Child(name)
		if d.Fields("a destination", "url", "timeout", "concurrency", "pending", "rate", "burst", "breaker", "retries", "responseBytes",
			"idempotencyHeader", "headers", "tls") {
			p.b.destinations = append(p.b.destinations, p.destination(name, d))
		}
	}
}

// names are the keys of a map that must have some.
func (p *parser) names(v sagas.DocValue, what string, most int) []string {
	switch {
	case !v.Given():
		return nil
	case !v.IsMap() || len(v.Keys()) == 0:
		v.Fault("SG01", "", "%s must be a map with at least one entry", what)
		return nil
	case len(v.Keys()) > most:
		v.Fault("SG01", "", "%s has %d entries, at most %d", what, len(v.Keys()), most)
		return nil
	}
	return v.Keys()
}

func (p *parser) destination(name string, v sagas.DocValue) *destination {
	d := &destination{name: name}
	d.base = p.base(v.Required("url"))
	d.timeout = v.Child("timeout").Duration("timeout", 10*time.Second, 10*time.Millisecond, time.Hour)
	d.concurrency = count(v.Child("concurrency"), "concurrency", 64, 1, 4096)
	d.pending = count(v.Child("pending"), "pending", 4096, 1, 1<<16)
	d.rate = count(v.Child("rate"), "rate", 0, 1, 1_000_000)
	d.burst = count(v.Child("burst"), "burst", max(1, d.rate/10), 1, 1_000_000)
	d.retries = count(v.Child("retries"), "retries", 1, 0, 10)
	d.response = int64(count(v.Child("responseBytes"), "responseBytes", participant.MaxOutput, 1, maxResponseBytes))
	d.failures, d.pause = 5, 5*time.Second
	if b := v.Child("breaker"); b.Given() && b.Fields("breaker", "failures", "pause") {
		d.failures = count(b.Child("failures"), "failures", 5, 0, 1000)
		d.pause = b.Child("pause").Duration("pause", 5*time.Second, 10*time.Millisecond, time.Hour)
	}
	d.keyHeader = "Idempotency-Key"
	if h := v.Child("idempotencyHeader"); h.Given() {
		if d.keyHeader = h.Text("idempotencyHeader"); !headerName(d.keyHeader) {
			h.Fault("SG03", "", "%q is not the name of a header", d.keyHeader)
		}
	}
	if h := v.Child("headers"); h.Given() {
		for _, key := range p.names(h, "headers", MaxNamed) {
			p.headerOf(h.Child(key), key)
			d.headers = append(d.headers, namedSecret{key, p.secret(h.Child(key), key)})
		}
	}
	if t := v.Child("tls"); t.Given() && t.Fields("tls", "ca", "cert", "key", "serverName") {
		d.tls = tlsFiles{t.Child("ca").Text("ca"), t.Child("cert").Text("cert"), t.Child("key").Text("key"), t.Child("serverName").Text("serverName")}
		if (d.tls.cert == "") != (d.tls.key == "") {
			t.Fault("SG01", "", "cert and key go together")
		}
		if d.base != nil && d.base.Scheme != "https" {
			t.Fault("SG01", "", "the URL is not https")
		}
	}
	return d
}

// count is a number with a default that may lie outside of its range.
func count(v sagas.DocValue, what string, def, low, high int) int {
	if !v.Given() {
		return def
	}
	return int(v.Count(what, int64(low), int64(high)))
}

// base reads the URL of a destination: scheme, host and the beginning of the path.
func (p *parser) base(v sagas.DocValue) *url.URL {
	text := v.Text("url")
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		v.Fault("SG01", "For example https://psp.example/v1.", "url must be an http or https address with a host")
		return nil
	case u.User != nil:
		v.Fault("SG01", "Set the header Authorization from a file.", "url holds a login; a secret stands in a file or in the environment")
		return nil
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.Fault("SG01", "Say query at the operation.", "url has a query or a fragment")
		return nil
	case strings.ContainsAny(text, "{}") || !plainPath(u.EscapedPath()):
		v.Fault("SG01", "", "the path of url must be plain, without parameters, empty segments, '.' and '..'")
		return nil
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u
}

func (p *parser) commands(v sagas.DocValue) {
	for _, name := range p.names(v, "commands", MaxCommands) {
		c := v.Child(name)
		if len(name) > protocol.MaxName {
			c.Fault("SG03", "", "the name is longer than %d bytes", protocol.MaxName)
		}
		if !c.Fields("a command", "keyWindow", "settle", "do", "undo", "inquire") {
			continue
		}
		cmd := &command{name: name, ops: map[protocol.Op]*operation{}}
		cmd.keyWindow = c.Child("keyWindow").Duration("keyWindow", 24*time.Hour, time.Second, 10*365*24*time.Hour)
		cmd.settle = c.Child("settle").Duration("settle", 10*time.Second, 0, 24*time.Hour)
		if !c.Child("do").Given() && !c.Child("undo").Given() && !c.Child("inquire").Given() {
			c.Fault("SG01", "", "the command has no do, undo or inquire")
		}
		for _, op := range []protocol.Op{protocol.OpDo, protocol.OpUndo, protocol.OpInquire} {
			if o := c.Child(string(op)); o.Given() {
				cmd.ops[op] = p.operation(op, o)
			}
		}
		p.b.commands[name] = cmd
	}
}

func (p *parser) operation(op protocol.Op, v sagas.DocValue) *operation {
	o := &operation{op: op}
	known := []string{"destination", "method", "path", "params", "query", "headers", "body", "timeout", "outcomes", "output"}
	if op == protocol.OpUndo {
		known = slices.DeleteFunc(known, func(s string) bool { return s == "output" })
	}
	if !v.Fields(string(op), known...) {
		return o
	}
	o.dest = p.chosen(v)
	o.method = map[protocol.Op]string{protocol.OpDo: http.MethodPost, protocol.OpUndo: http.MethodPost, protocol.OpInquire: http.MethodGet}[op]
	if m := v.Child("method"); m.Given() {
		o.method = m.Text("method")
		if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, o.method) {
			m.Fault("SG01", "", "method is GET, HEAD, POST, PUT, PATCH or DELETE")
		}
		if op == protocol.OpInquire && o.method != http.MethodGet && o.method != http.MethodHead && o.method != http.MethodPost {
			m.Fault("SG01", "", "an inquiry changes nothing: GET, HEAD, or POST for a search")
		}
	}
	p.path(o, v)
	if q := v.Child("query"); q.Given() {
		for _, key := range p.names(q, "query", MaxNamed) {
			o.query = append(o.query, p.named(q.Child(key), key))
		}
	}
	if h := v.Child("headers"); h.Given() {
		for _, key := range p.names(h, "headers", MaxNamed) {
			p.headerOf(h.Child(key), key)
			if secretName(key) {
				h.Child(key).Fault("SG01", "Say it at the destination, with file or env.", "%s looks like a secret; a secret stands in a file or in the environment", key)
				continue
			}
			o.headers = append(o.headers, p.named(h.Child(key), key))
		}
	}
	o.bare = slices.Contains([]string{"GET", "HEAD", "DELETE"}, o.method)
	if b := v.Child("body"); b.Given() {
		if o.method == http.MethodGet || o.method == http.MethodHead {
			b.Fault("SG01", "", "a %s has no body", o.method)
		}
		o.body, o.bare = newTree(b, requestLanguage, 0), false
	}
	o.timeout = v.Child("timeout").Duration("timeout", 0, 10*time.Millisecond, time.Hour)
	rules := v.Child("outcomes")
	items := rules.Items("outcomes")
	if len(items) > MaxRules {
		rules.Fault("SG01", "", "%d rules, at most %d", len(items), MaxRules)
		items = nil
	}
	for _, item := range items {
		o.rules = append(o.rules, p.rule(op, item))
	}
	if out := v.Child("output"); out.Given() {
		if !out.IsMap() && !out.IsExpr() {
			out.Fault("SG01", "", "output must be a map or an expression")
		}
		o.output = newTree(out, responseLanguage, 0)
	}
	return o
}

// chosen is the destination of an operation: the one that it names, or the only one.
func (p *parser) chosen(v sagas.DocValue) *destination {
	named := v.Child("destination")
	if !named.Given() {
		if len(p.b.destinations) == 1 {
			return p.b.destinations[0]
		}
		if len(p.b.destinations) > 1 {
			v.Fault("SG01", "", "destination is missing: the file has several")
		}
		return nil
	}
	name := named.Text("destination")
	for _, d := range p.b.destinations {
		if d.name == name {
			return d
		}
	}
	named.Fault("SG22", "", "destination %q is not in the file", name)
	return nil
}

// path reads a template: {name} is one parameter, everything else stands in the URL as it is.
func (p *parser) path(o *operation, v sagas.DocValue) {
	at := v.Required("path")
	text, params := at.Text("path"), v.Child("params")
	if text == "" {
		return
	}
	used := map[string]bool{}
	rest := text
	for rest != "" {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			o.path = append(o.path, segment{text: rest})
			break
		}
		if open > 0 {
			o.path = append(o.path, segment{text: rest[:open]})
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			at.Fault("SG01", "", "path has '{' without '}'")
			return
		}
		name := rest[open+1 : open+end]
		rest = rest[open+end+1:]
		used[name] = true
		x := params.Child(name)
		if !x.Given() {
			at.Fault("SG01", "Say params: {"+name+": '=input.…'}.", "the parameter %s of path is not in params", name)
			continue
		}
		o.path = append(o.path, segment{param: x.ExprIn(requestLanguage, "a parameter", sagas.WantText)})
	}
	filled := ""
	for _, s := range o.path {
		if s.text == "" {
			s.text = "x"
		}
		filled += s.text
	}
	if !strings.HasPrefix(filled, "/") || !plainPath(filled) {
		at.Fault("SG01", "", "path must begin with '/' and have the characters of a URL, without empty segments, '.', '..', '?' and '#'")
	}
	if params.Given() {
		for _, key := range p.names(params, "params", MaxNamed) {
			if !used[key] {
				params.Child(key).Fault("SG01", "Write {"+key+"} in path.", "path does not use the parameter %s", key)
			}
		}
	}
}

func (p *parser) named(v sagas.DocValue, name string) named {
	if v.IsExpr() {
		return named{name: name, expr: v.ExprIn(requestLanguage, name, sagas.WantText)}
	}
	return named{name: name, text: v.Text(name)}
}

// plainPath says that a path is one that nothing rewrites on the way: no empty segments, no dots, only
// characters that a URL has.
func plainPath(path string) bool {
	if path == "" {
		return true
	}
	for i, s := range strings.Split(strings.TrimSuffix(path, "/"), "/") {
		if s == "." || s == ".." || s == "" && i > 0 {
			return false
		}
		if raw, err := url.PathUnescape(s); err != nil || raw == "." || raw == ".." || strings.ContainsAny(raw, "/\\") {
			return false
		}
	}
	for _, c := range path {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~!$&'()*+,;=:@%/", c) {
			return false
		}
	}
	return true
}
