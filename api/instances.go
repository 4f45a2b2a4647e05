package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// peerBytes bounds the answer of another process.
const peerBytes = 8 << 20

// maxWorkflowID bounds the path of a request before it is looked up.
const maxWorkflowID = 512

func (s *server) getInstance(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("type") + "/" + r.PathValue("id")
	if r.PathValue("id") == "" || len(id) > maxWorkflowID {
		s.fail(w, r, &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid,
			Cause: fmt.Sprintf("a workflow ID is <type>/<id> of at most %d bytes", maxWorkflowID)})
		return
	}
	view, err := s.get(w, r, id)
	var moved *orchestrator.MovedError
	switch {
	case errors.As(err, &moved) && r.Header.Get(headerHop) != "":
		// We were asked as the owner and are not: the other side's map is old.
		s.fail(w, r, movingError("the owner has just changed"))
	case errors.As(err, &moved):
		s.relay(w, r, moved.Address)
	case err != nil:
		s.fail(w, r, err)
	default:
		etag := `"` + strconv.FormatUint(view.Rev, 10) + `"`
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		writeJSON(w, view)
	}
}

// get answers from the owner's store, or with ?stale from whatever copy is here, and then says how far
// it may be behind.
func (s *server) get(w http.ResponseWriter, r *http.Request, id string) (sagas.View, error) {
	if !r.URL.Query().Has("stale") {
		return s.engine.Get(r.Context(), id)
	}
	view, lag, err := s.engine.GetStale(r.Context(), id)
	if err == nil {
		w.Header().Set(HeaderLagRecords, strconv.FormatInt(lag.Records, 10))
		w.Header().Set(HeaderLagMillis, strconv.FormatInt(lag.Age.Milliseconds(), 10))
	}
	return view, err
}

// relay passes the owner's answer on.
func (s *server) relay(w http.ResponseWriter, r *http.Request, owner string) {
	resp, err := s.ask(r.Context(), owner, r.URL.EscapedPath(), r.Header.Get("If-None-Match"))
	if err != nil {
		s.log.Warn("owner cannot be asked", "owner", owner, "err", err)
		s.fail(w, r, movingError("the owner of the instance does not answer"))
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{"Content-Type", "ETag", "Retry-After", HeaderNode} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, peerBytes))
}

func (s *server) ask(ctx context.Context, owner, path, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+owner+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(headerHop, "1")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	return s.client.Do(req)
}

func (s *server) listInstances(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r.URL.Query())
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page, err := s.engine.List(f)
	if err == nil && r.Header.Get(headerHop) == "" {
		page, err = s.withPeers(r.Context(), f, page)
		page.Tasks = nil
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if page.Instances == nil {
		page.Instances = []orchestrator.Row{}
	}
	writeJSON(w, page)
}

// withPeers asks every other owner and merges. An owner that does not answer makes the whole list
// fail: a list with a hole looks like a complete one.
func (s *server) withPeers(ctx context.Context, f orchestrator.Filter, own orchestrator.Page) (orchestrator.Page, error) {
	owners, err := s.engine.Owners(ctx)
	if err != nil {
		return own, err
	}
	query := url.Values{}
	for k, v := range map[string]string{"status": f.Status, "type": f.Type, "cursor": f.Cursor} {
		if v != "" {
			query.Set(k, v)
		}
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	pages := make([]orchestrator.Page, len(owners)+1)
	errs := make([]error, len(owners))
	pages[len(owners)] = own
	var asked sync.WaitGroup
	for i, owner := range owners {
		asked.Go(func() { pages[i], errs[i] = s.askPage(ctx, owner, query) })
	}
	asked.Wait()
	if err := errors.Join(errs...); err != nil {
		s.log.Warn("peer cannot be asked", "err", err)
		return own, movingError("not every owner answers")
	}
	page := orchestrator.MergePages(f.Limit, pages...)
	if !s.engine.Complete(page) {
		return page, movingError("a part of the instances is changing hands")
	}
	return page, nil
}

func (s *server) askPage(ctx context.Context, owner string, query url.Values) (orchestrator.Page, error) {
	var page orchestrator.Page
	resp, err := s.ask(ctx, owner, "/api/v1/instances?"+query.Encode(), "")
	if err != nil {
		return page, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return page, fmt.Errorf("%s answers %s", owner, resp.Status)
	}
	return page, json.NewDecoder(io.LimitReader(resp.Body, peerBytes)).Decode(&page)
}

func filterOf(q url.Values) (orchestrator.Filter, error) {
	f := orchestrator.Filter{Status: q.Get("status"), Type: q.Get("type"), Cursor: q.Get("cursor")}
	for k := range q {
		if !strings.Contains(" status type limit cursor ", " "+k+" ") {
			return f, invalid("unknown parameter " + strconv.Quote(k))
		}
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return f, invalid("limit is not a positive number")
		}
		f.Limit = n
	}
	return f, nil
}

func invalid(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: cause}
}

func movingError(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeMoving, Class: orchestrator.ErrMoving, Cause: cause, Fix: "Ask again in a moment."}
}

func (s *server) listDefinitions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"definitions": s.engine.Definitions()})
}
