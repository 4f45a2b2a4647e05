package sagas

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/nearest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file, or rewrites it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	rewrite := flag.Lookup("rewrite") // of the scripts in this package, when there are any
	if *update || rewrite != nil && rewrite.Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -update rewrites it\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func sources(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	for _, ext := range []string{"*.yaml", "*.json"} {
		f, err := filepath.Glob(filepath.Join("testdata", dir, ext))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f...)
	}
	if len(files) == 0 {
		t.Fatal("no files")
	}
	return files
}

// implemented are the codes that the checks give. docs/definition.md has the table of all.
var implemented = []string{
	"SG01", "SG02", "SG03", "SG04", "SG05", "SG06", "SG07", "SG08", "SG10", "SG11", "SG12", "SG13", "SG14", "SG15", "SG16", "SG17",
	"SG18", "SG19", "SG20", "SG21", "SG22", "SG23", "SG24", "SG25", "SG26", "SG27", "SG28", "SG29", "SG30", "SG31", "SG32",
	"SG44",
}

// Each directory SGnn-what in testdata/checks has a definition that is bad, with all its findings, and
// most have one that is good: without any finding. Every code has both.
func TestFindings(t *testing.T) {
	bad, good := map[string]bool{}, map[string]bool{}
	shape := regexp.MustCompile(`^\S+:\d+:\d+ SG\d\d `)
	dirs, err := os.ReadDir("testdata/checks")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		code, _, _ := strings.Cut(dir.Name(), "-")
		t.Run(dir.Name(), func(t *testing.T) {
			path := filepath.Join("testdata", "checks", dir.Name())
			file, found := findingsOf(t, path, "bad")
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == code }) {
				t.Errorf("no %s among the findings", code)
			}
			bad[code] = true
			for _, f := range found {
				if !shape.MatchString(f.String()) {
					t.Errorf("shape of %q", f.String())
				}
				if !slices.Contains(implemented, f.Code) {
					t.Errorf("%s is not among the implemented codes", f.Code)
				}
			}
			golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".txt", found.Error()+"\n")
			if _, err := os.Stat(filepath.Join(path, "good.yaml")); err != nil {
				return
			}
			good[code] = true
			if _, found := findingsOf(t, path, "good"); len(found) > 0 {
				t.Errorf("the good one is not: %v", found)
			}
		})
	}
	for _, code := range implemented {
		if !bad[code] {
			t.Errorf("no fixture gives %s", code)
		}
		if !good[code] {
			t.Errorf("no fixture shows a definition without %s", code)
		}
	}
}

// findingsOf are the errors and warnings of dir/name.yaml or .json.
func findingsOf(t *testing.T, dir, name string) (file string, found Findings) {
	t.Helper()
	for _, ext := range []string{".yaml", ".json"} {
		file = filepath.Join(dir, name+ext)
		src, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defs, err := ParseDefinitions(filepath.Base(file), src)
		if err != nil && !errors.As(err, &found) {
			t.Fatalf("error is %T, want Findings", err)
		}
		if err != nil {
			return file, found
		}
		for _, d := range defs {
			found = append(found, d.Warnings()...)
			if _, err := Compile(d); err != nil {
				t.Errorf("it parses but does not compile: %v", err)
			}
		}
		return file, found
	}
	t.Fatalf("no %s in %s", name, dir)
	return "", nil
}

func TestHostileSources(t *testing.T) {
	for name, src := range map[string]string{
		"empty":          "",
		"only dashes":    "---\n---\n",
		"scalar":         "hello",
		"list":           "- a\n- b\n",
		"null":           "null",
		"several MB":     "saga: t\n" + strings.Repeat("# padding\n", 300_000),
		"not UTF-8":      "saga: \xff\xfe",
		"NUL":            "saga: \x00",
		"deep flow":      strings.Repeat("[", 100_000),
		"deep JSON":      strings.Repeat(`{"a":`, 100_000),
		"deep block":     strings.Repeat("- ", 50_000) + "x",
		"deep map":       deepMap(100),
		"deep with":      "saga: t\nversion: 1\nparticipants: {p: }\nsteps:\n- id: a\n  call: p.x\n  undo: {call: p.y}\n  with: " + strings.Repeat("{a: ", 66) + "1" + strings.Repeat("}", 66) + "\n",
		"laughs":         "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nsaga: *c\n",
		"self alias":     "a: &a [*a]\n",
		"complex key":    "? [a, b]\n: c\n",
		"tab":            "saga:\tt\n\tversion: 1\n",
		"many documents": strings.Repeat("---\nsaga: t\n", 10_000),
		"many steps":     "saga: t\nversion: 1\nsteps:\n" + strings.Repeat("- {id: a}\n", 5_000),
		"many keys":      "saga: t\nversion: 1\n" + manyKeys(20_000),
		"half surrogate": `{"saga": "\ud800"}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func() error{
				func() error { _, err := ParseDefinition("f", []byte(src)); return err },
				func() error { _, err := ParseDefinitions("f", []byte(src)); return err },
			} {
				var found Findings
				if err := parse(); !errors.As(err, &found) || len(found) == 0 {
					t.Fatalf("error is %v, want findings", err)
				}
				if len(found) > maxFindings+1 {
					t.Errorf("%d findings", len(found))
				}
			}
		})
	}
}

func deepMap(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("k" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + ": " + "1\n")
	}
	return b.String()
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "1ms": time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "90m": 90 * time.Minute,
		"7d": 168 * time.Hour, "2w": 336 * time.Hour, "1.5h": 90 * time.Minute, "0.25s": 250 * time.Millisecond, "1d12h": 36 * time.Hour,
	} {
		got, err := parseDuration(s)
		if err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", s, got, err, want)
		}
		if again, err := parseDuration(formatDuration(got)); err != nil || again != got {
			t.Errorf("%s: %s reads back as %v %v", s, formatDuration(got), again, err)
		}
	}
	for _, s := range []string{"", "5", "s", "-5s", "+5s", "5 s", "1us", "1ns", "0.5ms", "1.2.3s", "1.s", ".5s", "1S", "11y", "9999999999999w", "99999w", "1.1234567891s", "5sec"} {
		if d, err := parseDuration(s); err == nil {
			t.Errorf("%q reads as %v", s, d)
		}
	}
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{"retires": "retry", "retyr": "retry", "keywindow": "keyWindow", "xyz": "", "ful": ""} {
		if got := nearest.Name(s, append([]string{"keyWindow"}, callFields...)); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}
