package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// apiClient asks the API of any process.
type apiClient struct {
	base  string
	token string // of --api-token; empty = none
	http  http.Client
}

// api asks the process that the connection names.
func (c *connection) api() *apiClient {
	a := newAPIClient(c.Server)
	a.token = c.APIToken
	return a
}

func newAPIClient(server string) *apiClient {
	return &apiClient{base: server, http: http.Client{Timeout: 10 * time.Second}}
}

// movingPatience is how long a question is repeated while a partition changes hands.
const movingPatience = 15 * time.Second

func (c *apiClient) instance(ctx context.Context, workflowID string) (sagas.View, error) {
	var v sagas.View
	typ, id := sagas.SplitWorkflowID(workflowID)
	return v, c.get(ctx, "/api/v1/instances/"+url.PathEscape(typ)+"/"+api.EscapeID(id), nil, &v)
}

// get asks once, and again for a while when the answer is that a partition moves.
func (c *apiClient) get(ctx context.Context, path string, q url.Values, into any) error {
	until := time.Now().Add(movingPatience)
	for {
		err := c.once(ctx, path, q, into)
		if !errors.Is(err, orchestrator.ErrMoving) || time.Now().After(until) {
			return err
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (c *apiClient) once(ctx context.Context, path string, q url.Values, into any) error {
	return c.ask(ctx, http.MethodGet, path, q, nil, nil, into)
}

// ask sends one request, with a body or without (nil), and reads the answer.
func (c *apiClient) ask(ctx context.Context, method, path string, q url.Values, header map[string]string, body []byte, into any) error {
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return usage("--server %s: %w", c.base, err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: orchestrator.ErrUnreachable, Err: err,
			Cause: "the API at " + c.base + " does not answer", Fix: "Name a running amends process with --server."}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode != http.StatusOK && (method == http.MethodGet || resp.StatusCode/100 != 2) {
		return problemError(resp.StatusCode, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the answer of %s is not ours: %w", c.base, err)
	}
	return nil
}

func problemError(status int, body []byte) error {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		p = api.Problem{Code: orchestrator.CodeInternal, Detail: fmt.Sprintf("the API answers %d", status)}
	}
	e := &orchestrator.Error{Code: p.Code, Cause: p.Detail, Fix: p.Hint}
	if e.Cause == "" {
		e.Cause = fmt.Sprintf("the API answers %d", status)
	}
	switch status {
	case http.StatusNotFound:
		e.Class = orchestrator.ErrNotFound
	case http.StatusConflict:
		e.Class = orchestrator.ErrConflict
	case http.StatusBadRequest:
		e.Class = orchestrator.ErrInvalid
	case http.StatusServiceUnavailable:
		e.Class = orchestrator.ErrMoving
	default:
		e.Class = errors.New("the API failed")
	}
	return e
}

// pause waits, and says false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
