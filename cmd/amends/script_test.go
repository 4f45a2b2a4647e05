package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"amends":  func() { os.Exit(run(os.Args[1:])) },
		"produce": produceFile,
	})
}

// TestScripts runs testdata/script: each in a home of its own and on ports of its own, which the
// variables of the environment say, so that the commands stand there as a person types them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			ports, err := freePorts(6)
			if err != nil {
				return err
			}
			at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports+i) }
			for name, value := range map[string]string{
				"HOME": e.WorkDir + "/home", "XDG_CONFIG_HOME": e.WorkDir + "/home/.config", "XDG_RUNTIME_DIR": e.WorkDir, "NO_COLOR": "1",
				"AMENDS_BROKER_LISTEN": at(0), "AMENDS_BROKERS": at(0), "AMENDS_REGISTRY_LISTEN": at(1), "AMENDS_LISTEN": at(2), "AMENDS_SERVER": "http://" + at(2),
			} {
				e.Setenv(name, value)
			}
			return os.MkdirAll(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": scriptAwait, "background": scriptBackground, "replace": scriptReplace, "next": scriptNext, "exit": scriptExit, "until": scriptUntil},
	})
}

// freePorts finds n ports in a row that nobody listens on.
func freePorts(n int) (int, error) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		first := l.Addr().(*net.TCPAddr).Port
		free := first+n < 65536
		l.Close()
		for i := 0; i < n && free; i++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first+i))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row", n)
}

// scriptAwait waits until a file has a text: await FILE TEXT.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if src, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(src), args[1]) {
			return
		}
		if time.Now().After(until) {
			src, _ := os.ReadFile(ts.MkAbs(args[0]))
			ts.Fatalf("%s has no %q:\n%s", args[0], args[1], src)
		}
	}
}

// scriptExit runs a command and wants its exit code: exit CODE COMMAND... The output is left in the files
// out and talk.
func scriptExit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND...")
	}
	runAndWant(ts, args[0], args[1:])
}

// scriptUntil runs a command until its output has a text: until TEXT COMMAND...
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until TEXT COMMAND...")
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		runAndWant(ts, "0", args[1:])
		out, err := os.ReadFile(ts.MkAbs("out"))
		ts.Check(err)
		if strings.Contains(string(out), args[0]) {
			return
		}
		if time.Now().After(until) {
			ts.Fatalf("%s never says %q", strings.Join(args[1:], " "), args[0])
		}
	}
}

// produceFile writes a file as records: produce [--crc32] TOPIC KEY,KEY... FILE. It stands in for kcat where that is
// not installed, and with --crc32 puts keys where that puts them.
func produceFile() {
	err := func() error {
		args := os.Args[1:]
		opts := []kgo.Opt{kgo.SeedBrokers(os.Getenv("AMENDS_BROKERS")), kgo.AllowAutoTopicCreation()}
		if args[0] == "--crc32" {
			args = args[1:]
			opts = append(opts, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(func(key []byte, n int) int { return int(crcOf(string(key)) % uint32(n)) })))
		}
		value, err := os.ReadFile(args[2])
		if err != nil {
			return err
		}
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			return err
		}
		defer cl.Close()
		for key := range strings.SplitSeq(args[1], ",") {
			if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: args[0], Key: []byte(key), Value: bytes.TrimSpace(value)}).FirstErr(); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAndWant(ts *testscript.TestScript, want string, args []string) {
	cmd := exec.Command(lookPath(ts, args[0]), args[1:]...)
	var out, talk strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &out, &talk, ts.MkAbs("."), environmentOf(ts)
	err := cmd.Run()
	ts.Logf("$ %s\n%s%s", strings.Join(args, " "), out.String(), talk.String())
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(out.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("talk"), []byte(talk.String()), 0o600))
	if cmd.ProcessState == nil {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != want {
		ts.Fatalf("%s: exit %s, want %s", strings.Join(args, " "), got, want)
	}
}

// lookPath finds a program by the PATH of the script.
func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && !st.IsDir() {
			return filepath.Join(dir, name)
		}
	}
	ts.Fatalf("%s is not in PATH", name)
	return ""
}

func environmentOf(ts *testscript.TestScript) []string {
	env := os.Environ()
	for _, name := range []string{"HOME", "PATH", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "NO_COLOR", "AMENDS_BROKER_LISTEN", "AMENDS_BROKERS", "AMENDS_REGISTRY_LISTEN", "AMENDS_LISTEN", "AMENDS_SERVER"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

var nextCommand = regexp.MustCompile(`(?m)(?:Next|Next:|terminal:|refusal:)\s+(amends .*)$`)

// scriptNext runs a next step as it was printed: next FILE N CODE. N counts from 1; commands that are joined
// with && are run one after the other.
func scriptNext(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: next FILE N CODE")
	}
	src, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	found := nextCommand.FindAllStringSubmatch(string(src), -1)
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 1 || n > len(found) {
		ts.Fatalf("%s prints %d next steps, not %s:\n%s", args[0], len(found), args[1], src)
	}
	for line := range strings.SplitSeq(found[n-1][1], "&&") {
		runAndWant(ts, args[2], strings.Fields(line))
	}
}

// scriptBackground starts a command that ends with the script: background COMMAND... Its output is in NAME.out,
// by its second word.
func scriptBackground(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: background COMMAND VERB...")
	}
	out, err := os.Create(ts.MkAbs(args[1] + ".out"))
	ts.Check(err)
	cmd := exec.Command(lookPath(ts, args[0]), args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = out, out, ts.MkAbs("."), environmentOf(ts)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		err := cmd.Wait()
		out.Close()
		if err != nil {
			src, _ := os.ReadFile(out.Name())
			ts.Logf("%s ended with %v:\n%s", strings.Join(args, " "), err, src)
		}
	})
}

// scriptReplace replaces a text in a file: replace OLD NEW FILE.
func scriptReplace(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: replace OLD NEW FILE")
	}
	src, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(string(src), args[0], args[1])), 0o600))
}
