package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what became of a run.
type Report struct {
	Participant string    `json:"participant"`
	Topic       string    `json:"topic"`
	Version     string    `json:"version,omitempty"` // of the program that played
	Started     time.Time `json:"started"`
	TookMs      int64     `json:"tookMs"`
	Passed      bool      `json:"passed"`
	Results     []Result  `json:"cases"`
	Notes       []string  `json:"notes,omitempty"`
}

// Result is what became of a case.
type Result struct {
	Case    string   `json:"case"`
	Rules   string   `json:"rules"` // of docs/protocol.md
	Passed  bool     `json:"passed"`
	Skipped string   `json:"skipped,omitempty"` // why it was not played
	TookMs  int64    `json:"tookMs"`
	Faults  []string `json:"faults,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Verdict is passed, FAILED or skipped.
func (r Result) Verdict() string {
	switch {
	case !r.Passed:
		return "FAILED"
	case r.Skipped != "":
		return "skipped"
	}
	return "passed"
}

func (r *Report) add(one Result) {
	r.Results = append(r.Results, one)
	r.Passed = r.Passed && one.Passed
}

// Counts says how many cases passed, failed and were skipped.
func (r *Report) Counts() (passed, failed, skipped int) {
	for _, one := range r.Results {
		switch one.Verdict() {
		case "passed":
			passed++
		case "FAILED":
			failed++
		default:
			skipped++
		}
	}
	return passed, failed, skipped
}

// Summary is one sentence.
func (r *Report) Summary() string {
	passed, failed, skipped := r.Counts()
	verdict := "keeps the contract"
	if !r.Passed {
		verdict = "breaks the contract"
	}
	s := fmt.Sprintf("%s %s: %d cases passed, %d failed", r.Participant, verdict, passed, failed)
	if skipped > 0 {
		s += fmt.Sprintf(", %d skipped", skipped)
	}
	return s + fmt.Sprintf(" (%.1f s)", float64(r.TookMs)/1000)
}

// Markdown writes the report as a page to attach to a release.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Conformance of participant `%s`\n\n%s.\n\nTopic `%s`, begun %s", r.Participant, r.Summary(), r.Topic, r.Started.Format(time.RFC3339))
	if r.Version != "" {
		fmt.Fprintf(&b, ", amends %s", r.Version)
	}
	b.WriteString(".\n\n| Case | Rules | Verdict | ms |\n| --- | --- | --- | ---: |\n")
	for _, one := range r.Results {
		fmt.Fprintf(&b, "| %s | %s | %s | %d |\n", one.Case, one.Rules, one.Verdict(), one.TookMs)
	}
	section := func(title string, lines func(Result) []string) {
		first := true
		for _, one := range r.Results {
			for _, line := range lines(one) {
				if first {
					fmt.Fprintf(&b, "\n## %s\n\n", title)
					first = false
				}
				fmt.Fprintf(&b, "- **%s**: %s\n", one.Case, strings.ReplaceAll(line, "\n", " "))
			}
		}
	}
	section("Faults", func(one Result) []string { return one.Faults })
	section("Notes", func(one Result) []string { return one.Notes })
	section("Not played", func(one Result) []string {
		if one.Skipped == "" {
			return nil
		}
		return []string{one.Skipped}
	})
	if len(r.Notes) > 0 {
		b.WriteString("\n## Not looked at\n\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	b.WriteString("\nThe rules are those of docs/protocol.md, \"The contract of a participant\".\n")
	_, err := io.WriteString(w, b.String())
	return err
}
