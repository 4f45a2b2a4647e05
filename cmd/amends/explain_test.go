package main

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/sagas"
)

func anExplanation() explain.Explanation {
	return explain.Explanation{
		WorkflowID: "order/1", Cause: explain.CauseNoMembers, Sentence: "psp has not answered.",
		Command: &explain.Command{Topic: "cmd.psp", Group: "psp", Groups: []explain.Group{{Name: "psp", State: "Empty", Position: 12, Lag: -1}}},
		Also:    []explain.Also{{Cause: explain.CauseApproval, Sentence: "sign waits."}},
		Unknown: []string{"the end of it"},
		Actions: []explain.Action{{Do: "start psp"}, {Do: "end it", Command: "amends close order/1 --reason x", Danger: true}},
	}
}

// TestExplainCommand: the sentence, the facts and what to do, as text and as JSON.
func TestExplainCommand(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/instances/order/1/explain" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if err := json.NewEncoder(w).Encode(anExplanation()); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for _, format := range []string{"table", "json", "name"} {
		var out bytes.Buffer
		cmd := newExplainCommand(&terminal{out: &out, err: &out})
		cmd.SetArgs([]string{"order/1", "--server", server.URL, "-o", format})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, part := range map[string][]string{
			"table": {"order/1  group-without-members\n\npsp has not answered.\n", "group psp  empty  members 0  at 12  lag ?", "also\n  sign waits.", "not known\n  the end", "  start psp\n", "  ! end it\n      amends close order/1 --reason x\n"},
			"json":  {`"cause": "group-without-members"`},
			"name":  {"group-without-members\n"},
		}[format] {
			if !strings.Contains(out.String(), part) {
				t.Errorf("-o %s lacks %q:\n%s", format, part, out.String())
			}
		}
	}
}

// TestNamedCommands: what explain tells people to type is what this program takes.
func TestNamedCommands(t *testing.T) {
	inst := &sagas.Instance{WorkflowID: "or der/1", Type: "or der", Phase: sagas.Mailbox, StartedAt: 1, Signals: []sagas.BufferedSignal{{Name: "x"}}}
	commands := []string{
		explain.Explain(explain.Input{Instance: inst, Now: 2}).Actions[0].Command,
		"amends explain order/1", "amends get order/1", "amends apply FILE", "amends def list",
		"amends approve order/1 'lines[a]/sign'", "amends refuse order/1 sign", "amends signal order/1 paid",
		"amends retry order/1 --path auth --reason x", "amends retry-new-key order/1 --path auth --reason x",
		"amends resolve order/1 --path auth --effect none --reason x", "amends waive order/1 --path auth --reason x",
		"amends skip order/1 --path auth --reason x", "amends extend order/1 --path auth --by 1h --reason x",
		"amends compensate order/1 --reason x", "amends close order/1 --reason x", "amends resume order/1 --reason x",
	}
	for _, line := range commands {
		args := words(line)
		root := newRoot(&terminal{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
		cmd, rest, err := root.Find(args[1:])
		if err != nil || cmd == root {
			t.Errorf("%s: no such command (%v)", line, err)
			continue
		}
		if err := parse(cmd, rest); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func parse(cmd *cobra.Command, args []string) error {
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// words splits a line as a shell does, as far as explain quotes.
func words(line string) (out []string) {
	word, in, any := "", false, false
	for _, c := range line {
		switch {
		case c == '\'':
			in, any = !in, true
		case c == ' ' && !in:
			if any {
				out = append(out, word)
			}
			word, any = "", false
		default:
			word, any = word+string(c), true
		}
	}
	return append(out, word)
}

// TestTwins: what the pages name as the same on the command line is what this program takes.
func TestTwins(t *testing.T) {
	pages, err := filepath.Glob("../../web/testdata/*.html")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	twin := regexp.MustCompile(`id="twin"[^>]*>([^<]*)<`)
	seen := 0
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		m := twin.FindSubmatch(src)
		if m == nil {
			continue
		}
		seen++
		line := html.UnescapeString(string(m[1]))
		root := newRoot(&terminal{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
		cmd, rest, err := root.Find(words(line)[1:])
		if err != nil || cmd == root || !cmd.Runnable() {
			t.Errorf("%s: %s: no such command (%v)", filepath.Base(page), line, err)
			continue
		}
		if err := parse(cmd, rest); err != nil {
			t.Errorf("%s: %s: %v", filepath.Base(page), line, err)
		}
	}
	if seen < 10 {
		t.Errorf("%d pages have a twin", seen)
	}
}
