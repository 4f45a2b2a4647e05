package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/web"
)

// maxAnswer bounds the answer of the API.
const maxAnswer = 32 << 20

// answer takes what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	over   bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		a.over = true
		return 0, fmt.Errorf("the answer is over %d bytes", maxAnswer)
	}
	return a.body.Write(b)
}

// withHeader takes an answer with its headers.
type withHeader struct {
	out    any
	header *http.Header
}

// request asks the API. in is the body, nil = none. out is filled from the answer;
// nil: the answer is not looked at, a *http.Header: only its headers are, a *withHeader: both.
func (d *desk) request(ctx context.Context, method, path string, query url.Values, in, out any, header ...string) error {
	target := "http://" + d.host + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return &web.Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "This cannot be sent", Detail: "an argument is no JSON"}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, target, &body)
	if err != nil {
		return &web.Problem{Status: http.StatusBadRequest, Code: "BAD_REQUEST", Title: "There is no such address"}
	}
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), d.remote
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if d.token != "" {
		r.Header.Set("Authorization", "Bearer "+d.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a := &answer{header: http.Header{}}
	d.s.api.ServeHTTP(a, r)
	if h, ok := out.(*http.Header); ok {
		*h = a.header
		return nil
	}
	if h, ok := out.(*withHeader); ok {
		*h.header, out = a.header, h.out
	}
	switch {
	case a.over:
		return &web.Problem{Status: http.StatusInternalServerError, Code: "TOO_LARGE", Title: "The answer is too large for a page"}
	case a.status >= 400 || a.status == 0:
		return problem(a)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(a.body.Bytes(), out); err != nil {
		return &web.Problem{Status: http.StatusInternalServerError, Code: "INTERNAL", Title: "The answer cannot be read"}
	}
	return nil
}

func (d *desk) get(ctx context.Context, path string, query url.Values, out any) error {
	return d.request(ctx, http.MethodGet, path, query, nil, out)
}

// problem reads the problem of an answer.
func problem(a *answer) *web.Problem {
	var p struct{ Title, Code, Detail, Hint string }
	_ = json.Unmarshal(a.body.Bytes(), &p) // without it the status has to do
	out := &web.Problem{Status: max(a.status, 400), Code: p.Code, Title: p.Title, Detail: p.Detail, Hint: p.Hint}
	if words := titles[out.Status]; words != "" {
		out.Title = words
	}
	if out.Title == "" {
		out.Title = http.StatusText(out.Status)
	}
	if out.Code == "" {
		out.Code = "HTTP_" + fmt.Sprint(out.Status)
	}
	return out
}

var titles = map[int]string{
	401: "Nobody is signed in", 403: "This is not allowed", 404: "There is nothing here", 409: "It has changed meanwhile", 412: "It has changed meanwhile",
	422: "This does not fit", 503: "It is changing hands",
}

// instanceAPI is the address of an instance in the API: the id is one segment.
func instanceAPI(workflowID string) string {
	typ, id := sagas.SplitWorkflowID(workflowID)
	return "/api/v1/instances/" + url.PathEscape(typ) + "/" + strings.ReplaceAll(url.PathEscape(id), "/", "%2F")
}
