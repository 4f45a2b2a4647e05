package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
)

// stuck is an instance that needs a person.
var stuck = sagas.View{
	WorkflowID: "wire/w-1", Type: "wire", ID: "w-1", Version: 2, Run: 1, Phase: "running", Status: "attention", Rev: 12, Deadline: 3_600_000,
	Steps: []sagas.StepView{
		{Path: "hold", State: "DONE", Attempts: 1, Undo: "U_STOPPED", UndoAttempts: 4},
		{Path: "send", State: "UNKNOWN", Attempts: 3},
		{Path: "signoff", Node: "approve", State: "OPEN", Roles: []string{"treasury"}, Quorum: 2, Until: 7_200_000, Votes: []sagas.VoteView{{Actor: "bob", Decision: "approve"}}},
	},
	Obligations: []sagas.Obligation{{Path: "hold", State: "DONE"}},
}

// showing serves one instance and fails on anything but questions.
func showing(t *testing.T, v sagas.View) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/"+v.WorkflowID) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"SG201","detail":"no instance"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestPreview: each action says what it will do, on the state that it found, before it does it.
func TestPreview(t *testing.T) {
	server := showing(t, stuck)
	for _, c := range []struct{ line, says string }{
		{"retry --path send", "send (UNKNOWN, 3 attempts) is sent again, with the same key"},
		{"retry --path hold", "the undo of hold (U_STOPPED, 4 attempts) is sent again"},
		{"retry-new-key --path send", "IT MAY EXECUTE TWICE"},
		{"resolve --path send --effect done --output {}", "send (UNKNOWN) counts as answered"},
		{"waive --path hold", "the undo of hold (U_STOPPED) is given up"},
		{"skip --path send", "send (UNKNOWN) counts as done"},
		{"compensate", "undone will be: hold"},
		{"close", "NOTHING MORE IS UNDONE; these may have effects: hold"},
		{"suspend", "no command goes out"},
		{"resume", "commands that wait go out"},
		{"extend --by 2h", "the deadline moves from 1970-01-01T01:00:00.000Z"},
		{"extend --by 2h --path signoff", "signoff (OPEN) gets more time"},
	} {
		verb, rest, _ := strings.Cut(c.line, " ")
		args := append([]string{verb, "wire/w-1", "--reason", "test", "--dry-run", "--server", server}, strings.Fields(rest)...)
		for _, form := range [][]string{args, append([]string{"instance"}, args...)} {
			code, out, talk := execute(t, form...)
			if code != exitOK || out != "" || !strings.Contains(talk, "wire/w-1  v2  attention  rev 12") || !strings.Contains(talk, c.says) {
				t.Errorf("%v: exit %d, %q %q", form, code, out, talk)
			}
		}
	}
}

// TestOnlyStep: an action finds its step when it fits no other.
func TestOnlyStep(t *testing.T) {
	v := stuck
	v.Attention = []sagas.AttentionView{{Path: "send", Reason: string(sagas.ReasonUnknownOutcome)}, {Path: "hold", Reason: string(sagas.ReasonUndoFailed)}}
	server := showing(t, v)
	for _, c := range []struct {
		verb, says string
		code       int
	}{
		{"skip", "send (UNKNOWN) counts as done", exitOK},
		{"waive", "the undo of hold (U_STOPPED) is given up", exitOK},
		{"retry", "retry needs --path, one of send, hold", exitUsage},
	} {
		code, _, talk := execute(t, c.verb, "wire/w-1", "--reason", "test", "--dry-run", "--server", server)
		if code != c.code || !strings.Contains(talk, c.says) {
			t.Errorf("%s: exit %d, %q", c.verb, code, talk)
		}
	}
	if code, _, talk := execute(t, "retry", "wire/w-1", "--reason", "test", "--dry-run", "--server", showing(t, stuck)); code != exitUsage || !strings.Contains(talk, "no step asks for it") {
		t.Errorf("nothing to retry: exit %d, %q", code, talk)
	}
}

// TestActionIsRefused before anything is written.
func TestActionIsRefused(t *testing.T) {
	server := showing(t, stuck)
	for _, c := range []struct {
		line, says string
		code       int
	}{
		{"retry wire/w-1 --path nowhere", `no step "nowhere"`, exitNotFound},
		{"suspend wire/w-2", "SG201", exitNotFound},
		{"suspend wire/w-1 --expect-rev 11", "revision 12, not 11", exitConflict},
		{"close wire/w-1", "--yes", exitUsage}, // nobody to ask
		{"waive wire/w-1 --path hold", "--yes", exitUsage},
	} {
		args := append(strings.Fields(c.line), "--reason", "test", "--server", server, "--brokers", "127.0.0.1:1")
		if code, _, talk := execute(t, args...); code != c.code || !strings.Contains(talk, c.says) {
			t.Errorf("%s: exit %d, %q", c.line, code, talk)
		}
	}
}

func TestTasks(t *testing.T) {
	server := showing(t, stuck)
	if code, out, talk := execute(t, "tasks", "wire/w-1", "--server", server); code != exitOK || !strings.Contains(out, "signoff  treasury  bob") {
		t.Errorf("table: %d %q %q", code, out, talk)
	}
	code, out, _ := execute(t, "task", "ls", "wire/w-1", "--server", server, "-o", "json")
	var tasks []task
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || code != exitOK || len(tasks) != 1 || tasks[0].Path != "signoff" || tasks[0].Quorum != 2 {
		t.Errorf("json: %d %q %v", code, out, err)
	}
	for _, verb := range []string{"approve", "refuse"} {
		if code, _, talk := execute(t, verb, "wire/w-1", "--dry-run", "--server", server); code != exitOK || !strings.Contains(talk, verb+" signoff") {
			t.Errorf("%s: %d %q", verb, code, talk)
		}
		if code, _, talk := execute(t, verb, "wire/w-1", "elsewhere", "--server", server); code != exitNotFound || !strings.Contains(talk, "no open task elsewhere") {
			t.Errorf("%s elsewhere: %d %q", verb, code, talk)
		}
	}
}
