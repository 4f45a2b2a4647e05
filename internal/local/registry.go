package local

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/amendsio/amends/protocol"
)

// Registry is a schema registry in this process, in memory. It speaks the interface of Confluent's and holds
// the schemas of our own records, so that tools that look schemas up find them. Nothing of the engine
// asks it: our records name their schema by its fingerprint.
type Registry struct {
	Addr    string // host:port
	Schemas int
	server  *http.Server
	done    chan struct{}
}

// StartRegistry listens on addr. Each schema is under the subject that is its full name, as the record name
// strategy has it.
func StartRegistry(addr string) (*Registry, error) {
	fake := srfake.NewRegistry()
	names := protocol.SchemaNames()
	for _, name := range names {
		if _, _, err := fake.RegisterSchema("amends.v1."+name, sr.Schema{Schema: protocol.Schema(name), Type: sr.TypeAvro}); err != nil {
			return nil, fmt.Errorf("register schema %s: %w", name, err)
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the registry: %w", err)
	}
	r := &Registry{Addr: l.Addr().String(), Schemas: len(names), done: make(chan struct{}),
		server: &http.Server{Handler: fake.Handler(), ReadHeaderTimeout: 5 * time.Second}}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(l) // ends by Close
	}()
	return r, nil
}

// Close stops the registry.
func (r *Registry) Close() {
	_ = r.server.Close()
	<-r.done
}
