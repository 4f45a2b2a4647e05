package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/amendsio/amends/asyncapi"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// asyncapiRoutes serve the description of what goes over Kafka.
func (s *server) asyncapiRoutes() {
	type document struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
	add(s, route{id: "get-asyncapi", method: http.MethodGet, path: "/api/v1/asyncapi", tag: "definitions", role: Viewer,
		summary: "Describe the topics as AsyncAPI 3", description: "Commands, replies, starts, signals and events of the active definitions."},
		func(context.Context, *struct{}) (*document, error) {
			var defs []*sagas.Definition
			for _, d := range s.engine.Definitions() {
				if !d.Active || d.Fault != "" {
					continue
				}
				source, err := s.engine.Definition(d.Type, d.Version)
				if errors.Is(err, orchestrator.ErrNotFound) {
					continue
				}
				if err != nil {
					return nil, err
				}
				def, err := sagas.ParseDefinition(d.Type, source.Source)
				if err != nil {
					return nil, fmt.Errorf("%s@%d: %w", d.Type, d.Version, err)
				}
				defs = append(defs, def)
			}
			doc, err := asyncapi.Document(asyncapi.Options{Namespace: s.opts.Namespace}, defs)
			if err != nil {
				return nil, err
			}
			return &document{asyncapi.ContentType, doc}, nil
		})
}
