package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/amendsio/amends/orchestrator"
)

// post sends a body and reads the answer. Each call has a key of its own, so that a proxy that repeats it
// changes nothing twice.
func (c *apiClient) post(ctx context.Context, path string, q url.Values, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(raw))
	if err != nil {
		return usage("--server %s: %w", c.base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", rand.Text())
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
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return problemError(resp.StatusCode, answer)
	}
	return json.Unmarshal(answer, into)
}
