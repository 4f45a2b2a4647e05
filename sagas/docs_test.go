package sagas

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every example of a node is a part of a valid definition.
func TestDefinitionPageExamples(t *testing.T) {
	b, err := os.ReadFile("../docs/definition.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range strings.Split(string(b), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```\n")
		if !strings.HasPrefix(text, "- ") {
			continue
		}
		n++
		src := "saga: page\nversion: 1\ndeadline: 60d\nparticipants: {"
		for _, p := range []string{"psp", "risk", "fx", "ledger", "stock", "hotel", "mail", "air"} {
			src += p + ": {ops: [do, undo, inquire]}, "
		}
		d, err := ParseDefinition("docs/definition.md", []byte(src+"}\nsteps:\n"+text))
		if err != nil {
			t.Errorf("%v\n%s", err, text)
		} else if w := d.Warnings(); len(w) > 0 {
			t.Errorf("%v", w)
		}
	}
	if n < 13 {
		t.Errorf("%d examples of nodes", n)
	}
}

// docs/definition.md is the reference of the format: its example is the example, its tables have
// every field, and its defaults are those of the code.
func TestDefinitionPage(t *testing.T) {
	b, err := os.ReadFile("../docs/definition.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	_, rest, _ := strings.Cut(page, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no example")
	}
	if _, err := ParseDefinition("docs/definition.md", []byte(example)); err != nil {
		t.Errorf("the example does not parse: %v", err)
	}
	file, err := os.ReadFile("../examples/card-payment/saga.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if example != string(file) {
		t.Error("the example differs from examples/card-payment/saga.yaml")
	}
	for what, fields := range map[string][]string{
		"### Saga": definitionFields, "### Participant": participantFields, "### Correlate": correlateFields, "### Nodes": commonFields, "### Call": callFields, "### Retry": retryFields,
		"### Undo": undoFields, "### Unknown outcomes": inquireFields, "### Input": inputFields, "### Bindings": onFields, "### each": eachFields, "### race": raceFields,
		"### scope": scopeFields, "### repeat": repeatFields, "### saga": sagaFields, "### await": awaitFields, "### sleep": sleepFields, "### approve": approveFields,
		"### emit": slices.Concat(emitFields, failFields, continueFields),
	} {
		_, section, ok := strings.Cut(page, "\n"+what)
		if !ok {
			t.Errorf("no section %s", what)
		}
		section, _, _ = strings.Cut(section, "\n##")
		for _, f := range fields {
			if f != "retention" && !strings.Contains(section, "| `"+f+"` ") {
				t.Errorf("%s: field %s is not in the table", what, f)
			}
		}
	}
	for _, kind := range nodeNames {
		if !strings.Contains(page, "`"+kind+"`") && !strings.Contains(page, "\n### "+kind+"\n") {
			t.Errorf("node %s is not described", kind)
		}
	}
	for row, def := range map[string]string{
		"attempt": formatDuration(DefaultAttempt), "within": formatDuration(DefaultWithin), "backoff": formatDuration(DefaultBackoff),
		"max": formatDuration(DefaultBackoffMax), "factor": fmt.Sprint(DefaultFactor), "jitter": fmt.Sprint(DefaultJitter),
		"every": formatDuration(DefaultInquireEvery), "for": formatDuration(DefaultInquireFor),
		"retention.state": formatDuration(DefaultStateRetention), "retention.marker": formatDuration(DefaultMarkerRetention),
	} {
		if !strings.Contains(page, "| `"+row+"` | `"+def+"`") {
			t.Errorf("the default of %s is not %s", row, def)
		}
	}
	for _, def := range []string{formatDuration(DefaultUndoAlert), formatDuration(DefaultRetriableAlert) + "` for retriable"} {
		if !strings.Contains(page, "| `alertAfter` | `"+def) {
			t.Errorf("the default of alertAfter is not %s", def)
		}
	}
	for _, limit := range []string{
		fmt.Sprintf("%d bytes per expression", MaxExprBytes), fmt.Sprintf("cost %d per evaluation", MaxExprCost),
		fmt.Sprintf("%d MiB and %d levels per value", MaxValueBytes>>20, MaxValueDepth), fmt.Sprintf("%d KiB per definition", MaxDefinitionBytes>>10),
		fmt.Sprintf("at most %d |", MaxSteps),
	} {
		if !strings.Contains(page, limit) {
			t.Errorf("the page does not say %q", limit)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (SG\d\d) \| (reserved)?`).FindAllStringSubmatch(page, -1) {
		if code, reserved := m[1], m[2] != ""; reserved == slices.Contains(implemented, code) {
			t.Errorf("%s: reserved %v, implemented %v", code, reserved, !reserved)
		}
	}
	for _, code := range implemented {
		if !strings.Contains(page, "| "+code+" |") {
			t.Errorf("%s is not in the table", code)
		}
	}
}
