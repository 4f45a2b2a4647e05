package api

import (
	"errors"
	"strings"
	"testing"
)

func TestReadinessIsLatched(t *testing.T) {
	a, _, url := pair(t)
	status := func(path string) int {
		resp, _ := get(t, url+path)
		return resp.StatusCode
	}
	a.ready = errors.New("restoring")
	if got := status("/readyz"); got != 503 {
		t.Errorf("before: %d", got)
	}
	a.ready = nil
	if got := status("/readyz"); got != 200 {
		t.Errorf("ready: %d", got)
	}
	a.ready = errors.New("restoring what a neighbour left")
	if got := status("/readyz"); got != 200 {
		t.Errorf("after a rebalance: %d", got)
	}
	if resp, body := get(t, url+"/readyz?verbose"); resp.StatusCode != 200 || !strings.Contains(body, "neighbour") {
		t.Errorf("verbose: %d %s", resp.StatusCode, body)
	}
	a.draining = true
	if got := status("/readyz"); got != 503 || status("/livez") != 200 {
		t.Errorf("while it drains: %d", got)
	}
	a.draining = false
	a.live = errors.New("stalled")
	if status("/readyz") != 503 || status("/livez") != 503 {
		t.Error("a stalled process is reported as well")
	}
}
