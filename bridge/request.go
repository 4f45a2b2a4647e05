package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Limits of what a command fills in.
const (
	maxParam = 1 << 10 // bytes of one parameter, query value or header
	maxURL   = 8 << 10 // bytes of a URL
)

var errParam = errors.New("cannot be used in a request")

// values shows a call to the expressions of its request.
func (c *call) values() (*sagas.RecordValues, error) {
	v := &sagas.RecordValues{}
	payload := c.payload
	if len(bytes.TrimSpace(payload)) == 0 {
		payload = []byte("{}")
	}
	v.Reset(payload, c.cmd.Key)
	about, err := json.Marshal(map[string]any{
		"name": c.cmd.Name, "op": c.cmd.Op, "key": c.cmd.Key, "forwardKey": c.cmd.ForwardKey, "workflowId": c.cmd.WorkflowID,
		"definition": c.cmd.Definition, "attempt": c.cmd.Attempt, "known": c.known,
	})
	if err == nil {
		err = v.Set("command", about)
	}
	if err == nil {
		output := c.output
		if len(output) == 0 {
			output = []byte("{}")
		}
		err = v.Set("output", output)
	}
	return v, err
}

// request builds the request of a call. The URL is that of the file, but for the parameters.
func (o *operation) request(ctx context.Context, c *call, now time.Time) (*http.Request, error) {
	v, err := c.values()
	if err != nil {
		return nil, err
	}
	u, err := o.url(v)
	if err != nil {
		return nil, err
	}
	var body []byte
	switch {
	case o.body != nil:
		if body, err = o.body.value(v); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	case !o.bare:
		if body = c.payload; len(bytes.TrimSpace(body)) == 0 {
			body = []byte("{}")
		}
	}
	var reader *bytes.Reader
	req := (&http.Request{Method: o.method, URL: u, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if body != nil {
		reader = bytes.NewReader(body)
		if req, err = http.NewRequestWithContext(ctx, o.method, "http://placeholder/", reader); err != nil {
			return nil, err
		}
		req.URL, req.Host = u, u.Host
		req.Header.Set("Content-Type", protocol.ContentJSON)
	}
	req.Header.Set("Accept", protocol.ContentJSON)
	req.Header.Set("User-Agent", "amends-bridge")
	for _, h := range o.dest.headers {
		value, err := h.value.get(now)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.name, err)
		}
		req.Header.Set(h.name, value)
	}
	for _, h := range o.headers {
		value, err := h.value(v)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.name, err)
		}
		if !headerValue(value) {
			return nil, fmt.Errorf("header %s: the value has control characters: %w", h.name, errParam)
		}
		req.Header.Set(h.name, value)
	}
	req.Header.Set(o.dest.keyHeader, c.cmd.Key)
	if c.cmd.Trace != "" && headerValue(c.cmd.Trace) {
		req.Header.Set("traceparent", c.cmd.Trace)
	}
	return req, nil
}

// url fills the template. Each parameter is one segment, or a part of one, whatever is in it.
func (o *operation) url(v *sagas.RecordValues) (*url.URL, error) {
	path := o.dest.base.EscapedPath()
	for _, s := range o.path {
		if s.param == nil {
			path += s.text
			continue
		}
		value, err := named{expr: s.param}.value(v)
		if err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
		if value == "" {
			return nil, fmt.Errorf("path: a parameter is empty: %w", errParam)
		}
		path += url.PathEscape(value)
	}
	if !plainPath(path) {
		return nil, fmt.Errorf("path: a parameter would change the path: %w", errParam)
	}
	raw, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", errParam)
	}
	u := &url.URL{Scheme: o.dest.base.Scheme, Host: o.dest.base.Host, Path: raw, RawPath: path}
	if len(o.query) > 0 {
		q := url.Values{}
		for _, n := range o.query {
			value, err := n.value(v)
			if err != nil {
				return nil, fmt.Errorf("query %s: %w", n.name, err)
			}
			q.Set(n.name, value)
		}
		u.RawQuery = q.Encode()
	}
	if len(u.String()) > maxURL {
		return nil, fmt.Errorf("the URL has more than %d bytes: %w", maxURL, errParam)
	}
	return u, nil
}

// value is the text of a header, a parameter or a value of the query.
func (n named) value(v *sagas.RecordValues) (string, error) {
	if n.expr == nil {
		return n.text, nil
	}
	return text(v, n.expr)
}

// text evaluates an expression that gives a string or a whole number.
func text(v *sagas.RecordValues, x *sagas.RecordExpr) (string, error) {
	raw, has, err := v.Append(nil, x)
	switch {
	case err != nil:
		return "", err
	case !has:
		return "", errNothing
	case len(raw) > 6*maxParam:
		return "", fmt.Errorf("more than %d bytes: %w", maxParam, errParam)
	}
	s := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", err
		}
	} else if strings.ContainsAny(s, "{[tfn.eE") {
		return "", fmt.Errorf("want a string or a whole number: %w", errParam)
	}
	if len(s) > maxParam {
		return "", fmt.Errorf("more than %d bytes: %w", maxParam, errParam)
	}
	return s, nil
}
