package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
)

// maxWorkflowID bounds the path of a request before it is looked up.
const maxWorkflowID = 512

func (s *server) getInstance(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("type") + "/" + r.PathValue("id")
	if r.PathValue("id") == "" || len(id) > maxWorkflowID {
		s.fail(w, r, invalid(fmt.Sprintf("a workflow ID is <type>/<id> of at most %d bytes", maxWorkflowID)))
		return
	}
	after, err := orchestrator.ParsePosition(r.URL.Query().Get("after"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	stale := r.URL.Query().Has("stale")
	inst, err := s.reader.Get(r.Context(), id, cluster.How{Stale: stale, After: after})
	if inst.Node != "" {
		w.Header().Set(HeaderNode, inst.Node)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if stale {
		behind := inst.Behind
		if behind == nil {
			behind = new(cluster.Behind)
		}
		w.Header().Set(HeaderLagRecords, strconv.FormatInt(behind.Records, 10))
		w.Header().Set(HeaderLagMillis, strconv.FormatInt(behind.Millis, 10))
	}
	etag := `"` + strconv.FormatUint(inst.View.Rev, 10) + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeJSON(w, inst.View)
}

func (s *server) listInstances(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r.URL.Query())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page, err := s.reader.List(r.Context(), q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if page.Instances == nil {
		page.Instances = []orchestrator.Row{}
	}
	writeJSON(w, page)
}

func queryOf(v url.Values) (cluster.Query, error) {
	q := cluster.Query{CEL: v.Get("query"), Status: v.Get("status"), Type: v.Get("type"), Cursor: v.Get("cursor"), Partial: v.Get("partial") == "true"}
	for k := range v {
		if !strings.Contains(" query status type limit cursor partial ", " "+k+" ") {
			return q, invalid("unknown parameter " + strconv.Quote(k))
		}
	}
	if v := v.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return q, invalid("limit is not a positive number")
		}
		q.Limit = n
	}
	return q, nil
}

func invalid(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: cause}
}

func (s *server) listDefinitions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"definitions": s.engine.Definitions()})
}
