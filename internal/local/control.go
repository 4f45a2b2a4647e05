package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A local cluster is steered from another terminal through a socket file that only its user can reach: so
// no web page and no other user can kill a node.

// ControlPath is the socket of the cluster whose first node serves at that port.
func ControlPath(port string) string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(os.TempDir(), "amends-"+strconv.Itoa(os.Getuid()))
	}
	return filepath.Join(dir, "amends-dev-"+port+".sock")
}

// NodeStatus is one node of a Status.
type NodeStatus struct {
	Name  string `json:"name"`
	API   string `json:"api"`
	Dead  bool   `json:"dead"`
	Tasks int    `json:"tasks"`
}

// Status is what a cluster says of itself.
type Status struct {
	Brokers  []string      `json:"brokers"`
	Nodes    []NodeStatus  `json:"nodes"`
	Now      time.Time     `json:"now"`      // of the nodes
	Advanced time.Duration `json:"advanced"` // that the nodes are ahead of the machine
}

// killPatience bounds how long a kill waits for the others.
const killPatience = 2 * time.Minute

// Status says what runs.
func (c *Cluster) Status() Status {
	s := Status{Brokers: c.Brokers, Now: c.Clock.Now().UTC(), Advanced: c.Clock.Offset()}
	for _, n := range c.Nodes {
		one := NodeStatus{Name: n.Name, API: "http://" + n.Addr, Dead: n.Dead()}
		if !one.Dead {
			one.Tasks = n.Tasks()
		}
		s.Nodes = append(s.Nodes, one)
	}
	return s
}

// KillRequest and ClockRequest are the bodies of POST /kill and POST /clock.
type (
	KillRequest struct {
		Node string `json:"node"`
		Load int    `json:"load"`
	}
	ClockRequest struct {
		Advance time.Duration `json:"advance"`
	}
)

// ServeControl takes commands until the returned function is called.
func (c *Cluster) ServeControl() (stop func(), err error) {
	_, port, err := net.SplitHostPort(c.Nodes[0].Addr)
	if err != nil {
		return nil, err
	}
	path := ControlPath(port)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	_ = os.Remove(path) // of one that was killed: its port is ours now, so it is not there
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Status(), nil) })
	mux.HandleFunc("POST /kill", func(w http.ResponseWriter, r *http.Request) {
		var req KillRequest
		if !decode(w, r, &req) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), killPatience)
		defer cancel()
		killed, err := c.KillNode(ctx, req.Node, req.Load)
		answer(w, killed, err)
	})
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		var req ClockRequest
		if !decode(w, r, &req) {
			return
		}
		err := c.Advance(req.Advance)
		answer(w, c.Status(), err)
	})
	ctx, cancel := context.WithCancel(context.Background())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends by Close
	}()
	return func() {
		cancel()
		_ = srv.Close()
		<-done
	}, nil
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, ErrNoSuchNode):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		_ = json.NewEncoder(w).Encode(v) // the caller is gone: nobody to tell
	}
}
