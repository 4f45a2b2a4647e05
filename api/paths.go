package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const instancesPath = "/api/v1/instances/"

// below are what follows the id of an instance in a path.
var below = []string{"history", "messages", "wait", "explain", "events", "actions", "signals", "cancel"}

// joinID makes one segment of an id with slashes, which clients need not escape: /instances/pay/a/b/history is
// that of pay/a%2Fb. An id that ends in one of our own words has to be escaped.
func joinID(r *http.Request) {
	bareStale(r)
	path := r.URL.EscapedPath()
	rest, ok := strings.CutPrefix(path, instancesPath)
	if !ok {
		return
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 3 {
		return
	}
	typ, id := parts[0], parts[1:]
	var tail []string
	switch n := len(id); {
	case slices.Contains(below, id[n-1]):
		id, tail = id[:n-1], id[n-1:]
	case n >= 3 && id[n-2] == "actions":
		id, tail = id[:n-2], id[n-2:]
	}
	if len(id) < 2 {
		return
	}
	joined := instancesPath + strings.Join(append([]string{typ, strings.Join(id, "%2F")}, tail...), "/")
	if plain, err := url.PathUnescape(joined); err == nil {
		u := *r.URL
		u.Path, u.RawPath = plain, joined
		r.URL = &u
	}
}

// EscapeID is an id as clients write it in a path. Slashes stay, which every proxy takes, unless its end could be
// taken for one of our own words.
func EscapeID(id string) string {
	parts := strings.Split(id, "/")
	if n := len(parts); n > 1 && slices.Contains(below, parts[n-1]) || n > 2 && parts[n-2] == "actions" {
		return url.PathEscape(id)
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// bareStale takes ?stale for ?stale=true.
func bareStale(r *http.Request) {
	if !strings.Contains(r.URL.RawQuery, "stale") {
		return
	}
	if q := r.URL.Query(); q.Has("stale") && q.Get("stale") == "" {
		q.Set("stale", "true")
		u := *r.URL
		u.RawQuery = q.Encode()
		r.URL = &u
	}
}
