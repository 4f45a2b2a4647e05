package desk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

func (d *desk) Counts(ctx context.Context) (web.Counts, error) {
	if k := d.s.recall(d.token); d.s.opts.Clock().Before(k.until) {
		return k.counts, nil
	}
	var c census
	if err := d.get(ctx, "/api/v1/census", nil, &c); err != nil {
		return web.Counts{}, err
	}
	var out web.Counts
	for _, r := range c.Rows {
		if r.Status == sagas.StatusAttention || r.Attention {
			out.Attention += r.N
		}
	}
	var tasks struct {
		Approvals []json.RawMessage `json:"approvals"`
	}
	if d.get(ctx, "/api/v1/tasks", url.Values{"partial": {"true"}}, &tasks) == nil {
		out.Tasks = len(tasks.Approvals)
	}
	var letters struct {
		Letters []json.RawMessage `json:"letters"`
	}
	if d.get(ctx, "/api/v1/dlq", url.Values{"state": {"open"}, "limit": {"100"}}, &letters) == nil {
		out.DeadLetters = len(letters.Letters)
	}
	d.s.remember(d.token, func(k *known) { k.counts, k.until = out, d.s.opts.Clock().Add(countsFor) })
	return out, nil
}

func (d *desk) Overview(ctx context.Context) (web.Overview, error) {
	o := web.Overview{FinishedHr: -1, Compensated: -1, Until: sagas.Time(d.now())}
	o.Since = o.Until
	var c census
	if err := d.get(ctx, "/api/v1/census", nil, &c); err != nil {
		return o, err
	}
	defs, err := d.definitions(ctx)
	if err != nil {
		return o, err
	}
	at := map[string]*web.SagaPulse{}
	var names []string
	of := func(saga string) *web.SagaPulse {
		if at[saga] == nil {
			at[saga], names = &web.SagaPulse{Saga: saga}, append(names, saga)
		}
		return at[saga]
	}
	for _, f := range defs {
		if s := of(f.Type); f.Active {
			s.Version = f.Version
		}
	}
	ended, compensated := 0, 0
	for _, r := range c.Rows {
		s := of(r.Type)
		switch {
		case r.Active:
			o.Active += r.N
			s.Active += r.N
		case r.Status == "completed" || r.Status == "compensated" || r.Status == "closed":
			s.Finished += r.N
			ended += r.N
		}
		if r.Status == "compensated" {
			s.Compensated += r.N
			compensated += r.N
		}
		if r.Status == sagas.StatusAttention || r.Attention {
			s.Attention += r.N
		}
	}
	o.Ended = ended
	if ended > 0 {
		o.Compensated = float64(compensated) / float64(ended)
	}
	if hour, shown, err := d.pulse(ctx); err == nil {
		over(&o, of, hour, shown)
	}
	slices.Sort(names)
	for _, n := range names {
		o.Sagas = append(o.Sagas, *at[n])
	}
	if cl, err := d.Cluster(ctx); err == nil {
		o.Nodes = cl.Nodes
	}
	return o, nil
}

// statusQuery turns the status of a saved view into what the API knows.
func statusQuery(q web.InstanceQuery) url.Values {
	v := url.Values{}
	cel := q.Query
	if q.Status == "active" {
		if cel == "" {
			cel = "active"
		} else {
			cel = "active && (" + cel + ")"
		}
	} else if q.Status != "" {
		v.Set("status", q.Status)
	}
	if cel != "" {
		v.Set("query", cel)
	}
	if q.Saga != "" {
		v.Set("type", q.Saga)
	}
	return v
}

func (d *desk) Instances(ctx context.Context, q web.InstanceQuery) (web.InstancePage, error) {
	page := web.InstancePage{Count: -1, Fields: []string{"workflowId", "type", "id", "status", "phase", "version", "attention", "active", "started", "updated", "due", "now", "tags", "causes"}}
	defs, err := d.definitions(ctx)
	if err != nil {
		return page, err
	}
	for _, f := range defs {
		if !slices.Contains(page.Sagas, f.Type) {
			page.Sagas = append(page.Sagas, f.Type)
		}
	}
	began := time.Now()
	v := statusQuery(q)
	var n tally
	if d.get(ctx, "/api/v1/count", v, &n) == nil {
		page.Count, page.Exact = int(n.N), !n.AtLeast
	}
	v.Set("limit", strconv.Itoa(q.Limit))
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	var l list
	if err := d.get(ctx, "/api/v1/instances", v, &l); err != nil {
		return page, err
	}
	page.Next, page.TookMs = l.Next, time.Since(began).Milliseconds()
	for _, r := range l.Instances {
		_, id := sagas.SplitWorkflowID(r.WorkflowID)
		w := web.InstanceRow{WorkflowID: r.WorkflowID, Saga: r.Type, ID: id, Version: r.Version, Status: r.Status, Phase: r.Phase, Tags: r.Tags,
			StartedAt: r.StartedAt, UpdatedAt: r.UpdatedAt, Due: r.Due}
		if len(r.Attention) > 0 {
			w.At, w.Cause = r.Attention[0].Path, r.Attention[0].Reason
		}
		if r.Phase == "completed" || r.Phase == "compensated" || r.Phase == "closed" {
			w.EndedAt = r.UpdatedAt
		}
		page.Rows = append(page.Rows, w)
	}
	return page, nil
}

func (d *desk) definitions(ctx context.Context) ([]definitionJSON, error) {
	var l struct {
		Definitions []definitionJSON `json:"definitions"`
	}
	err := d.get(ctx, "/api/v1/definitions", nil, &l)
	return l.Definitions, err
}

func (d *desk) definition(ctx context.Context, saga string, version uint32) (definitionJSON, *sagas.Definition, error) {
	var f definitionJSON
	if err := d.get(ctx, "/api/v1/definitions/"+url.PathEscape(saga)+"/"+strconv.FormatUint(uint64(version), 10), nil, &f); err != nil {
		return f, nil, err
	}
	def, err := sagas.ParseDefinition(saga, f.Source)
	if err != nil {
		return f, nil, nil //nolint:nilerr // a version that this release cannot read has no picture, and is shown otherwise
	}
	return f, def, nil
}

func (d *desk) Definitions(ctx context.Context) ([]web.DefinitionRow, error) {
	defs, err := d.definitions(ctx)
	if err != nil {
		return nil, err
	}
	var c census
	if err := d.get(ctx, "/api/v1/census", nil, &c); err != nil {
		return nil, err
	}
	var out []web.DefinitionRow
	for _, f := range defs {
		i := slices.IndexFunc(out, func(r web.DefinitionRow) bool { return r.Saga == f.Type })
		if i < 0 {
			i, out = len(out), append(out, web.DefinitionRow{Saga: f.Type})
		}
		v := web.VersionRow{Version: f.Version, Digest: f.Digest, Active: f.Active}
		for _, r := range c.Rows {
			if r.Type != f.Type || r.Version != f.Version {
				continue
			}
			if r.Active {
				v.InFlight += r.N
			}
			if r.Status == sagas.StatusAttention || r.Attention {
				v.Attention += r.N
			}
		}
		if f.Active {
			out[i].Active = f.Version
		}
		out[i].Versions = append(out[i].Versions, v)
	}
	for i := range out {
		slices.SortFunc(out[i].Versions, func(a, b web.VersionRow) int { return cmp.Compare(b.Version, a.Version) })
	}
	slices.SortFunc(out, func(a, b web.DefinitionRow) int { return strings.Compare(a.Saga, b.Saga) })
	return out, nil
}

func (d *desk) Definition(ctx context.Context, saga string, version, against uint32) (web.Definition, error) {
	var out web.Definition
	all, err := d.Definitions(ctx)
	if err != nil {
		return out, err
	}
	for _, r := range all {
		if r.Saga == saga {
			out.Row = r
		}
	}
	f, def, err := d.definition(ctx, saga, version)
	if err != nil {
		return out, err
	}
	out.Version, out.Def, out.Source = f.Version, def, web.Pretty(f.Source)
	if against != 0 {
		other, _, err := d.definition(ctx, saga, against)
		if err != nil {
			return out, err
		}
		out.Against, out.Diff = against, web.Diff(web.Pretty(other.Source), out.Source)
	}
	d.heat(ctx, &out)
	return out, nil
}

func (d *desk) Cluster(ctx context.Context) (web.Cluster, error) {
	var n nodesJSON
	if err := d.get(ctx, "/api/v1/nodes", nil, &n); err != nil {
		return web.Cluster{}, err
	}
	var c web.Cluster
	tasks := map[int32]*web.TaskRow{}
	task := func(id int32) *web.TaskRow {
		if tasks[id] == nil {
			tasks[id] = &web.TaskRow{Task: id, State: "unowned", Lag: -1}
		}
		return tasks[id]
	}
	for _, t := range n.Tasks {
		task(t.Task).Owner = t.Address
		if t.Address != "" {
			task(t.Task).State = "joining"
		}
	}
	versions := map[string]bool{}
	for _, x := range n.Nodes {
		w := web.Node{Name: x.Address, Address: x.Address, Version: x.Version, State: "ready", Tasks: len(x.Tasks), Standby: len(x.Standbys), Level: x.Level}
		switch {
		case x.Unreachable:
			w.State = "gone"
		case x.Draining:
			w.State = "draining"
		case x.NotReady != "" || x.NotLive != "":
			w.State = "restoring"
		}
		if !x.Unreachable {
			versions[x.Version] = true
			c.Level = max(c.Level, x.Level)
			if c.Supports == 0 || x.Supports < c.Supports {
				c.Supports = x.Supports
			}
		}
		for _, t := range x.Tasks {
			r := task(t.Task)
			r.Owner, r.State, r.Lag, r.Bytes = x.Address, t.State, t.Queued, t.StoreBytes
			if t.State == "restoring" && t.RestoreTarget > 0 {
				r.Restored, r.Left = float64(t.RestoreNext)/float64(t.RestoreTarget), t.RestoreTarget-t.RestoreNext
			}
		}
		for _, s := range x.Standbys {
			task(s.Task).Standbys = append(task(s.Task).Standbys, web.Standby{Node: x.Address, Lag: s.LagRecords, AgeMs: s.LagMs})
		}
		for _, t := range x.Destinations {
			i := slices.IndexFunc(c.Destinations, func(d web.Destination) bool { return d.Topic == t.Topic })
			if i < 0 {
				state := "open"
				switch t.State {
				case "open", "closed":
					// A breaker that is open lets nothing through; on the page a topic that is open takes records.
					if t.State == "open" {
						state = "blocked"
					}
				default:
					state = "probing"
				}
				i, c.Destinations = len(c.Destinations), append(c.Destinations, web.Destination{Topic: t.Topic, State: state, Reason: t.Reason, Since: t.Since})
			}
			c.Destinations[i].Waiting += t.Waiting
		}
		c.Nodes = append(c.Nodes, w)
	}
	for _, t := range tasks {
		c.Tasks = append(c.Tasks, *t)
	}
	slices.SortFunc(c.Tasks, func(a, b web.TaskRow) int { return cmp.Compare(a.Task, b.Task) })
	slices.SortFunc(c.Nodes, func(a, b web.Node) int { return strings.Compare(a.Name, b.Name) })
	if len(versions) > 1 || slices.ContainsFunc(c.Nodes, func(n web.Node) bool { return n.State != "ready" }) {
		c.Rollout = rollout(c)
	}
	return c, nil
}

// rollout says how far each process is, from what it is doing now.
func rollout(c web.Cluster) []web.RolloutRow {
	var out []web.RolloutRow
	for _, n := range c.Nodes {
		r := web.RolloutRow{Node: n.Name, Version: n.Version, Steps: []string{"done", "done", "done", "done"}}
		switch n.State {
		case "draining":
			r.Steps = []string{"now", "next", "next", "next"}
			if n.Tasks == 0 {
				r.Steps = []string{"done", "done", "next", "next"}
			}
		case "restoring":
			r.Steps = []string{"done", "done", "now", "next"}
		case "gone":
			r.Steps = []string{"done", "done", "next", "next"}
		}
		for _, t := range c.Tasks {
			if t.Owner == n.Name {
				r.Lag += max(t.Lag, 0)
			}
		}
		out = append(out, r)
	}
	return out
}

func (d *desk) Tasks(ctx context.Context) ([]web.Task, error) {
	var l struct {
		Approvals []approvalJSON `json:"approvals"`
	}
	if err := d.get(ctx, "/api/v1/tasks", url.Values{"partial": {"true"}}, &l); err != nil {
		return nil, err
	}
	var out []web.Task
	for _, a := range l.Approvals {
		t := web.Task{WorkflowID: a.WorkflowID, Path: a.Path, Saga: a.Type, Roles: a.Roles, Quorum: a.Quorum, Votes: a.Votes, Opened: a.StartedAt, Due: a.Due}
		if a.Claim != nil {
			t.Claimed = a.Claim.By
		}
		for _, tag := range a.Tags {
			t.Facts = append(t.Facts, web.NV{Name: tag.Key, Value: tag.Value})
		}
		if d.actor != "" && slices.ContainsFunc(a.Votes, func(v sagas.VoteView) bool { return v.Actor == d.actor }) {
			t.Mine = "You have decided already: a person decides once."
		}
		out = append(out, t)
	}
	return out, nil
}

func (d *desk) Audit(ctx context.Context, _ string) (web.AuditPage, error) {
	var a struct {
		Facts []factJSON `json:"facts"`
	}
	err := d.get(ctx, "/api/v1/audit", url.Values{"since": {"720h"}, "limit": {"500"}}, &a)
	var page web.AuditPage
	for _, f := range a.Facts {
		r := web.AuditRow{At: f.At, WorkflowID: f.WorkflowID, Path: f.Path, Action: f.Detail["action"], Actor: cmp.Or(f.Detail["operator"], f.Detail["actor"]),
			Reason: cmp.Or(f.Detail["reason"], f.Detail["comment"]), RequestID: f.Detail["requestId"], Position: positionOf(f.Place), After: f.Phase}
		switch f.Kind {
		case "task-decided":
			r.Action = f.Detail["decision"]
		case "operator":
		default:
			r.Action = f.Kind
		}
		page.Rows = append(page.Rows, r)
	}
	return page, err
}

func positionOf(p *place) *web.Position {
	if p == nil || p.Topic == "" {
		return nil
	}
	return &web.Position{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset}
}

// Watch asks again and again, so that no connection between processes can break unnoticed.
func (d *desk) Watch(ctx context.Context, topic, after string) (<-chan string, error) {
	path, every := "/api/v1/census", 2*time.Second
	wid, one := strings.CutPrefix(topic, "instance/")
	switch {
	case one:
		path, every = instanceAPI(wid), 400*time.Millisecond
	case topic == "cluster":
		path = "/api/v1/nodes"
	case topic == "bindings":
		path = "/api/v1/bindings"
	case topic == "letters":
		path = "/api/v1/dlq"
	case topic == "tasks":
		path = "/api/v1/tasks"
	case topic == "batches":
		path, every = "/api/v1/batches", time.Second
	}
	first, err := d.mark(ctx, path)
	if p, ok := err.(*web.Problem); ok && p.Status < 500 && p.Status != http.StatusNotFound {
		return nil, err
	}
	out := make(chan string, 1)
	go func() {
		defer close(out)
		seen := after // without it the first mark is news: the page was made before the stream began
		tick := time.NewTicker(every)
		defer tick.Stop()
		for now := first; ; {
			if now != "" && now != seen {
				select {
				case out <- now:
					seen = now
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if d.s.opts.Draining != nil && d.s.opts.Draining() {
				return
			}
			now, _ = d.mark(ctx, path) // what moves answers again soon
		}
	}()
	return out, nil
}

// mark is a short text that changes with what a path answers.
func (d *desk) mark(ctx context.Context, path string) (string, error) {
	var raw json.RawMessage
	if err := d.get(ctx, path, nil, &raw); err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}
