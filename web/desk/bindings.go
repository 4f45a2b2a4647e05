package desk

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

type bindingJSON struct {
	Key     string     `json:"key"`
	Type    string     `json:"type"`
	Version uint32     `json:"version"`
	Topic   string     `json:"topic"`
	Action  string     `json:"action"`
	Signal  string     `json:"signal"`
	When    string     `json:"when"`
	From    string     `json:"from"`
	Group   string     `json:"group"`
	Paused  bool       `json:"paused"`
	By      string     `json:"by"`
	Reason  string     `json:"reason"`
	At      sagas.Time `json:"at"`
	Lag     int64      `json:"lag"`
	Problem string     `json:"problem"`
}

func (d *desk) Bindings(ctx context.Context) ([]web.Binding, error) {
	var l struct {
		Bindings []bindingJSON `json:"bindings"`
	}
	if err := d.get(ctx, "/api/v1/bindings", nil, &l); err != nil {
		return nil, err
	}
	var out []web.Binding
	for _, b := range l.Bindings {
		out = append(out, web.Binding{Key: b.Key, Saga: b.Type, Version: b.Version, Topic: b.Topic, Action: b.Action, Signal: b.Signal, When: b.When, From: b.From,
			Group: b.Group, Paused: b.Paused, By: b.By, Reason: b.Reason, At: b.At, Lag: b.Lag, Problem: b.Problem})
	}
	return out, nil
}

func bindingAPI(key, verb string) string {
	typ, name, _ := strings.Cut(key, "/")
	return "/api/v1/bindings/" + url.PathEscape(typ) + "/" + url.PathEscape(name) + "/" + verb
}

func (d *desk) HoldBinding(ctx context.Context, key string, paused bool, reason string) error {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	return d.request(ctx, http.MethodPost, bindingAPI(key, verb), nil, map[string]any{"by": d.operator(), "reason": reason}, nil)
}

func (d *desk) ReplayBinding(ctx context.Context, r web.BindingReplay) (web.BindingPreview, error) {
	span, ok := r.Span()
	if !ok {
		return web.BindingPreview{}, &web.Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "The times cannot be read"}
	}
	body := map[string]any{"by": d.operator(), "reason": cmp.Or(r.Reason, previewReason), "from": span[0].Format(time.RFC3339)}
	if !span[1].IsZero() {
		body["to"] = span[1].Format(time.RFC3339)
	}
	query := url.Values{}
	if r.DryRun {
		query.Set("dryRun", "true")
	}
	var out struct {
		Records int      `json:"records"`
		Matched int      `json:"matched"`
		Dead    int      `json:"dead"`
		Written int      `json:"written"`
		Reasons []string `json:"reasons"`
	}
	err := d.request(ctx, http.MethodPost, bindingAPI(r.Key, "replay"), query, body, &out, "Idempotency-Key", r.RequestID)
	return web.BindingPreview{Records: out.Records, Matched: out.Matched, Dead: out.Dead, Written: out.Written, Reasons: out.Reasons}, err
}
