package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
)

// speaking serves fixed answers by "METHOD path"; the last request is kept.
func speaking(t *testing.T, answers map[string]string) (url string, last *string) {
	t.Helper()
	last = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*last = r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Authorization") + " " + string(body)
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"code":"SG201","detail":"nothing there"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL, last
}

func TestReading(t *testing.T) {
	emptyHome(t)
	server, last := speaking(t, map[string]string{
		"GET /api/v1/instances/a/1/history":  `{"facts":[{"seq":1,"at":1000,"kind":"started","phase":"running","source":{"topic":"dev.saga.intake","partition":3,"offset":17},"place":{}},{"seq":2,"at":2000,"kind":"step-rejected","path":"pay","cause":"pay: NO","detail":{"code":"NO"}}],"partial":true}`,
		"GET /api/v1/instances/a/1/messages": `{"messages":[]}`,
		"GET /api/v1/instances/a/1":          `{"workflowId":"a/1"}`,
		"GET /api/v1/instances":              `{"instances":[]}`,
		"GET /api/v1/dlq":                    `{"letters":[{"offset":17,"at":1000,"state":"open","class":"BAD_JSON","message":"not JSON","from":{"topic":"t","partition":1,"offset":2},"value":{"a":1},"size":7}],"next":3}`,
		"GET /api/v1/dlq/17":                 `{"offset":17,"state":"open","class":"BAD_JSON","message":"not JSON","from":{"topic":"t","partition":1,"offset":2},"value":{"a":1},"size":7}`,
		"POST /api/v1/dlq/17/replay":         `{"topic":"t"}`,
		"POST /api/v1/dlq/17/drop":           `{"offset":17,"state":"dropped"}`,
		"GET /api/v1/nodes":                  `{"nodes":[{"address":"n1:1","version":"0.1","tasks":[{"task":1,"restoreNext":5,"restoreTarget":9}]},{"address":"n2:1","unreachable":true}]}`,
		"GET /api/v1/definitions/hello/0":    `{"type":"hello","version":3,"digest":"abcdefabcdefabcdef","active":true,"instances":[{"status":"running","n":7}]}`,
	})
	fixed := write(t, "fixed.json", `{"a":2}`)
	for _, c := range []struct {
		line string
		code int
		says []string
		asks string
	}{
		{"history a/1", 0, []string{"1    1970-01-01T00:00:01.000Z  started", "dev.saga.intake[3]@17", "pay: NO code=NO", "timer"}, "GET /api/v1/instances/a/1/history"},
		{"instance export a/1", 0, []string{`"messages": {`}, ""},
		{"ls --query attention --since 2h --status running", 0, []string{"WORKFLOW ID"}, `query=%28attention%29+%26%26+updated+%3E+now+-+duration%28%222h0m0s%22%29&status=running`},
		{"dlq list", 0, []string{"17", "BAD_JSON", "not JSON"}, "GET /api/v1/dlq?limit=100&state=open"},
		{"dlq list --state all -o name", 0, []string{"17\n"}, "GET /api/v1/dlq?limit=100 "},
		{"dlq get 17", 0, []string{"t[1]@2", `{"a":1}`}, ""},
		{"dlq get x", exitUsage, nil, ""},
		{"dlq get 18", exitNotFound, nil, ""},
		{"dlq replay 17", exitUsage, nil, ""},
		{"dlq replay 17 --reason r --operator ann --dry-run -f " + fixed, 0, []string{`"topic": "t"`}, `POST /api/v1/dlq/17/replay?dryRun=true  {"by":"ann","reason":"r","value":{"a":2}}`},
		{"dlq drop 17 --reason r --api-token secret", 0, []string{"dropped"}, `POST /api/v1/dlq/17/drop Bearer secret {"reason":"r"}`},
		{"node list", 0, []string{"task 1 restores, 4 records left", "does not answer"}, ""},
		{"def show hello", 0, []string{"hello@3  active  digest abcdefabcdef\n  running        7"}, ""},
		{"def show hello@x", exitUsage, nil, ""},
	} {
		code, out, talk := execute(t, append(strings.Fields(c.line), "--server", server)...)
		if code != c.code || c.asks != "" && !strings.Contains(*last, c.asks) {
			t.Errorf("%s: exit %d, asked %q\n%s%s", c.line, code, *last, out, talk)
		}
		for _, s := range c.says {
			if !strings.Contains(out, s) {
				t.Errorf("%s: nothing of %q in\n%s", c.line, s, out)
			}
		}
	}
}

// TestBundle plants secrets and payloads everywhere and finds none of them in the archive.
func TestBundle(t *testing.T) {
	emptyHome(t)
	const canary = "canary-7f3a"
	view := sagas.View{WorkflowID: "a/1", Type: "a", ID: "1", Phase: "running", Status: "attention", Input: json.RawMessage(`"` + canary + `"`), Output: json.RawMessage(`"` + canary + `"`),
		Cause: canary, Tags: []sagas.TagView{{Key: "k", Value: canary}}, Attention: []sagas.AttentionView{{Reason: "UNKNOWN", Path: "pay", Text: canary}},
		Steps: []sagas.StepView{{Path: "pay", State: "UNKNOWN", Message: canary, Output: json.RawMessage(`"` + canary + `"`), Votes: []sagas.VoteView{{Actor: canary, Comment: canary}}}}}
	server, _ := speaking(t, map[string]string{
		"GET /api/v1/instances":     `{"instances":[{"workflowId":"a/1","status":"attention","tags":[{"key":"k","value":"` + canary + `"}]}]}`,
		"GET /api/v1/instances/a/1": string(mustJSON(t, view)), "GET /metrics": "amends_build_info 1\n", "GET /api/v1/definitions": `{"definitions":[]}`,
	})
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	code, out, talk := execute(t, "bundle", path, "--server", server, "--brokers", emptyBroker(t), "--sasl-user", "u", "--api-token", canary, "--sasl-mechanism", "PLAIN", "--sasl-password", canary)
	if code != exitOK || out != path+"\n" {
		t.Fatalf("exit %d %q %q", code, out, talk)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(archive)
		names += h.Name + "\n"
		if strings.Contains(string(content), canary) {
			t.Errorf("%s has a secret or a payload:\n%s", h.Name, content)
		}
		if strings.HasSuffix(h.Name, "attention.json") && !strings.Contains(string(content), `"state": "UNKNOWN"`) {
			t.Errorf("the instance is not described:\n%s", content)
		}
	}
	for _, want := range []string{"version.json", "settings.json", "doctor.json", "attention.json", "metrics.txt", "definitions.json", "nodes.json.error"} {
		if !strings.Contains(names, "amends-bundle/"+want+"\n") {
			t.Errorf("no %s among\n%s", want, names)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v %v", st.Mode(), err)
	}
}
