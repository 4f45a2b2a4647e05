package api

import (
	"bytes"
	"html/template"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// docsPage is made of the OpenAPI document alone: nothing in it comes from anywhere else.
var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>amends API</title>
<style>
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,.path{font-family:ui-monospace,monospace}h2{margin-top:2.5rem;border-bottom:1px solid}h3{margin:1.5rem 0 .25rem}
table{border-collapse:collapse;margin:.5rem 0}td{padding:.1rem .75rem .1rem 0;vertical-align:top}.role{float:right;font-size:.85em}
</style></head><body><main><h1>amends API</h1><p>{{.Info}}</p><p><a href="/openapi.json">openapi.json</a></p>
{{range .Tags}}<h2>{{.Name}}</h2>
{{range .Operations}}<section><h3 id="{{.ID}}"><span class="role">{{.Role}}</span><span class="path">{{.Method}} {{.Path}}</span></h3>
<p>{{.Summary}}.{{with .Description}} {{.}}{{end}}</p>
{{with .Params}}<table>{{range .}}<tr><td><code>{{.Name}}</code></td><td>{{.In}}</td><td>{{.Doc}}</td></tr>{{end}}</table>{{end}}
{{with .Body}}<table>{{range .}}<tr><td><code>{{.Name}}</code></td><td>body</td><td>{{.Doc}}</td></tr>{{end}}</table>{{end}}
</section>{{end}}{{end}}</main></body></html>
`))

type docsTag struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Role                                   any
	Params, Body                           []docsParam
}

type docsParam struct{ Name, In, Doc string }

// docs shows the operations as a plain page.
func (s *server) docs(w http.ResponseWriter, _ *http.Request) {
	spec := s.api.OpenAPI()
	var tags []docsTag
	for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
		item := spec.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil {
				continue
			}
			i := slices.IndexFunc(tags, func(t docsTag) bool { return t.Name == op.Tags[0] })
			if i < 0 {
				tags, i = append(tags, docsTag{Name: op.Tags[0]}), len(tags)
			}
			tags[i].Operations = append(tags[i].Operations, docsOf(spec, op))
		}
	}
	var page bytes.Buffer
	if err := docsPage.Execute(&page, map[string]any{"Info": spec.Info.Description, "Tags": tags}); err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = page.WriteTo(w) // the client is gone: nobody to tell
}

func docsOf(spec *huma.OpenAPI, op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description, Role: op.Extensions[extensionRole]}
	for _, p := range op.Parameters {
		d.Params = append(d.Params, docsParam{p.Name, p.In, p.Description})
	}
	if op.RequestBody == nil {
		return d
	}
	if media := op.RequestBody.Content["application/json"]; media != nil && media.Schema != nil {
		schema := media.Schema
		if schema.Ref != "" {
			schema = spec.Components.Schemas.SchemaFromRef(schema.Ref)
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			d.Body = append(d.Body, docsParam{name, "body", schema.Properties[name].Description})
		}
	}
	return d
}
