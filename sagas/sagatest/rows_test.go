package sagatest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The two transition tables of the saga semantics: 1.1 moves an instance, 1.2 moves a step. Rows 5
// and 18 of the first table are about signals and reversible children, which do not exist yet. The
// rows of the second table have no numbers of their own: they are counted from 1.
var (
	phaseRows = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	stepRows  = []string{
		"IDLE, dependencies resolved",
		"READY, slot free",
		"PENDING, ok",
		"PENDING, rejected or fatal without effect",
		"PENDING, failed-retriable or its timer",
		"PENDING, failed-fatal with unknown effect",
		"PENDING, progress",
		"BACKOFF, timer",
		"definite reply of an older attempt",
		"INQUIRING, executed, not-executed, running, silence",
		"U_PENDING, ok and noop",
		"U_PENDING, failed or timer",
		"DONE, REFUSED or UNDONE, any reply",
		"reply for an attempt never emitted",
		"reply that cannot be decoded",
	}
)

var rowHeader = regexp.MustCompile(`(?m)^# row: (\S+)$`)

// TestEveryRowHasAScript keeps the scripts and the tables together: each row has at least one script
// that says so in its header, and no header names a row that does not exist.
func TestEveryRowHasAScript(t *testing.T) {
	want := make(map[string]string)
	for _, n := range phaseRows {
		want[fmt.Sprintf("1.1/%d", n)] = fmt.Sprintf("phase-%02d-", n)
	}
	for i := range stepRows {
		want[fmt.Sprintf("1.2/%d", i+1)] = "step-"
	}
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rowHeader.FindAllStringSubmatch(string(src), -1) {
			prefix, ok := want[m[1]]
			if !ok {
				t.Errorf("%s: there is no row %s", path, m[1])
			} else if !strings.HasPrefix(filepath.Base(path), prefix) {
				t.Errorf("%s: a script of row %s is named %s…", path, m[1], prefix)
			}
			found[m[1]]++
		}
	}
	var rows []string
	for row := range want {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	for _, row := range rows {
		if found[row] == 0 {
			t.Errorf("row %s has no script", row)
		}
	}
	t.Logf("%d scripts, %d rows", len(paths), len(rows))
}
