package desk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

// previewReason stands in for the reason while nothing is written.
const previewReason = "preview"

// args turns what a form holds into what the API takes.
func args(in map[string]string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for name, v := range in {
		switch name {
		case "output":
			if !json.Valid([]byte(v)) {
				return nil, &web.Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "The output is no JSON"}
			}
			out[name] = json.RawMessage(v)
		case "hours":
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || n <= 0 || n > 24*366 {
				return nil, &web.Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "The number of hours cannot be read"}
			}
			out["byMs"] = json.RawMessage(strconv.FormatInt(int64(n*3600_000), 10))
		default:
			out[name], _ = json.Marshal(v) // a string always has JSON
		}
	}
	// An effect that did not happen has no output.
	if string(out["effect"]) == `"none"` {
		delete(out, "output")
	}
	return out, nil
}

func (d *desk) send(ctx context.Context, a web.Action, dryRun bool) (previewJSON, error) {
	given, err := args(a.Args)
	if err != nil {
		return previewJSON{}, err
	}
	body := map[string]any{"operator": d.operator(), "reason": cmp.Or(a.Reason, previewReason), "requestId": a.RequestID}
	if a.Path != "" {
		body["path"] = a.Path
	}
	if len(given) > 0 {
		body["args"] = given
	}
	if a.ExpectRev != 0 {
		body["expectRev"] = a.ExpectRev
	}
	query := url.Values{}
	if dryRun {
		query.Set("dryRun", "true")
	}
	var out struct {
		Preview previewJSON `json:"preview"`
	}
	err = d.request(ctx, http.MethodPost, instanceAPI(a.WorkflowID)+"/actions/"+url.PathEscape(a.Action), query, body, &out)
	return out.Preview, err
}

// operator is who acts. With a login the API goes by the token.
func (d *desk) operator() string {
	if d.s.opts.Login {
		return ""
	}
	return cmp.Or(d.actor, "web page")
}

func (d *desk) Preview(ctx context.Context, a web.Action) (web.Preview, error) {
	p, err := d.send(ctx, a, true)
	if err != nil {
		return web.Preview{}, err
	}
	if p.Refused != "" {
		return web.Preview{Rev: p.Rev}, &web.Problem{Status: http.StatusConflict, Code: "REFUSED", Title: "It would be refused", Detail: p.Refused}
	}
	return preview(p), nil
}

func preview(p previewJSON) web.Preview {
	out := web.Preview{Rev: p.Rev, Commands: commands(p)}
	if p.PhaseBefore != p.PhaseAfter && p.PhaseAfter != "" {
		out.Effects = append(out.Effects, "the instance goes from "+p.PhaseBefore+" to "+p.PhaseAfter)
	} else if p.StatusBefore != p.StatusAfter && p.StatusAfter != "" {
		out.Effects = append(out.Effects, "its status goes from "+p.StatusBefore+" to "+p.StatusAfter)
	}
	for _, f := range p.Facts {
		if f.Kind != "operator" {
			out.Effects = append(out.Effects, strings.TrimSpace(web.FactText(f.Kind)+" "+f.Path))
		}
	}
	for _, t := range p.Waiting {
		out.Warnings = append(out.Warnings, t+" takes nothing now: what is for it would wait.")
	}
	for _, a := range p.Attention {
		out.Warnings = append(out.Warnings, "It would still need a person: "+a+".")
	}
	return out
}

func commands(p previewJSON) []web.Planned {
	var out []web.Planned
	for _, c := range slices.Concat(p.Commands, p.Other) {
		w := web.Planned{Op: cmp.Or(c.Op, c.Kind), Name: c.Kind, Topic: c.Topic, Partition: c.Partition, Path: c.Path, Key: c.SagaKey, Attempt: c.Attempt, Payload: c.Payload}
		if c.Participant != "" {
			w.Name = c.Participant + "." + c.Command
		}
		out = append(out, w)
	}
	return out
}

func (d *desk) Act(ctx context.Context, a web.Action) error {
	_, err := d.send(ctx, a, false)
	return err
}

// Attention groups what needs a person. It looks at the first thousand.
func (d *desk) Attention(ctx context.Context) ([]web.AttentionGroup, error) {
	type group struct {
		web.AttentionGroup
		at    []sagas.Time
		paths []string // of the samples
		path  string   // that a batch names; "" = the one that fits
	}
	var order []*group
	groups := map[string]*group{}
	for cursor := ""; ; {
		v := url.Values{"query": {"attention"}, "limit": {"1000"}, "partial": {"true"}}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		var l list
		if err := d.get(ctx, "/api/v1/instances", v, &l); err != nil {
			return nil, err
		}
		for _, r := range l.Instances {
			for _, a := range r.Attention {
				step := a.Path[strings.LastIndexByte(a.Path, '/')+1:]
				key := r.Type + "\x00" + step + "\x00" + a.Reason
				g := groups[key]
				if g == nil {
					sum := sha256.Sum256([]byte(key))
					g = &group{AttentionGroup: web.AttentionGroup{ID: hex.EncodeToString(sum[:6]), Saga: r.Type, Step: cmp.Or(step, "instance"), Reason: a.Reason, Text: a.Text, First: a.Since,
						Undo: strings.HasPrefix(a.Reason, "UNDO_") || a.Reason == "NO_UNDO"}}
					// A batch looks again when it runs: so it acts on the group as it is then, however large.
					g.Query = "attention && type == " + strconv.Quote(r.Type) + " && " + strconv.Quote(a.Reason+"@"+step) + " in causes"
					g.path = a.Path
					groups[key], order = g, append(order, g)
				}
				if a.Path != g.path {
					g.path = "" // items of a list: each instance has its own
				}
				g.Count++
				g.First, g.Last = min(g.First, a.Since), max(g.Last, a.Since)
				g.at = append(g.at, a.Since)
				if len(g.Sample) < 3 {
					g.Sample, g.paths = append(g.Sample, r.WorkflowID), append(g.paths, a.Path)
				}
			}
		}
		if cursor = l.Next; cursor == "" || len(groups) > 200 {
			break
		}
	}
	var out []web.AttentionGroup
	for i, g := range order {
		for _, h := range sagas.Reason(g.Reason).Helps() {
			o := offerOf(string(h), g.path)
			if o.Title == "" {
				continue
			}
			if i < maxTried && slices.Contains(d.may, web.MayAct) {
				o.Refused = d.refused(ctx, o, g.Sample, g.paths)
			}
			g.Helps = append(g.Helps, o)
		}
		if span := g.Last - g.First; span > 0 {
			g.Trend = make([]int, 8)
			for _, t := range g.at {
				g.Trend[min(int(8*(t-g.First)/span), 7)]++
			}
		}
		out = append(out, g.AttentionGroup)
	}
	return out, nil
}

// maxTried is the most groups whose actions are tried, without being done, before they are offered.
const maxTried = 30

// refused says why an action helps none of the samples; "" = it helps one, or nobody knows.
func (d *desk) refused(ctx context.Context, o web.Offer, sample, paths []string) (why string) {
	given := map[string]string{}
	for _, a := range o.Args {
		given[a.Name] = a.Default
	}
	for i, wid := range sample {
		_, err := d.Preview(ctx, web.Action{WorkflowID: wid, Action: o.Action, Path: paths[i], Args: given})
		p, ok := err.(*web.Problem)
		if !ok || p.Code != "REFUSED" {
			return ""
		}
		why = p.Detail
	}
	return why
}

func (d *desk) bulk(b web.BulkAction) (map[string]any, error) {
	given, err := args(b.Args)
	body := map[string]any{"query": b.Query, "action": b.Action, "reason": cmp.Or(b.Reason, previewReason), "operator": d.operator()}
	if b.Path != "" {
		body["path"] = b.Path
	}
	if len(given) > 0 {
		body["args"] = given
	}
	if b.Rate > 0 {
		body["rate"] = min(b.Rate, 500)
	}
	return body, err
}

func (d *desk) PreviewBulk(ctx context.Context, b web.BulkAction) (web.BulkPreview, error) {
	body, err := d.bulk(b)
	if err != nil {
		return web.BulkPreview{}, err
	}
	var out struct {
		Preview struct {
			Count    tally         `json:"count"`
			Previews []previewJSON `json:"previews"`
		} `json:"preview"`
	}
	if err := d.request(ctx, http.MethodPost, "/api/v1/batches", url.Values{"dryRun": {"true"}}, body, &out); err != nil {
		return web.BulkPreview{}, err
	}
	p := web.BulkPreview{Count: int(out.Preview.Count.N)}
	for _, x := range out.Preview.Previews {
		if x.Refused != "" {
			p.Refuse++
		}
		p.Sample = append(p.Sample, web.BulkItem{WorkflowID: x.WorkflowID, Path: x.Path, Refused: x.Refused, Commands: commands(x)})
	}
	return p, nil
}

func (d *desk) ActBulk(ctx context.Context, b web.BulkAction) (string, error) {
	body, err := d.bulk(b)
	if err != nil {
		return "", err
	}
	body["expect"] = b.Expect
	body["id"] = b.RequestID
	var out struct {
		Batch batchJSON `json:"batch"`
	}
	err = d.request(ctx, http.MethodPost, "/api/v1/batches", nil, body, &out, "Idempotency-Key", b.RequestID)
	return out.Batch.ID, err
}

func (d *desk) Batches(ctx context.Context) ([]web.Batch, error) {
	var l struct {
		Batches []batchJSON `json:"batches"`
	}
	if err := d.get(ctx, "/api/v1/batches", nil, &l); err != nil {
		return nil, err
	}
	var out []web.Batch
	for _, b := range l.Batches {
		out = append(out, batch(b))
	}
	return out, nil
}

func (d *desk) Batch(ctx context.Context, id string) (web.Batch, error) {
	var b batchJSON
	err := d.get(ctx, "/api/v1/batches/"+url.PathEscape(id), nil, &b)
	return batch(b), err
}

func batch(b batchJSON) web.Batch {
	w := web.Batch{ID: b.ID, Action: b.Action, Query: b.CEL, Reason: b.Reason, Actor: b.Operator, State: b.State, Count: b.Total, Done: b.Sent, Refused: b.Refused + b.Failed, Rate: b.Rate, Started: b.Created}
	if b.State == "cancelled" {
		w.State = "stopped"
	}
	if b.State == "done" || b.State == "cancelled" {
		w.Ended = b.Updated
	}
	for _, e := range b.Errors {
		w.Items = append(w.Items, web.BulkItem{WorkflowID: e.WorkflowID, Refused: e.Text, State: "refused"})
	}
	return w
}

func (d *desk) SteerBatch(ctx context.Context, id, verb string) error {
	state := map[string]string{"pause": "paused", "resume": "running", "stop": "cancelled"}[verb]
	return d.request(ctx, http.MethodPost, "/api/v1/batches/"+url.PathEscape(id), nil, map[string]any{"state": state, "by": d.operator()}, nil)
}

func (d *desk) Decide(ctx context.Context, c web.Decision) error {
	body := map[string]any{"workflowId": c.WorkflowID, "path": c.Path, "by": d.operator()}
	switch c.Verb {
	case "claim":
		return d.request(ctx, http.MethodPost, "/api/v1/tasks/claim", nil, body, nil)
	case "release":
		body["release"] = true
		return d.request(ctx, http.MethodPost, "/api/v1/tasks/claim", nil, body, nil)
	}
	body["decision"], body["comment"] = c.Verb, c.Comment
	return d.request(ctx, http.MethodPost, "/api/v1/tasks/decide", nil, body, nil, "Idempotency-Key", c.RequestID)
}

func (d *desk) DeadLetters(ctx context.Context, class, cursor string) (web.DeadLetterPage, error) {
	v := url.Values{"state": {"open"}, "limit": {"200"}}
	if cursor != "" {
		v.Set("before", cursor)
	}
	var l struct {
		Letters []letterJSON `json:"letters"`
		Next    int64        `json:"next"`
		Partial bool         `json:"partial"`
		Unread  []string     `json:"unread"`
	}
	if err := d.get(ctx, "/api/v1/dlq", v, &l); err != nil {
		return web.DeadLetterPage{}, err
	}
	page := web.DeadLetterPage{Partial: l.Partial, Unread: l.Unread}
	for _, x := range l.Letters {
		i := slices.IndexFunc(page.Classes, func(c web.ClassCount) bool { return c.Class == x.Class })
		if i < 0 {
			i, page.Classes = len(page.Classes), append(page.Classes, web.ClassCount{Class: x.Class})
		}
		page.Classes[i].Count++
		if class == "" || class == x.Class {
			page.Rows = append(page.Rows, letterRow(x))
		}
	}
	if l.Next > 0 {
		page.Next = strconv.FormatInt(l.Next, 10)
	}
	return page, nil
}

func letterRow(x letterJSON) web.DeadLetterRow {
	return web.DeadLetterRow{ID: strconv.FormatInt(x.Offset, 10), Class: x.Class, Message: x.Message, WorkflowID: x.WorkflowID,
		Origin: web.Position{Topic: x.From.Topic, Partition: x.From.Partition, Offset: x.From.Offset}, At: x.At, Bytes: x.Size, Node: x.Node}
}

func letterAPI(id string) (string, error) {
	if _, err := strconv.ParseUint(id, 10, 63); err != nil {
		return "", &web.Problem{Status: http.StatusNotFound, Code: "NOT_FOUND", Title: "There is no such dead letter"}
	}
	return "/api/v1/dlq/" + id, nil
}

func (d *desk) DeadLetter(ctx context.Context, id string) (web.DeadLetter, error) {
	path, err := letterAPI(id)
	if err != nil {
		return web.DeadLetter{}, err
	}
	var x letterJSON
	if err := d.get(ctx, path, nil, &x); err != nil {
		return web.DeadLetter{}, err
	}
	l := web.DeadLetter{DeadLetterRow: letterRow(x), Stage: x.Stage, Format: "json", Schema: x.Kind, Key: x.Key, Raw: x.Bytes, ReplayTo: x.From.Topic, Editable: true, Explain: letterWords[x.Class]}
	if len(x.Value) > 0 {
		l.Decoded, l.Raw = web.Pretty(x.Value), x.Value
	} else {
		l.Format, l.Decoded = "bytes, as base64", base64.StdEncoding.EncodeToString(x.Bytes)
	}
	l.Raw = l.Raw[:min(len(l.Raw), 1024)]
	for _, h := range x.Headers {
		l.Headers = append(l.Headers, web.NV{Name: h.Key, Value: h.Value})
	}
	if h := x.Handled; h != nil {
		l.SettledAs, l.SettledBy, l.SettledFor = h.State, h.By, h.Reason
	}
	return l, nil
}

var letterWords = map[string]string{
	"INVALID_INPUT":      "The start does not fit the input that its definition declares, so nothing was begun.",
	"UNKNOWN_DEFINITION": "The start names a definition that is not published here.",
	"STALE_START":        "The start is older than what is remembered of ended instances: it may have run already.",
	"CONFLICT":           "There is an instance with this id and another input.",
	"ORPHAN_REPLY":       "The reply belongs to no command that is known here.",
	"UNMATCHED_SIGNAL":   "The signal has no time to live, and no instance waits for it.",
	"SIGNAL_OVERFLOW":    "The instance holds as many signals as it may.",
}

func (d *desk) Replay(ctx context.Context, r web.Replay) error {
	path, err := letterAPI(r.ID)
	if err != nil {
		return err
	}
	body := map[string]any{"by": d.operator(), "reason": cmp.Or(r.Reason, previewReason)}
	if r.Value != "" {
		l, err := d.DeadLetter(ctx, r.ID)
		switch {
		case err != nil:
			return err
		case l.Format != "json":
			body["bytes"] = r.Value
		case !json.Valid([]byte(r.Value)):
			return &web.Problem{Status: http.StatusUnprocessableEntity, Code: "BAD_JSON", Title: "The value is no JSON", Detail: jsonFault(r.Value)}
		default:
			body["value"] = json.RawMessage(r.Value)
		}
	}
	query := url.Values{}
	if r.DryRun {
		query.Set("dryRun", "true")
	}
	return d.request(ctx, http.MethodPost, path+"/replay", query, body, nil, "Idempotency-Key", r.RequestID)
}

// jsonFault says where a text stops being JSON.
func jsonFault(s string) string {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return err.Error()
	}
	return ""
}

func (d *desk) Drop(ctx context.Context, id, reason string) error {
	path, err := letterAPI(id)
	if err != nil {
		return err
	}
	return d.request(ctx, http.MethodPost, path+"/drop", nil, map[string]any{"by": d.operator(), "reason": reason}, nil)
}

func (d *desk) Activate(ctx context.Context, saga string, version uint32, _ string) error {
	return d.request(ctx, http.MethodPost, "/api/v1/definitions/"+url.PathEscape(saga)+"/activate", nil, map[string]any{"version": version}, nil)
}
