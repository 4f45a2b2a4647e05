package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// heartbeat keeps proxies from closing a quiet stream.
const heartbeat = 20 * time.Second

// topics are what a page may listen to, beside one instance.
var topics = []string{"all", "cluster", "tasks", "batches", "letters", "bindings"}

// live is the stream of changes: an event "change" for each, with its id. What changed is not said; the
// page asks for itself.
func (s *server) live(w http.ResponseWriter, r *http.Request) {
	desk, err := s.source.As(r)
	if err != nil {
		http.Error(w, err.Error(), problemOf(err).Status)
		return
	}
	topic := r.URL.Query().Get("topic")
	if !slices.Contains(topics, topic) && !strings.HasPrefix(topic, "instance/") || len(topic) > 1024 {
		http.Error(w, "no such topic", http.StatusBadRequest)
		return
	}
	out := http.NewResponseController(w)
	changes, err := desk.Watch(r.Context(), topic, r.Header.Get("Last-Event-ID"))
	if err != nil {
		http.Error(w, problemOf(err).Title, problemOf(err).Status)
		return
	}
	_ = out.SetWriteDeadline(time.Time{}) // a stream has no end
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	fmt.Fprint(w, "retry: 2000\n\n")
	_ = out.Flush()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			fmt.Fprint(w, ":\n\n")
		case id, ok := <-changes:
			if !ok {
				return
			}
			fmt.Fprintf(w, "id: %s\nevent: change\ndata:\n\n", strings.ReplaceAll(id, "\n", ""))
		}
		if out.Flush() != nil {
			return
		}
	}
}
