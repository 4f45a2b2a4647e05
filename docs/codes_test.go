package docs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryCodeIsExplained compares codes.md with the codes in the source: none is missing, none is made up.
func TestEveryCodeIsExplained(t *testing.T) {
	used := map[string]string{}
	literal := regexp.MustCompile(`"(SG[0-9]{2,3})"`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		for _, m := range literal.FindAllStringSubmatch(string(src), -1) {
			used[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	explained := Codes()
	for _, code := range slices.Sorted(maps.Keys(used)) {
		if text, ok := Code(code); !ok || len(strings.Split(text, "\n\n")) < 2 {
			t.Errorf("%s (%s) has no section in docs/codes.md with what it means and what to do", code, used[code])
		}
	}
	for _, code := range explained {
		if used[code] == "" {
			t.Errorf("docs/codes.md explains %s, which no source has", code)
		}
	}
	if len(used) < 40 {
		t.Errorf("only %d codes were found: the search is wrong", len(used))
	}
}

func TestPages(t *testing.T) {
	for _, name := range Pages() {
		if text, ok := Page(name); !ok || Title(name) == "" || !strings.HasPrefix(text, "# ") {
			t.Errorf("%s: no page with a title", name)
		}
	}
	if _, ok := Code("SG999"); ok {
		t.Error("a code that is not there is explained")
	}
}
