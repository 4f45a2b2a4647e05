package api

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// readiness is latched: once ready, a process stays ready until it stops. A neighbour's restart moves
// partitions here, which have to be restored first; that must not take this process out of service
// for those it already has. While it drains it is not ready: nobody new should be sent here.
type readiness struct{ reached atomic.Bool }

func (s *server) livez(w http.ResponseWriter, r *http.Request) {
	answerProbe(w, r, "live", s.engine.Live())
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	now := s.engine.Ready()
	if now == nil {
		s.ready.reached.Store(true)
	}
	err := now
	if s.ready.reached.Load() && !s.engine.Draining() {
		err = s.engine.Live()
	}
	if r.URL.Query().Has("verbose") {
		status := http.StatusOK
		if err != nil {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, "live: %s\nshare: %s\nwas ready: %t\n", orOK(s.engine.Live()), orOK(now), s.ready.reached.Load())
		return
	}
	answerProbe(w, r, "ready", err)
}

func answerProbe(w http.ResponseWriter, r *http.Request, what string, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not %s: %v\n", what, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

func orOK(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
