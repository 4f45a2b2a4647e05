package sagas

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Finding is one thing that is wrong with a definition, at the place where it is written.
type Finding struct {
	File    string
	Line    int    // from 1; 0 = the definition did not come from a text
	Col     int    // from 1, in characters
	Code    string // SGnn, the table is in docs/definition.md
	Path    string // e.g. "steps/auth/undo"
	Text    string // what is wrong, one sentence
	Hint    string // what to do about it; may be empty
	Warning bool   // it may be right: it does not refuse the definition
	Source  string // the line of the source; empty when there is none or it is too long to show
}

// Findings are all the problems of one or more definitions, in the order of their places. It is
// the error of ParseDefinition and Compile.
type Findings []Finding

// maxFindings bounds one report. A text that has more is not read by anybody to its end.
const maxFindings = 100

// sourceLineMax is the longest source line that a finding shows, in bytes. Canonical JSON is a
// single line and is not shown.
const sourceLineMax = 240

// String is `file:line:col SGnn path: text. Hint`, then the source line and a caret under the
// column.
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		b.WriteByte(':')
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d", f.Line, f.Col)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(f.Code)
	b.WriteByte(' ')
	if f.Warning {
		b.WriteString("warning ")
	}
	if f.Path != "" {
		b.WriteString(f.Path)
		b.WriteString(": ")
	}
	b.WriteString(f.Text)
	if !strings.HasSuffix(f.Text, ".") && !strings.HasSuffix(f.Text, "?") {
		b.WriteByte('.')
	}
	if f.Hint != "" {
		b.WriteByte(' ')
		b.WriteString(f.Hint)
	}
	if f.Source != "" {
		b.WriteString("\n  ")
		b.WriteString(f.Source)
		b.WriteString("\n  ")
		b.WriteString(caretPad(f.Source, f.Col-1))
		b.WriteByte('^')
	}
	return b.String()
}

// caretPad is the blank that puts a caret under the character n of line. Tabs stay tabs, so that
// the caret stands right whatever the width of a tab is.
func caretPad(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n <= 0 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
		n--
	}
	for ; n > 0; n-- {
		b.WriteByte(' ')
	}
	return b.String()
}

// Error lists every finding.
func (fs Findings) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// sorted puts the findings in the order of the text, drops exact repetitions and cuts a report that
// is too long.
func (fs Findings) sorted() Findings {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Code, b.Code))
	})
	fs = slices.Compact(fs)
	if len(fs) > maxFindings {
		more := len(fs) - maxFindings
		last := fs[maxFindings]
		fs = append(fs[:maxFindings:maxFindings], Finding{
			File: last.File, Line: last.Line, Col: last.Col, Code: "SG01",
			Text: fmt.Sprintf("%d more problems are not shown", more),
		})
	}
	return fs
}

// asError is nil when there is nothing but warnings: a nil Findings in an error interface would not
// be. With errors, the warnings are listed as well.
func (fs Findings) asError() error {
	if !slices.ContainsFunc(fs, func(f Finding) bool { return !f.Warning }) {
		return nil
	}
	return fs.sorted()
}

// warnings are those findings that do not refuse the definition.
func (fs Findings) warnings() Findings {
	var out Findings
	for _, f := range fs {
		if f.Warning {
			out = append(out, f)
		}
	}
	return out.sorted()
}

// at is a place in the source text.
type at struct{ line, col int }

// report collects the findings of one source text.
type report struct {
	file  string
	lines []string
	found Findings
}

func newReport(file string, src []byte) *report {
	r := &report{file: file}
	if utf8.Valid(src) {
		r.lines = strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")
	}
	return r
}

// add records one finding. Past a multiple of the limit nothing is kept, so a hostile text cannot
// make the report larger than itself.
func (r *report) add(p at, code, path, hint, format string, args ...any) {
	r.put(p, false, code, path, hint, format, args...)
}

// warn records what may be right.
func (r *report) warn(p at, code, path, hint, format string, args ...any) {
	r.put(p, true, code, path, hint, format, args...)
}

func (r *report) put(p at, warning bool, code, path, hint, format string, args ...any) {
	if len(r.found) >= 10*maxFindings {
		return
	}
	f := Finding{File: r.file, Line: p.line, Col: p.col, Warning: warning, Code: code, Path: path, Hint: hint, Text: fmt.Sprintf(format, args...)}
	if p.line > 0 && p.line <= len(r.lines) && len(r.lines[p.line-1]) <= sourceLineMax {
		f.Source = r.lines[p.line-1]
	}
	r.found = append(r.found, f)
}
