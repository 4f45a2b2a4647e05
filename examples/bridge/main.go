// Command bridge is a payment provider with an HTTP API, for the example: see README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8027", "address of the API")
	flag.Parse()
	srv := &http.Server{Addr: *listen, Handler: newProvider(os.Getenv("PSP_KEY")), ReadHeaderTimeout: 5 * time.Second}
	if err := srv.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, "bridge:", err)
		os.Exit(1)
	}
}

// provider authorises payments of at most 1000. The same Idempotency-Key has the same answer and no second
// effect.
type provider struct {
	apiKey string

	mu      sync.Mutex
	answers map[string]answer // by method and idempotency key
	open    map[string]bool   // authorisations
}

type answer struct {
	status int
	body   map[string]any
}

func newProvider(apiKey string) *provider {
	return &provider{apiKey: apiKey, answers: map[string]answer{}, open: map[string]bool{}}
}

func (p *provider) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	if req.Header.Get("X-Api-Key") != p.apiKey {
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	in := struct{ Amount int }{}
	if req.Method == http.MethodPost {
		src, err := io.ReadAll(io.LimitReader(req.Body, 64<<10))
		if err != nil || json.Unmarshal(src, &in) != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	key := req.Header.Get("Idempotency-Key")
	p.mu.Lock()
	defer p.mu.Unlock()
	a, found := p.answers[req.Method+key]
	if !found {
		if a = p.act(req, key, in.Amount); req.Method != http.MethodGet {
			p.answers[req.Method+key] = a
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(a.status)
	_ = json.NewEncoder(rw).Encode(a.body)
}

func (p *provider) act(req *http.Request, key string, amount int) answer {
	id := strings.TrimPrefix(req.URL.Path, "/v1/authorisations/")
	switch {
	case req.Method == http.MethodPost && amount > 1000:
		return answer{http.StatusPaymentRequired, map[string]any{"error": "NO_FUNDS"}}
	case req.Method == http.MethodPost:
		id = "auth-" + key
		p.open[id] = true
		return answer{http.StatusCreated, map[string]any{"id": id}}
	case !p.open[id]:
		return answer{http.StatusNotFound, map[string]any{"error": "NOT_FOUND"}}
	case req.Method == http.MethodDelete:
		delete(p.open, id)
	}
	return answer{http.StatusOK, map[string]any{"id": id}}
}
