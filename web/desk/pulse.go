package desk

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

// pulseJSON is what the API counts.
type pulseJSON struct {
	From   sagas.Time `json:"from"`
	Until  sagas.Time `json:"until"`
	Since  sagas.Time `json:"since"`
	Oldest sagas.Time `json:"oldest"`
	Sagas  []struct {
		Type  string     `json:"type"`
		P50   int64      `json:"p50Ms"`
		P95   int64      `json:"p95Ms"`
		Total endsJSON   `json:"total"`
		Parts []endsJSON `json:"parts"`
	} `json:"sagas"`
	Steps []struct {
		Version uint32 `json:"version"`
		Step    string `json:"step"`
		Sent    int    `json:"sent"`
		Done    int    `json:"done"`
		Refused int    `json:"refused"`
		Failed  int    `json:"failed"`
		Undone  int    `json:"undone"`
		P50     int64  `json:"p50Ms"`
		P95     int64  `json:"p95Ms"`
	} `json:"steps"`
	Changes []markJSON `json:"changes"`
	Unread  []string   `json:"unread"`
}

type endsJSON struct {
	Completed   int `json:"completed"`
	Compensated int `json:"compensated"`
	Closed      int `json:"closed"`
	Attention   int `json:"attention"`
}

func (e endsJSON) ended() int { return e.Completed + e.Compensated + e.Closed }

type markJSON struct {
	At         sagas.Time `json:"at"`
	Kind       string     `json:"kind"`
	Node       string     `json:"node"`
	N          int        `json:"n"`
	Topic      string     `json:"topic"`
	Type       string     `json:"type"`
	Version    uint32     `json:"version"`
	Actor      string     `json:"actor"`
	Action     string     `json:"action"`
	WorkflowID string     `json:"workflowId"`
}

// maxChanges is the most lines of what changed.
const maxChanges = 14

// pulse is the last hour, and the window that a page shows: the hour while that is all that is counted, else the day.
func (d *desk) pulse(ctx context.Context) (hour, shown pulseJSON, err error) {
	if err = d.get(ctx, "/api/v1/pulse", url.Values{"window": {"1h"}, "parts": {"60"}}, &hour); err != nil || hour.Since > hour.From {
		return hour, hour, err
	}
	err = d.get(ctx, "/api/v1/pulse", url.Values{"window": {"24h"}, "parts": {"48"}}, &shown)
	return hour, shown, err
}

// over fills in what is known over time.
func over(o *web.Overview, of func(saga string) *web.SagaPulse, hour, shown pulseJSON) {
	o.Since, o.Until, o.Counted, o.Unread = shown.From, shown.Until, shown.Since, shown.Unread
	if o.Counted <= o.Since {
		o.Counted = 0
	}
	o.FinishedHr = 0
	for _, s := range hour.Sagas {
		o.FinishedHr += s.Total.ended()
	}
	if shown.Oldest > 0 {
		o.OldestAge = int64(max(o.Until-shown.Oldest, 1))
	}
	ended, compensated := 0, 0
	for _, s := range shown.Sagas {
		p := of(s.Type)
		p.Finished, p.Compensated, p.P50, p.P95 = s.Total.ended(), s.Total.Compensated, s.P50, s.P95
		ended, compensated = ended+p.Finished, compensated+p.Compensated
		p.Pulse = make([]web.Segment, len(s.Parts))
		for i, e := range s.Parts {
			p.Pulse[i] = web.Segment{Completed: e.Completed + e.Closed, Compensated: e.Compensated, Attention: e.Attention}
		}
	}
	o.Compensated = -1
	if ended > 0 {
		o.Compensated = float64(compensated) / float64(ended)
	}
	for _, m := range shown.Changes[:min(len(shown.Changes), maxChanges)] {
		o.Changes = append(o.Changes, change(m))
	}
}

// change puts a mark into words.
func change(m markJSON) web.Change {
	c := web.Change{At: m.At, Kind: m.Kind, Link: "/cluster"}
	version := m.Type + " v" + strconv.FormatUint(uint64(m.Version), 10)
	partitions := strconv.Itoa(m.N) + " partitions"
	if m.N == 1 {
		partitions = "1 partition"
	}
	switch m.Kind {
	case "started":
		c.Kind, c.Text = "deploy", m.Node+" started"
	case "gained":
		c.Kind, c.Text = "rebalance", m.Node+" took "+partitions+" over"
	case "lost":
		c.Kind, c.Text = "rebalance", m.Node+" gave "+partitions+" away"
	case "blocked":
		c.Kind, c.Text = "breaker", m.Topic+" takes nothing from "+m.Node
	case "flows":
		c.Kind, c.Text = "breaker", m.Topic+" takes records from "+m.Node+" again"
	case "version":
		c.Kind, c.Text, c.Link = "definition", version+" was published", "/definitions/"+url.PathEscape(m.Type)
	case "active":
		c.Kind, c.Text, c.Link = "definition", version+" is active", "/definitions/"+url.PathEscape(m.Type)
	case "person":
		c.Kind, c.Link = "operator", "/audit"
		switch {
		case m.WorkflowID != "":
			c.Text, c.Link = m.Action+" of "+m.WorkflowID, web.InstancePath(m.WorkflowID)
		default:
			c.Text = m.Action + " of " + strconv.Itoa(m.N) + " instances of " + m.Type
		}
		c.Text = cmp.Or(m.Actor, "somebody") + ": " + c.Text
	default: // of a newer release
		c.Text = m.Kind
	}
	return c
}

// heat fills in how the steps of a version do, in the order of the definition, and where its instances stand.
func (d *desk) heat(ctx context.Context, out *web.Definition) {
	saga := out.Row.Saga
	var p pulseJSON
	if d.get(ctx, "/api/v1/pulse", url.Values{"type": {saga}, "steps": {"true"}}, &p) == nil {
		out.Counted, out.Unread = p.Since, p.Unread
		for _, s := range p.Steps {
			h := web.StepHeat{Step: s.Step, Done: s.Done, Refused: s.Refused, Failed: s.Failed, Undone: s.Undone, P50: s.P50, P95: s.P95}
			if n := s.Done + s.Refused + s.Failed; n > 0 {
				h.AttemptsX = float64(s.Sent) / float64(n)
			}
			if s.Version == out.Version {
				out.Heat = append(out.Heat, h)
			}
		}
		if out.Def != nil {
			place := map[string]int{}
			number(out.Source, place)
			slices.SortStableFunc(out.Heat, func(a, b web.StepHeat) int { return cmp.Compare(place[a.Step], place[b.Step]) })
		}
	}
	var l struct {
		Stands []struct {
			Version uint32 `json:"version"`
			Step    string `json:"step"`
			N       int    `json:"n"`
		} `json:"stands"`
		AtLeast bool `json:"atLeast"`
	}
	if d.get(ctx, "/api/v1/definitions/"+url.PathEscape(saga)+"/stands", nil, &l) == nil {
		for _, s := range l.Stands {
			out.Stands = append(out.Stands, web.Stand{Version: s.Version, Step: cmp.Or(s.Step, "between steps"), Count: s.N})
		}
		out.StandsAtLeast = l.AtLeast
	}
}

// number notes in which order the ids of steps come in a canonical source.
func number(source string, place map[string]int) {
	for line := range strings.Lines(source) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), `"id": "`); ok {
			if id, _, ok := strings.Cut(rest, `"`); ok {
				place[id] = len(place) + 1
			}
		}
	}
}
