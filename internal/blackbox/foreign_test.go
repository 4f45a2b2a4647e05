package blackbox

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/amendsio/amends/internal/kafkatest"
)

// foreign is a participant of examples/participants as a process of its own, with a database of its own: built and
// run with the commands of its README. Its methods are for one goroutine.
type foreign struct {
	t    *testing.T
	lang string
	name string // of the participant
	dir  string
	run  string // the README's last command
	env  []string
	db   *sql.DB
	dsn  string
	log  string

	cmd   *exec.Cmd
	ended chan struct{}
}

// languages of examples/participants.
var languages = []string{"go", "python", "java", "node"}

// postgres is the DSN of a server that the test may make databases on.
func postgres(t *testing.T) string {
	t.Helper()
	dsn := os.Getenv("PG_DSN")
	if dsn == "" {
		t.Skip("PG_DSN is not set: make participants-test and make polyglot start a PostgreSQL for this")
	}
	return dsn
}

// readme gives the commands of a README: all blocks of sh but the last, which prepare, and the last one, which runs.
func readme(t *testing.T, dir string) (prepare, run string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(b), "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) < 2 {
		t.Fatalf("%s/README.md has %d blocks of sh, want how to prepare and how to run", dir, len(blocks))
	}
	return strings.Join(blocks[:len(blocks)-1], ""), blocks[len(blocks)-1]
}

// prepareForeign makes a database and does what the README says before the last command. It does not start it.
func prepareForeign(t *testing.T, c *kafkatest.Cluster, lang, name string) *foreign {
	t.Helper()
	dir, err := filepath.Abs("../../examples/participants/" + lang)
	if err != nil {
		t.Fatal(err)
	}
	f := &foreign{t: t, lang: lang, name: name, dir: dir, log: filepath.Join(t.TempDir(), lang+".log")}
	server := postgres(t)
	f.dsn = makeDatabase(t, server, name)
	if f.db, err = sql.Open("pgx", f.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close() })
	u, err := url.Parse(f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	f.env = append(cleanEnv(), "PARTICIPANT="+name, "BROKERS="+strings.Join(c.Seeds(), ","), "PG_DSN="+f.dsn, "INSTANCE="+lang+"-1",
		fmt.Sprintf("JDBC_URL=jdbc:postgresql://%s%s?user=%s", u.Host, u.Path, u.User.Username()))
	var prepare string
	prepare, f.run = readme(t, dir)
	began := time.Now()
	cmd := exec.Command("sh", "-e", "-c", prepare)
	cmd.Dir, cmd.Env = dir, f.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: what the README says fails: %v\n%s", lang, err, out)
	}
	t.Logf("%s: prepared in %.1f s", lang, time.Since(began).Seconds())
	t.Cleanup(func() {
		f.kill()
		if t.Failed() {
			t.Logf("last log lines of %s:\n%s", lang, tail(f.log, 40))
		}
	})
	return f
}

// makeDatabase makes a database on a server and removes it at the end.
func makeDatabase(t *testing.T, server, name string) (dsn string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("PG_DSN: %v", err)
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	database := fmt.Sprintf("%s_%d", strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, name), time.Now().UnixNano()%1_000_000)
	if _, err := admin.Exec(`create database "` + database + `"`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(`drop database "` + database + `" with (force)`); err != nil {
			t.Errorf("drop database %s: %v", database, err)
		}
		admin.Close()
	})
	u.Path = "/" + database
	return u.String()
}

// start runs the README's last command, in a process group of its own.
func (f *foreign) start() error {
	log, err := os.OpenFile(f.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", f.run)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = f.dir, f.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.cmd, f.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(f.ended)
	}()
	return nil
}

// kill is kill -9 of the group that start made.
func (f *foreign) kill() {
	if f.cmd == nil {
		return
	}
	_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	<-f.ended
	f.cmd = nil
}

// alive says whether the process still runs. One that has ended by itself is not a fault: its supervisor starts it
// again, and here that is the test.
func (f *foreign) alive() bool {
	if f.cmd == nil {
		return false
	}
	select {
	case <-f.ended:
		return false
	default:
		return true
	}
}
