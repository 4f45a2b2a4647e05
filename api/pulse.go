package api

import (
	"context"
	"net/http"
	"time"

	"github.com/amendsio/amends/cluster"
)

// pulseRoutes are about how sagas do over time.
func (s *server) pulseRoutes() {
	const tag = "pulse"
	add(s, route{id: "pulse", method: http.MethodGet, path: "/api/v1/pulse", tag: tag, role: Viewer, summary: "How sagas did over time, and what changed",
		description: "Starts and ends by even parts of a window, with times; new versions, activations, starts of processes, partitions that moved and topics that took nothing. " +
			"From counters in the memory of the processes: since says from when on all of them count."},
		func(ctx context.Context, in *struct {
			Window string `query:"window" doc:"How far back, up to 24h" default:"24h"`
			Parts  int    `query:"parts" minimum:"1" maximum:"288" default:"48" doc:"Into so many parts of whole minutes"`
			Type   string `query:"type" doc:"Of one saga only"`
			Steps  bool   `query:"steps" doc:"Also the steps of each version"`
		}) (*answer[cluster.Pulse], error) {
			length, err := time.ParseDuration(in.Window)
			if err != nil || length <= 0 {
				return nil, invalid("window is not a duration")
			}
			p, err := s.desk.Pulse(ctx, cluster.Window{Length: length, Parts: in.Parts, Type: in.Type, Steps: in.Steps})
			return &answer[cluster.Pulse]{p}, err
		})
	add(s, route{id: "definition-stands", method: http.MethodGet, path: "/api/v1/definitions/{type}/stands", tag: "definitions", role: Viewer,
		summary: "At which steps running instances are, by version", description: "An instance at several steps is counted at each."},
		func(ctx context.Context, in *struct {
			Type string `path:"type"`
		}) (*answer[cluster.Stands], error) {
			out, err := s.desk.Stands(ctx, in.Type)
			return &answer[cluster.Stands]{out}, err
		})
}
