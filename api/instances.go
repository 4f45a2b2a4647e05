package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// maxWorkflowID bounds the path of a request before it is looked up.
const maxWorkflowID = 512

// Named is an instance in the path of a request. A slash in the id may be escaped or not.
type Named struct {
	Type string `path:"type" doc:"Name of the definition"`
	ID   string `path:"id" doc:"The id that the producer gave; it may hold slashes"`
}

func (n Named) workflowID() (string, error) {
	wid := n.Type + "/" + n.ID
	if n.ID == "" || n.Type == "" || len(wid) > maxWorkflowID {
		return "", invalid("a workflow ID is <type>/<id> of at most " + strconv.Itoa(maxWorkflowID) + " bytes")
	}
	return wid, nil
}

// Asked are the parameters of a list.
type Asked struct {
	Query   string `query:"query" doc:"CEL condition over workflowId, type, id, status, phase, version, run, attention, active, started, updated, due, now and tags" example:"status == \"running\" && tags.customer == \"c-17\""`
	Status  string `query:"status" doc:"A phase, or attention"`
	Type    string `query:"type" doc:"Name of a definition"`
	Partial bool   `query:"partial" doc:"Accept an answer that lacks tasks which nobody answers for, Named in missing"`
}

func (a Asked) query() cluster.Query {
	return cluster.Query{CEL: a.Query, Status: a.Status, Type: a.Type, Partial: a.Partial}
}

type viewed struct {
	Node       string `header:"Saga-Node"`
	ETag       string `header:"ETag" doc:"Revision of the instance, for If-Match"`
	LagRecords string `header:"Saga-Lag-Records" doc:"With stale: state records that the copy lacks"`
	LagMillis  string `header:"Saga-Lag-Ms" doc:"With stale: since when the copy lacks something"`
	Body       sagas.View
}

func (s *server) instanceRoutes() {
	const tag = "instances"
	add(s, route{id: "list-instances", method: http.MethodGet, path: "/api/v1/instances", tag: tag, role: Viewer,
		summary: "List instances", description: "In the order of workflow IDs, from all processes. A page may be short, and even empty, and have a next one."},
		func(ctx context.Context, in *struct {
			Asked
			Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
			Cursor string `query:"cursor" doc:"next of the page before"`
		}) (*answer[cluster.Page], error) {
			q := in.query()
			q.Limit, q.Cursor = in.Limit, in.Cursor
			page, err := s.desk.List(ctx, q)
			if page.Instances == nil {
				page.Instances = []orchestrator.Row{}
			}
			return &answer[cluster.Page]{page}, err
		})
	add(s, route{id: "count-instances", method: http.MethodGet, path: "/api/v1/count", tag: tag, role: Viewer, summary: "Count instances"},
		func(ctx context.Context, in *struct{ Asked }) (*answer[cluster.Tally], error) {
			n, err := s.desk.Count(ctx, in.query())
			return &answer[cluster.Tally]{n}, err
		})
	add(s, route{id: "census", method: http.MethodGet, path: "/api/v1/census", tag: tag, role: Viewer, summary: "Count instances by type, version and status"},
		func(ctx context.Context, _ *struct{}) (*answer[cluster.Census], error) {
			c, err := s.desk.Census(ctx)
			if c.Rows == nil {
				c.Rows = []orchestrator.CensusRow{}
			}
			return &answer[cluster.Census]{c}, err
		})
	add(s, route{id: "get-instance", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}", tag: tag, role: Viewer, summary: "Show an instance"}, s.getInstance)
	add(s, route{id: "get-history", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}/history", tag: tag, role: Viewer, summary: "Lifecycle of an instance"},
		func(ctx context.Context, in *struct {
			Named
			After uint64 `query:"after" doc:"Only facts with a higher number"`
		}) (*answer[orchestrator.History], error) {
			wid, err := in.workflowID()
			if err != nil {
				return nil, err
			}
			h, err := s.desk.History(ctx, wid, in.After)
			return &answer[orchestrator.History]{h}, err
		})
	add(s, route{id: "get-messages", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}/messages", tag: tag, role: Viewer,
		summary: "Records that an instance received and sent", description: "By time, with topic, partition and offset. Tokens of commands are left out."},
		func(ctx context.Context, in *struct{ Named }) (*answer[orchestrator.Messages], error) {
			wid, err := in.workflowID()
			if err != nil {
				return nil, err
			}
			m, err := s.desk.Messages(ctx, wid)
			return &answer[orchestrator.Messages]{m}, err
		})
	add(s, route{id: "wait-instance", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}/wait", tag: tag, role: Viewer, long: true,
		summary: "Wait until an instance ends", description: "Answers with the instance when it has ended or needs a person, or when the time is over: look at its status. An instance that has not started yet is waited for as well."}, s.waitInstance)
	add(s, route{id: "explain-instance", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}/explain", tag: tag, role: Viewer, summary: "Say why an instance is not moving",
		description: "Joined with what Kafka knows of its commands, and with what an operator can do next."},
		func(ctx context.Context, in *struct{ Named }) (*answer[explain.Explanation], error) {
			wid, err := in.workflowID()
			if err != nil {
				return nil, err
			}
			e, err := s.desk.Explain(ctx, wid)
			return &answer[explain.Explanation]{e}, err
		})
}

func (s *server) getInstance(ctx context.Context, in *struct {
	Named
	Stale       string `query:"stale" enum:"true,false" doc:"Any copy may answer; says how far it may be behind"`
	After       string `query:"after" doc:"A position, such as control/3@1042: the answer contains what was written there"`
	IfNoneMatch string `header:"If-None-Match"`
}) (*viewed, error) {
	wid, err := in.workflowID()
	if err != nil {
		return nil, err
	}
	after, err := orchestrator.ParsePosition(in.After)
	if err != nil {
		return nil, err
	}
	stale := in.Stale == "true"
	inst, err := s.desk.Get(ctx, wid, cluster.How{Stale: stale, After: after})
	if err != nil {
		if inst.Node == "" {
			return nil, err
		}
		return nil, huma.ErrorWithHeaders(s.fail("get-instance", err), http.Header{HeaderNode: {inst.Node}})
	}
	out := &viewed{Node: inst.Node, ETag: etagOf(inst.View.Rev), Body: inst.View}
	if stale {
		behind := inst.Behind
		if behind == nil {
			behind = new(cluster.Behind)
		}
		out.LagRecords, out.LagMillis = strconv.FormatInt(behind.Records, 10), strconv.FormatInt(behind.Millis, 10)
	}
	if matches(in.IfNoneMatch, out.ETag) {
		return nil, huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {out.ETag}, HeaderNode: {inst.Node}})
	}
	return out, nil
}

// matches says whether a header with entity tags names one.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == etag || one == "*" {
			return true
		}
	}
	return false
}

const (
	waitDefault = 30 * time.Second
	waitMax     = 2 * time.Minute
	waitEvery   = 100 * time.Millisecond
)

func (s *server) waitInstance(ctx context.Context, in *struct {
	Named
	Timeout string `query:"timeout" doc:"Such as 30s, at most 2m" default:"30s"`
}) (*viewed, error) {
	wid, err := in.workflowID()
	if err != nil {
		return nil, err
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil || timeout <= 0 || timeout > waitMax {
		return nil, invalid("timeout is not a duration of at most " + waitMax.String())
	}
	until := time.NewTimer(timeout)
	defer until.Stop()
	every := waitEvery
	for {
		inst, err := s.desk.Get(ctx, wid, cluster.How{})
		if err == nil && (ended(inst.View) || inst.View.Status == sagas.StatusAttention) {
			return &viewed{Node: inst.Node, ETag: etagOf(inst.View.Rev), Body: inst.View}, nil
		}
		if err != nil && !waitsFor(err) {
			return nil, err
		}
		pause := time.NewTimer(every)
		every = min(every*3/2, time.Second)
		select {
		case <-pause.C:
			if s.engine.Draining() {
				until.Reset(0)
			}
		case <-until.C:
			pause.Stop()
			if err != nil {
				return nil, err
			}
			return &viewed{Node: inst.Node, ETag: etagOf(inst.View.Rev), Body: inst.View}, nil
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
	}
}

func ended(v sagas.View) bool {
	return slices.Contains([]string{sagas.Completed.String(), sagas.Compensated.String(), sagas.Closed.String(), sagas.Marker.String()}, v.Phase)
}
