package blackbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

var binary struct {
	once sync.Once
	path string
	err  error
}

// build makes the binary once per test run.
func build(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		dir, err := os.MkdirTemp("", "amends-blackbox-")
		if err != nil {
			binary.err = err
			return
		}
		binary.path = filepath.Join(dir, "amends")
		out, err := exec.Command("go", "build", "-o", binary.path, "../../cmd/amends").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("build the binary: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.path != "" {
		os.RemoveAll(filepath.Dir(binary.path))
	}
	os.Exit(code)
}

// amends runs one command line to its end and returns its output.
func amends(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, build(t), args...)
	cmd.Env = cleanEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("amends %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// process is one `amends run` with an address and a data directory that it
// keeps over restarts. Its methods are for the test's goroutine.
type process struct {
	t      *testing.T
	name   string
	listen string
	args   []string
	log    string // file, appended to over restarts

	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has ended
	reason error         // why, readable after ended
}

// startProcesses starts n processes of a namespace and waits until all are
// ready. They are killed when the test ends, and their last words printed when
// it failed.
func startProcesses(t *testing.T, c *kafkatest.Cluster, n int) []*process {
	t.Helper()
	return startProcessesWith(t, c, n, func(name string) []string { return []string{"--instance", name} })
}

// startProcessesWith gives each process further flags.
func startProcessesWith(t *testing.T, c *kafkatest.Cluster, n int, flags func(name string) []string) []*process {
	t.Helper()
	dir := t.TempDir()
	all := make([]*process, n)
	for i := range all {
		name := fmt.Sprintf("n%d", i+1)
		p := &process{
			t: t, name: name, listen: freeAddress(t),
			log: filepath.Join(dir, name+".log"),
		}
		p.args = append([]string{
			"run",
			"--brokers", strings.Join(c.Seeds(), ","),
			"--namespace", c.Namespace(),
			"--data-dir", filepath.Join(dir, name),
			"--listen", p.listen,
		}, flags(name)...)
		all[i] = p
		p.start()
	}
	t.Cleanup(func() {
		for _, p := range all {
			if p.cmd != nil {
				p.kill()
			}
			if t.Failed() {
				t.Logf("last log lines of %s:\n%s", p.name, tail(p.log, 60))
			}
		}
	})
	for _, p := range all {
		p.waitReady(time.Minute)
	}
	return all
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	p.cmd = exec.Command(build(p.t), p.args...)
	p.cmd.Env = cleanEnv()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	ended, cmd := make(chan struct{}), p.cmd
	p.ended = ended
	go func() {
		p.reason = cmd.Wait()
		close(ended)
	}()
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
	p.cmd = nil
}

// pause stops the process where it stands; resume lets it go on as if no time
// had passed.
func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

// terminate asks the process to stop and wants exit code 0.
func (p *process) terminate(within time.Duration) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.reason != nil {
			p.t.Errorf("%s ended with %v after SIGTERM", p.name, p.reason)
		}
		p.cmd = nil
	case <-time.After(within):
		p.t.Fatalf("%s still runs %v after SIGTERM", p.name, within)
	}
}

func (p *process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v to %s: %v", s, p.name, err)
	}
}

// alive fails the test when the process ended by itself.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.ended:
		p.t.Fatalf("%s ended by itself: %v", p.name, p.reason)
	default:
	}
}

// ready asks the probe once.
func (p *process) ready() bool {
	cl := http.Client{Timeout: 2 * time.Second}
	resp, err := cl.Get("http://" + p.listen + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *process) waitReady(within time.Duration) {
	p.t.Helper()
	for deadline := time.Now().Add(within); !p.ready(); time.Sleep(50 * time.Millisecond) {
		p.alive()
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready after %v", p.name, within)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// cleanEnv is the environment without settings for amends.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AMENDS_") {
			env = append(env, v)
		}
	}
	return env
}

func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
