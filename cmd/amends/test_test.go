package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page on testing is true: its definition and its script run, and the command prints what it says.
func TestTestingPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(lang string) string {
		_, rest, ok := strings.Cut(string(page), "```"+lang+"\n")
		text, _, closed := strings.Cut(rest, "```\n")
		if !ok || !closed {
			t.Fatalf("no block of %s", lang)
		}
		return text
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"refund.yaml": block("yaml"), "slow.saga-test": block("saga-test")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	code, out, talk := execute(t, "test", ".")
	if code != exitOK || out != block("text") {
		t.Errorf("exit %d %s\n%s", code, talk, out)
		execute(t, "test", ".", "--rewrite")
		now, _ := os.ReadFile("slow.saga-test")
		t.Logf("the script as it should be:\n%s", now)
	}
	for flag := range strings.FieldsSeq("--script --participant --input --states --depth") {
		if cmd, _, err := newRoot(&terminal{}).Find([]string{"prove"}); err != nil || cmd.Flags().Lookup(strings.TrimPrefix(flag, "--")) == nil || !strings.Contains(string(page), "`"+flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if code, out, _ := execute(t, "prove", "refund.yaml", "--attempts", "1", "--duplicates", "0"); code != exitOK {
		t.Errorf("the example is not proved: %s", out)
	}
}

func TestTest(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sub", "hello.saga-test")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, talk := execute(t, "test", dir); code != exitUsage || !strings.Contains(talk, "no script") {
		t.Errorf("nothing to do: exit %d %s", code, talk)
	}
	script := "define\n" + goodDefinition + "----\n\nstart id=o1\n----\n* 1 begun\n\nreply step=pay outcome=rejected\n----\n"
	save(script)
	code, out, talk := execute(t, "test", dir)
	if code != exitFindings || !strings.Contains(out, "hello.saga-test:13: start id=o1") || !strings.Contains(out, "- * 1 begun\n        + * 1 started") || !strings.Contains(talk, "1 of 1 script failed") {
		t.Errorf("wrong answers: exit %d\n%s%s", code, out, talk)
	}
	if code, out, _ := execute(t, "test", dir, "--rewrite"); code != exitOK || !strings.HasPrefix(out, "wrote ") {
		t.Errorf("rewrite: exit %d\n%s", code, out)
	}
	if code, out, _ := execute(t, "test", file); code != exitOK || !strings.Contains(out, "pay   yes  yes     no") {
		t.Errorf("after the rewrite: exit %d\n%s", code, out)
	}
	save("define\n")
	if code, out, _ := execute(t, "test", dir); code != exitFindings || !strings.Contains(out, "no line ----") {
		t.Errorf("no script: exit %d\n%s", code, out)
	}
	save("begin\n----\n")
	if code, out, _ := execute(t, "test", dir); code != exitFindings || !strings.Contains(out, "is not a verb") {
		t.Errorf("no verb: exit %d\n%s", code, out)
	}
}

// A counterexample replays.
func TestProveThenTest(t *testing.T) {
	file := write(t, "good.yaml", goodDefinition)
	script := filepath.Join(filepath.Dir(file), "lost.saga-test")
	if code, out, _ := execute(t, "prove", file, "--participant", "no-refusals", "--duplicates", "1", "--script", script); code != exitCounterexample {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if code, out, talk := execute(t, "test", script); code != exitOK {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
}
