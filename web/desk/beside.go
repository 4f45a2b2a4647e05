package desk

import (
	"net/http"
	"strings"

	"github.com/amendsio/amends/web"
)

// Beside serves the pages and the API on one listener. A path of the pages goes to them; so does a path
// that nobody has when a browser asks, so that a mistyped address shows a page.
func Beside(api http.Handler, d Options, o web.Options) http.Handler {
	pages := web.New(New(api, d), o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if web.Owns(first) || apiOwns[first] == 0 && strings.Contains(r.Header.Get("Accept"), "text/html") {
			pages.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// apiOwns are the first segments of the paths that the API answers.
var apiOwns = map[string]int{"api": 1, "internal": 1, "livez": 1, "readyz": 1, "metrics": 1, "docs": 1, "openapi.json": 1, "openapi.yaml": 1, "schemas": 1}
