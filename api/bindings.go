package api

import (
	"context"
	"net/http"
	"time"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/orchestrator"
)

// bindingRoutes are about the bindings of active versions. What people do with them is kept like what they do
// with dead letters.
func (s *server) bindingRoutes() {
	const tag = "bindings"
	type bindingList struct {
		Bindings []orchestrator.BindingInfo `json:"bindings"`
	}
	add(s, route{id: "list-bindings", method: http.MethodGet, path: "/api/v1/bindings", tag: tag, role: Viewer, summary: "List the topics that start and signal sagas",
		description: "With their lag; tasks and problems are those of the process that answers."},
		func(ctx context.Context, _ *struct{}) (*answer[bindingList], error) {
			list, err := s.engine.Bindings(ctx)
			return &answer[bindingList]{bindingList{list}}, err
		})
	hold := func(verb string, paused bool, summary, description string) {
		add(s, route{id: verb + "-binding", method: http.MethodPost, path: "/api/v1/bindings/{type}/{name}/" + verb, tag: tag, role: Operator, summary: summary, description: description},
			func(ctx context.Context, in *struct {
				Type string `path:"type"`
				Name string `path:"name"`
				Body struct {
					By     string `json:"by,omitempty"`
					Reason string `json:"reason" minLength:"1" maxLength:"500"`
				}
			}) (*answer[orchestrator.BindingInfo], error) {
				if err := s.mayChange(); err != nil {
					return nil, err
				}
				by, err := actor(ctx, "by", in.Body.By)
				if err != nil {
					return nil, err
				}
				b, err := s.engine.HoldBinding(ctx, in.Type+"/"+in.Name, paused, by, in.Body.Reason)
				return &answer[orchestrator.BindingInfo]{b}, err
			})
	}
	hold("pause", true, "Stop reading, in all processes", "The position stays. Instances go on.")
	hold("resume", false, "Go on where it stopped", "What the retention of the topic has deleted meanwhile is lost.")
	add(s, route{id: "replay-binding", method: http.MethodPost, path: "/api/v1/bindings/{type}/{name}/replay", tag: tag, role: Operator, long: true,
		summary: "Read a part of the topic again", description: "By the times of its records. Events keep their ids, so what instances know already changes nothing. With dryRun nothing is written."},
		func(ctx context.Context, in *struct {
			Changing
			Type string `path:"type"`
			Name string `path:"name"`
			Body struct {
				From   time.Time `json:"from"`
				To     time.Time `json:"to,omitzero" required:"false" doc:"Absent: now"`
				By     string    `json:"by,omitempty"`
				Reason string    `json:"reason" minLength:"1" maxLength:"500"`
			}
		}) (*answer[bindings.Reread], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			by, err := actor(ctx, "by", in.Body.By)
			if err != nil {
				return nil, err
			}
			var to int64
			if !in.Body.To.IsZero() {
				if to = in.Body.To.UnixMilli(); to <= in.Body.From.UnixMilli() {
					return nil, invalid("to is not after from")
				}
			}
			out, err := s.engine.ReplayBinding(ctx, in.Type+"/"+in.Name, in.Body.From.UnixMilli(), to, in.DryRun, by, in.Body.Reason)
			return &answer[bindings.Reread]{out}, err
		})
}
