package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// guidePages are the pages whose blocks are run, each in a directory of its own.
var guidePages = []string{"docs/guide.md"}

// TestGuide runs the pages: a block with file=NAME is written to a file, and in a console block each
// line that begins with "$ amends" is run; the lines below it have to be in its output, in that order.
// "..." stands for any lines. A comment "# exit N" behind a command is its exit code.
func TestGuide(t *testing.T) {
	for _, page := range guidePages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join("../..", page))
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			runGuide(t, string(src))
		})
	}
}

func runGuide(t *testing.T, src string) {
	t.Helper()
	lines := strings.Split(src, "\n")
	commands := 0
	for i := 0; i < len(lines); i++ {
		info, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		body := lines[begin:min(i, len(lines))]
		if _, name, ok := strings.Cut(info, "file="); ok {
			if err := os.WriteFile(strings.TrimSpace(name), []byte(strings.Join(body, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if strings.TrimSpace(info) == "console" {
			commands += runConsole(t, begin, body)
		}
	}
	if commands == 0 {
		t.Error("the page runs nothing")
	}
}

func runConsole(t *testing.T, first int, body []string) (commands int) {
	t.Helper()
	var output []string
	for i, l := range body {
		line, ok := strings.CutPrefix(l, "$ amends ")
		if !ok {
			if l == "..." {
				continue
			}
			at := -1
			for k, o := range output {
				if strings.Join(strings.Fields(o), " ") == strings.Join(strings.Fields(l), " ") {
					at = k
					break
				}
			}
			if at < 0 {
				t.Errorf("line %d: %q is not in the rest of the output:\n%s", first+i+1, l, strings.Join(output, "\n"))
				continue
			}
			output = output[at+1:]
			continue
		}
		want := "0"
		if cmd, code, ok := strings.Cut(line, "# exit "); ok {
			line, want = strings.TrimSpace(cmd), strings.TrimSpace(code)
		}
		code, out, talk := execute(t, strings.Fields(line)...)
		if got := strconv.Itoa(code); got != want {
			t.Errorf("line %d: %s: exit %s, want %s\n%s%s", first+i+1, line, got, want, out, talk)
		}
		output = strings.Split(out+talk, "\n")
		commands++
	}
	return commands
}
