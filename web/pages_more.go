package web

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/amendsio/amends/diagram"
)

func (s *server) overview(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "all", "amends ls --status attention"
	o, err := desk.Overview(r.Context())
	return overviewPage(*p, o), err
}

func (s *server) cluster(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "cluster", "amends node list"
	c, err := desk.Cluster(r.Context())
	return clusterPage(*p, c), err
}

func (s *server) audit(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	cursor := r.URL.Query().Get("cursor")
	p.Twin = "amends audit"
	a, err := desk.Audit(r.Context(), cursor)
	return auditPage(*p, a, cursor), err
}

func (s *server) tasks(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "tasks", "amends task list"
	list, err := desk.Tasks(r.Context())
	return tasksPage(*p, list), err
}

func (s *server) decide(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	d := Decision{WorkflowID: r.PostFormValue("id"), Path: r.PostFormValue("path"), Verb: r.PostFormValue("verb"),
		Comment: strings.TrimSpace(r.PostFormValue("comment")), RequestID: r.PostFormValue("requestId")}
	said, ok := map[string]string{"approve": "Approved.", "refuse": "Refused.", "claim": "It is yours.", "release": "Given back."}[d.Verb]
	if !ok || d.Comment == "" && (d.Verb == "approve" || d.Verb == "refuse") {
		return nil, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "A decision needs a verb and a comment"}
	}
	if err := desk.Decide(r.Context(), d); err != nil {
		return nil, err
	}
	return nil, &goTo{"/tasks", said}
}

func (s *server) attention(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "all", "amends ls --status attention"
	list, err := desk.Attention(r.Context())
	// An undo that failed is the worst: money or goods are where they should not be.
	slices.SortStableFunc(list, func(a, b AttentionGroup) int {
		if a.Undo != b.Undo {
			if a.Undo {
				return -1
			}
			return 1
		}
		return b.Count - a.Count
	})
	return attentionPage(*p, list), err
}

// bulkOf finds the group and what is offered for it.
func (s *server) bulkOf(r *http.Request, desk Desk, get func(string) string) (BulkAction, Offer, error) {
	b := BulkAction{Group: get("group"), Action: get("action"), Args: map[string]string{}, Reason: strings.TrimSpace(get("reason")), Rate: 20, RequestID: get("requestId")}
	list, err := desk.Attention(r.Context())
	if err != nil {
		return b, Offer{}, err
	}
	for _, g := range list {
		for _, o := range g.Helps {
			if g.ID != b.Group || o.Action != b.Action || o.Refused != "" {
				continue
			}
			b.Query, b.Path = g.Query, o.Path
			for _, a := range o.Args {
				if b.Args[a.Name] = get("arg." + a.Name); b.Args[a.Name] == "" {
					b.Args[a.Name] = a.Default
				}
			}
			if v := get("rate"); v != "" {
				if b.Rate, err = strconv.Atoi(v); err != nil || b.Rate < 1 || b.Rate > 1000 {
					return b, o, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "The rate is between 1 and 1000 a second"}
				}
			}
			if b.RequestID == "" || len(b.RequestID) > 128 {
				b.RequestID = newRequest()
			}
			return b, o, nil
		}
	}
	return b, Offer{}, &Problem{Status: http.StatusConflict, Code: "NOT_OFFERED", Title: "This group is settled", Detail: "No instance is in it any more, or the action does not help it."}
}

func (s *server) bulkForm(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	return s.showBulk(r, desk, p, r.URL.Query().Get, nil)
}

func (s *server) showBulk(r *http.Request, desk Desk, p *page, get func(string) string, failed *Problem) (templ.Component, error) {
	b, o, err := s.bulkOf(r, desk, get)
	if err != nil {
		return nil, err
	}
	p.Twin = "amends batch start " + b.Action
	if b.Path != "" {
		p.Twin += " --path " + shell(b.Path)
	}
	p.Twin += " --query " + shell(b.Query) + " --reason … --dry-run"
	pre, err := desk.PreviewBulk(r.Context(), b)
	if err != nil && failed == nil {
		failed = problemOf(err)
	}
	return bulkPage(*p, b, o, pre, failed), nil
}

func (s *server) bulk(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	get := r.PostFormValue
	b, _, err := s.bulkOf(r, desk, get)
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(get("count"))
	switch {
	case err != nil || strings.TrimSpace(get("typed")) != get("count"):
		return s.showBulk(r, desk, p, get, &Problem{Status: 400, Code: "COUNT", Title: "The number does not match", Detail: "Type how many instances the batch is for."})
	case b.Reason == "":
		return s.showBulk(r, desk, p, get, &Problem{Status: 400, Code: "REASON", Title: "Say why", Detail: "The reason is kept in the audit."})
	}
	b.Expect = count
	id, err := desk.ActBulk(r.Context(), b)
	if err != nil {
		return s.showBulk(r, desk, p, get, problemOf(err))
	}
	return nil, &goTo{"/batches/" + url.PathEscape(id), "The batch has begun."}
}

func (s *server) batches(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "batches", "amends batch list"
	list, err := desk.Batches(r.Context())
	return batchesPage(*p, list), err
}

func (s *server) batch(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "batches", "amends batch get "+shell(r.PathValue("id"))
	b, err := desk.Batch(r.Context(), r.PathValue("id"))
	p.Title = "Batch " + b.ID
	return batchPage(*p, b), err
}

func (s *server) steer(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	said, ok := map[string]string{"pause": "Paused.", "resume": "It goes on.", "stop": "Stopped."}[r.PostFormValue("verb")]
	if !ok {
		return nil, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "A batch can be paused, resumed and stopped"}
	}
	if err := desk.SteerBatch(r.Context(), r.PathValue("id"), r.PostFormValue("verb")); err != nil {
		return nil, err
	}
	return nil, &goTo{"/batches/" + url.PathEscape(r.PathValue("id")), said}
}

func (s *server) deadLetters(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	class, cursor := r.URL.Query().Get("class"), r.URL.Query().Get("cursor")
	p.Live, p.Twin = "letters", "amends dlq list"
	list, err := desk.DeadLetters(r.Context(), class, cursor)
	return deadLettersPage(*p, class, cursor, list), err
}

func (s *server) deadLetter(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	l, err := desk.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p.Title, p.Twin = "Dead letter "+l.Origin.String(), "amends dlq get "+shell(l.ID)
	return deadLetterPage(*p, l, l.Decoded, nil, nil), nil
}

// settle previews, replays or drops a letter.
func (s *server) settle(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayAct); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	l, err := desk.DeadLetter(r.Context(), id)
	if err != nil {
		return nil, err
	}
	p.Title = "Dead letter " + l.Origin.String()
	// A browser sends a text with CRLF, whatever was in the field.
	value, reason := strings.ReplaceAll(r.PostFormValue("value"), "\r\n", "\n"), strings.TrimSpace(r.PostFormValue("reason"))
	replay := Replay{ID: id, Reason: reason, RequestID: r.PostFormValue("requestId")}
	if value != l.Decoded {
		replay.Value = value
	}
	verb := r.PostFormValue("verb")
	if reason == "" && verb != "preview" {
		return deadLetterPage(*p, l, value, nil, &Problem{Status: 400, Code: "REASON", Title: "Say why", Detail: "The reason is kept in the audit."}), nil
	}
	switch verb {
	case "preview":
		replay.DryRun = true
		pre := &Preview{}
		var failed *Problem
		if err := desk.Replay(r.Context(), replay); err != nil {
			failed, pre = problemOf(err), nil
		} else if replay.Value == "" {
			pre.Effects = []string{"It goes as it is, byte for byte."}
		}
		return deadLetterPage(*p, l, value, pre, failed), nil
	case "replay":
		if err := desk.Replay(r.Context(), replay); err != nil {
			return deadLetterPage(*p, l, value, nil, problemOf(err)), nil
		}
		return nil, &goTo{"/dead-letters/" + url.PathEscape(id), "Replayed to " + l.ReplayTo + "."}
	case "drop":
		if err := desk.Drop(r.Context(), id, reason); err != nil {
			return nil, err
		}
		return nil, &goTo{"/dead-letters", "Dropped."}
	}
	return nil, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "A letter can be replayed or dropped"}
}

func (s *server) definitions(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	p.Live, p.Twin = "all", "amends def list"
	list, err := desk.Definitions(r.Context())
	return definitionsPage(*p, list), err
}

func (s *server) definition(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	saga, version, against := r.PathValue("saga"), versionOf(r, "version"), versionOf(r, "against")
	d, err := desk.Definition(r.Context(), saga, version, against)
	p.Title, p.Twin = saga, "amends def show "+shell(saga)
	if against != 0 {
		p.Twin += "@" + strconv.Itoa(int(d.Version))
	}
	return definitionPage(*p, d), err
}

func (s *server) activate(r *http.Request, desk Desk, p *page) (templ.Component, error) {
	if err := s.mayPost(r, p, MayActivate); err != nil {
		return nil, err
	}
	saga, reason := r.PathValue("saga"), strings.TrimSpace(r.PostFormValue("reason"))
	version, err := strconv.ParseUint(r.PostFormValue("version"), 10, 32)
	if err != nil || version == 0 || reason == "" {
		return nil, &Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "Activating needs a version and a reason"}
	}
	if err := desk.Activate(r.Context(), saga, uint32(version), reason); err != nil {
		return nil, err
	}
	return nil, &goTo{"/definitions/" + url.PathEscape(saga), "New instances begin with v" + strconv.FormatUint(version, 10) + "."}
}

func versionOf(r *http.Request, name string) uint32 {
	v, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(v)
}

// newRequest is a fresh id, so that a form that is sent twice acts once.
func newRequest() string { return "web-" + rand.Text() }

func join(list []string) string { return strings.Join(list, ", ") }

// count is a number that may not be known.
func count(n int) string { return count64(int64(n)) }

func count64(n int64) string {
	if n < 0 {
		return "–"
	}
	return number(n)
}

func age(ms int64) string {
	if ms <= 0 {
		return "–"
	}
	return span(ms)
}

// share is a part of one; negative = not known.
func share(f float64) string {
	if f < 0 {
		return "–"
	}
	return strconv.FormatFloat(f*100, 'f', 1, 64) + " %"
}

func pctOf(f float64) string { return strconv.FormatFloat(f*100, 'f', 1, 64) }

func many(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

func total(list []AttentionGroup) int {
	n := 0
	for _, g := range list {
		n += g.Count
	}
	return n
}

func reasonText(g AttentionGroup) string {
	if t := reasonWords[g.Reason]; t != "" {
		return t
	}
	return g.Reason
}

func bulkPath(g AttentionGroup, o Offer) string {
	return "/bulk?" + url.Values{"group": {g.ID}, "action": {o.Action}}.Encode()
}

func bulkCount(n int) string {
	if n == 1 {
		return "it"
	}
	return "all " + number(n)
}

func approvals(t Task) string {
	n := 0
	for _, v := range t.Votes {
		if v.Decision == "approve" {
			n++
		}
	}
	return number(n)
}

func decideWhyNot(p page, t Task) string {
	if why := p.whyNot(MayAct); why != "" {
		return why
	}
	return t.Mine
}

var rolloutSteps = [...]string{"drain", "hand over", "restore", "ready"}

func phaseIcon(state string) string {
	switch state {
	case "done":
		return "check"
	case "now":
		return "dots"
	}
	return "ring"
}

// cellOf says what a process has of a partition.
func cellOf(n Node, t TaskRow) (kind, title string) {
	part := "partition " + strconv.Itoa(int(t.Task)) + " "
	if t.Owner == n.Name {
		if t.State == "restoring" {
			return "restoring", part + "restores here"
		}
		return "running", part + "runs here"
	}
	for _, s := range t.Standbys {
		if s.Node == n.Name {
			return "standby", part + "has a warm copy here, " + standbyText(s)
		}
	}
	return "", ""
}

func standbyText(s Standby) string {
	if s.Lag == 0 {
		return "up to date"
	}
	return number(s.Lag) + " behind"
}

func sumAttention(d DefinitionRow) int {
	n := 0
	for _, v := range d.Versions {
		n += v.Attention
	}
	return n
}

func short(digest string) string { return digest[:min(12, len(digest))] }

func failShare(h StepHeat) float64 {
	if all := h.Done + h.Refused + h.Failed; all > 0 {
		return 100 * float64(h.Refused+h.Failed) / float64(all)
	}
	return 0
}

func heatClass(percent float64) string {
	switch {
	case percent >= 5:
		return "high"
	case percent >= 1:
		return "some"
	}
	return "low"
}

func slowShare(all []StepHeat, h StepHeat) float64 {
	most := int64(1)
	for _, x := range all {
		most = max(most, x.P95)
	}
	return 100 * float64(h.P95) / float64(most)
}

// definitionDrawing is the picture with the heat over it, as notes at the steps.
func definitionDrawing(p page, d Definition) string {
	o := diagram.Overlay{}
	for _, h := range d.Heat {
		state := diagram.Done
		if failShare(h) >= 5 {
			state = diagram.Refused
		}
		o[h.Step] = diagram.Progress{Do: state, Note: percent(h.Refused+h.Failed, h.Done+h.Refused+h.Failed) + ", " + age(h.P95)}
	}
	return string(diagram.New(d.Def).SVG(diagram.Options{Overlay: o, NoTitle: true, NoStyle: true, Theme: p.Theme}))
}

func hexDump(b []byte) string { return hex.Dump(b) }

func diffClass(op byte) string {
	switch op {
	case '+':
		return "diff-add"
	case '-':
		return "diff-del"
	}
	return "diff-same"
}
