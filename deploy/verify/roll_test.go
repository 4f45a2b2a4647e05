package verify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// hosts are three processes as the script sees them: /readyz of each, and a file that a restart writes.
type hosts struct {
	ready [3]atomic.Bool
	asked [3]atomic.Int64
	names []string
	log   string
}

func newHosts(t *testing.T) *hosts {
	h := &hosts{log: filepath.Join(t.TempDir(), "log")}
	for i := range h.ready {
		h.ready[i].Store(true)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.asked[i].Add(1)
			if r.URL.Path != "/readyz" || !h.ready[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(srv.Close)
		h.names = append(h.names, strings.TrimPrefix(srv.URL, "http://"))
	}
	return h
}

func (h *hosts) roll(wait int) (out string, restarted []string, err error) {
	cmd := exec.Command("../rolling-restart.sh", append([]string{"--restart", "echo {} >> " + h.log, "--url", "http://{}", "--wait", fmt.Sprint(wait), "--settle", "0"}, h.names...)...)
	text, err := cmd.CombinedOutput()
	b, readErr := os.ReadFile(h.log)
	if readErr == nil {
		restarted = strings.Fields(string(b))
	}
	return string(text), restarted, err
}

func TestRollingRestart(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	t.Run("all well", func(t *testing.T) {
		h := newHosts(t)
		out, restarted, err := h.roll(5)
		if err != nil || strings.Join(restarted, " ") != strings.Join(h.names, " ") {
			t.Errorf("%v %v\n%s", restarted, err, out)
		}
		for i := range h.asked {
			if h.asked[i].Load() < 3 {
				t.Errorf("host %d was asked %d times, and there are three restarts", i, h.asked[i].Load())
			}
		}
	})
	t.Run("one is not ready before", func(t *testing.T) {
		h := newHosts(t)
		h.ready[2].Store(false)
		if out, restarted, err := h.roll(1); err == nil || len(restarted) != 0 || !strings.Contains(out, h.names[2]) {
			t.Errorf("%v %v\n%s", restarted, err, out)
		}
	})
	t.Run("a name that is a command", func(t *testing.T) {
		h := newHosts(t)
		h.names = []string{"a;touch " + h.log}
		if _, restarted, err := h.roll(1); err == nil || len(restarted) != 0 {
			t.Errorf("%v %v", restarted, err)
		}
	})
}
