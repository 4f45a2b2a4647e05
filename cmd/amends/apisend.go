package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
)

// post sends a body and reads the answer. Each call has a key of its own, so that a proxy that repeats it
// changes nothing twice.
func (c *apiClient) post(ctx context.Context, path string, q url.Values, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	header := map[string]string{"Content-Type": "application/json", "Idempotency-Key": rand.Text()}
	return c.ask(ctx, http.MethodPost, path, q, header, raw, into)
}
