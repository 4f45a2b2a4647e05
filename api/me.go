package api

import (
	"context"
	"net/http"
	"slices"
)

// Me is who asks, and what they may do here.
type Me struct {
	Name  string   `json:"name,omitempty" doc:"Whom the token names; absent without authentication"`
	Roles []string `json:"roles" doc:"Roles, and those that they include"`
	// Actions: this process takes changes over HTTP at all.
	Actions bool `json:"actions" doc:"This process takes changes over HTTP"`
}

func (s *server) meRoutes() {
	add(s, route{id: "me", method: http.MethodGet, path: "/api/v1/me", tag: "access", role: Viewer, summary: "Who asks, and what they may do",
		description: "Without authentication everybody who reaches the process has all roles."},
		func(ctx context.Context, _ *struct{}) (*answer[Me], error) {
			me := Me{Roles: []string{}, Actions: s.opts.Actions}
			p := PersonOf(ctx)
			if p != nil {
				me.Name = p.Name
			}
			for role := Viewer; role <= Admin; role++ {
				if p == nil || p.may(role) {
					me.Roles = append(me.Roles, role.String())
				}
			}
			slices.Sort(me.Roles)
			return &answer[Me]{me}, nil
		})
}
