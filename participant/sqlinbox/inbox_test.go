package sqlinbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/sqlinbox"
	"github.com/amendsio/amends/protocol"
)

// server is a database that tests run on.
type server struct {
	dialect sqlinbox.Dialect
	driver  string
	dsn     func(t *testing.T) string
}

// fromEnv names a database by a variable of the environment.
func fromEnv(variable, how string) func(*testing.T) string {
	return func(t *testing.T) string {
		dsn := os.Getenv(variable)
		if dsn == "" {
			t.Skipf("%s is not set: %s", variable, how)
		}
		return dsn
	}
}

var servers = []server{
	{sqlinbox.SQLite, "sqlite", func(t *testing.T) string {
		return "file:" + filepath.Join(t.TempDir(), "inbox.db") + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)"
	}},
	{sqlinbox.PostgreSQL, "pgx", fromEnv("PG_DSN", "deploy/postgres/with-postgres.sh go test … runs this with a PostgreSQL")},
	{sqlinbox.MySQL, "mysql", fromEnv("MYSQL_DSN", "user:password@tcp(host:port)/database of a MySQL or MariaDB runs this")},
}

// onEach runs a test on every database that there is.
func onEach(t *testing.T, fn func(t *testing.T, db *database)) {
	for _, s := range servers {
		t.Run(s.dialect.String(), func(t *testing.T) { fn(t, open(t, s)) })
	}
}

// database is an inbox in a table of its own.
type database struct {
	*sqlinbox.Inbox
	server
	db    *sql.DB
	url   string
	table string
}

func open(t *testing.T, s server) *database {
	d := &database{server: s, url: s.dsn(t), table: fmt.Sprintf("box_%d", time.Now().UnixNano())}
	d.connect(t, sqlinbox.Config{})
	if err := d.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context()); err != nil {
		t.Errorf("create again: %v", err)
	}
	t.Cleanup(func() {
		for _, table := range []string{d.table, d.table + "_data"} {
			if _, err := d.db.Exec("drop table " + table); err != nil {
				t.Error(err)
			}
		}
		d.db.Close()
	})
	return d
}

func (d *database) connect(t *testing.T, cfg sqlinbox.Config) {
	t.Helper()
	var err error
	if d.db != nil {
		d.db.Close()
	}
	if d.db, err = sql.Open(d.driver, d.url); err != nil {
		t.Fatal(err)
	}
	cfg.DB, cfg.Dialect, cfg.Table = d.db, d.dialect, d.table
	if d.Inbox, err = sqlinbox.New(cfg); err != nil {
		t.Fatal(err)
	}
}

// Reopen is a process that starts anew, with connections of its own.
func (d *database) Reopen(t *testing.T) participant.Inbox {
	d.connect(t, sqlinbox.Config{})
	return d
}

func TestConformance(t *testing.T) {
	for _, s := range servers {
		t.Run(s.dialect.String(), func(t *testing.T) {
			s.dsn(t)
			participant.Conformance(t, func(t *testing.T) participant.Inbox { return open(t, s) })
		})
	}
}

// account is the business of these tests: a table of the service's own.
func account(t *testing.T, d *database) *participant.Handlers {
	t.Helper()
	table := d.table + "_account"
	for _, text := range []string{"create table " + table + " (name varchar(20) primary key, balance bigint not null)", "insert into " + table + " values ('a', 100)"} {
		if _, err := d.db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { d.db.Exec("drop table " + table) })
	h := participant.NewHandlers(nil, time.Minute)
	type amount struct {
		Amount int64 `json:"amount"`
	}
	change := func(ctx context.Context, tx participant.Tx, by int64) error {
		_, err := sqlinbox.Of(tx).ExecContext(ctx, fmt.Sprintf("update %s set balance = balance + %d where name = 'a'", table, by))
		return err
	}
	participant.Do(h, "debit", func(ctx context.Context, tx participant.Tx, in amount) (map[string]any, error) {
		if err := change(ctx, tx, -in.Amount); err != nil {
			return nil, err
		}
		var left int64
		if err := sqlinbox.Of(tx).QueryRowContext(ctx, "select balance from "+table+" where name = 'a'").Scan(&left); err != nil {
			return nil, err
		}
		if left < 0 {
			return nil, participant.Reject("NO_MONEY", "")
		}
		return map[string]any{"left": left}, nil
	})
	participant.Undo(h, "credit", func(ctx context.Context, tx participant.Tx, in amount, _ participant.Forward) error {
		return change(ctx, tx, in.Amount)
	})
	return h
}

func (d *database) balance(t *testing.T) (n int64) {
	t.Helper()
	if err := d.db.QueryRow("select balance from " + d.table + "_account where name = 'a'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func command(op protocol.Op, name, key, fwd string) protocol.Command {
	return protocol.Command{Token: "t", WorkflowID: "order/1", Op: op, Name: name, Key: key, ForwardKey: fwd, Attempt: 1, ReplyTo: "replies"}
}

// The handler's statements are kept with its answer, or neither is.
func TestOwnStatements(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		h := account(t, d)
		ask := func(cmd protocol.Command, payload string) string {
			a, err := h.Answer(t.Context(), d, cmd, []byte(payload), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(fmt.Sprint(a.Outcome, " ", a.Code, string(a.Output)))
		}
		for _, c := range []struct {
			cmd           protocol.Command
			payload, want string
			balance       int64
		}{
			{command(protocol.OpDo, "debit", "k1", ""), `{"amount":60}`, `ok {"left":40}`, 40},
			{command(protocol.OpDo, "debit", "k1", ""), `{"amount":60}`, `ok {"left":40}`, 40},
			{command(protocol.OpDo, "debit", "k2", ""), `{"amount":60}`, `rejected NO_MONEY`, 40},
			{command(protocol.OpUndo, "credit", "u2", "k2"), `{"amount":60}`, `ok`, 40},
			{command(protocol.OpUndo, "credit", "u1", "k1"), `{"amount":60}`, `ok`, 100},
			{command(protocol.OpUndo, "credit", "u1", "k1"), `{"amount":60}`, `ok`, 100},
			{command(protocol.OpDo, "debit", "k2", ""), `{"amount":60}`, `rejected NO_MONEY`, 100},
		} {
			if got := ask(c.cmd, c.payload); got != c.want || d.balance(t) != c.balance {
				t.Errorf("%s %s: got %q and a balance of %d, want %q and %d", c.cmd.Op, c.cmd.Key, got, d.balance(t), c.want, c.balance)
			}
		}
		var told []string
		rows, err := d.db.Query("select k, outcome from " + d.table + " order by k")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var k, outcome string
			if err := rows.Scan(&k, &outcome); err != nil {
				t.Fatal(err)
			}
			told = append(told, k+" "+outcome)
		}
		if got := strings.Join(told, ", "); got != "k1 undone, k2 rejected, u1 ok, u2 noop" {
			t.Errorf("the table says: %s", got)
		}
	})
}

// Many dos and their undos at once, from two inboxes on one table: what is left is what was said.
func TestManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		h := account(t, d)
		d.db.Exec("update " + d.table + "_account set balance = 1000000")
		other, err := sqlinbox.New(sqlinbox.Config{DB: d.db, Dialect: d.dialect, Table: d.table, Isolation: sql.LevelSerializable})
		if err != nil {
			t.Fatal(err)
		}
		const keys = 30
		var mu sync.Mutex
		done, undone := map[string]bool{}, map[string]bool{}
		var lives sync.WaitGroup
		work := make(chan protocol.Command)
		for i := range 6 {
			box := []participant.Inbox{d, other}[i%2]
			lives.Go(func() {
				for cmd := range work {
					for {
						a, err := h.Answer(t.Context(), box, cmd, []byte(`{"amount":7}`), time.Now())
						if err != nil {
							t.Error(err)
						}
						if a.Outcome == protocol.OutcomeFailedRetriable {
							continue // BUSY: the engine sends it again as well
						}
						mu.Lock()
						switch {
						case cmd.Op == protocol.OpUndo && a.Outcome == protocol.OutcomeOK:
							undone[cmd.ForwardKey] = true
						case a.Outcome == protocol.OutcomeOK:
							done[cmd.Key] = true
						case a.Code != participant.CodeSuppressed:
							t.Errorf("got %+v", a)
						}
						mu.Unlock()
						break
					}
				}
			})
		}
		for i := range keys {
			key := fmt.Sprintf("k%d", i)
			work <- command(protocol.OpDo, "debit", key, "")
			work <- command(protocol.OpDo, "debit", key, "")
			if i%3 == 0 {
				work <- command(protocol.OpUndo, "credit", "u"+key, key)
			}
		}
		close(work)
		lives.Wait()
		var want int64 = 1000000
		for key := range done {
			if !undone[key] {
				want -= 7
			}
		}
		if got := d.balance(t); got != want {
			t.Errorf("the balance is %d, want %d (%d done, %d undone)", got, want, len(done), len(undone))
		}
	})
}

// Two transactions that miss the same key of data do not both go on as the first one.
func TestMissingKeyIsHeld(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		var lives sync.WaitGroup
		firsts := make(chan bool, 8)
		for range 8 {
			lives.Go(func() {
				for {
					first := false
					err := d.Update(t.Context(), func(s participant.Store) error {
						_, found, err := s.Get("counter")
						if first = !found; err != nil {
							return err
						}
						return s.Put("counter", []byte("x"))
					})
					if errors.Is(err, participant.ErrBusy) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					firsts <- first
					return
				}
			})
		}
		lives.Wait()
		close(firsts)
		n := 0
		for first := range firsts {
			if first {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d transactions found nothing", n)
		}
		// A miss leaves no row, and nothing is not the same as an empty value.
		if err := d.Update(t.Context(), func(s participant.Store) error {
			if _, found, err := s.Get("nothing"); found || err != nil {
				t.Errorf("found %v: %v", found, err)
			}
			return s.Put("empty", nil)
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.Update(t.Context(), func(s participant.Store) error {
			if _, found, err := s.Get("empty"); !found || err != nil {
				t.Errorf("an empty value: found %v: %v", found, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := d.db.QueryRow("select count(*) from " + d.table + "_data").Scan(&rows); err != nil || rows != 2 {
			t.Errorf("%d rows of data: %v", rows, err)
		}
	})
}

func TestSweep(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		var swept []int
		d.connect(t, sqlinbox.Config{Retention: time.Hour, SweepRows: 10, Swept: func(rows int, err error) {
			if err != nil {
				t.Error(err)
			}
			swept = append(swept, rows)
		}})
		insert := func(n int, at time.Duration) {
			t.Helper()
			for i := range n {
				if err := d.Update(t.Context(), func(s participant.Store) error {
					_, _, err := s.Insert(fmt.Sprintf("%d-%d", at, i), participant.Row{Status: participant.Done, At: at.Milliseconds() + int64(i)})
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		insert(25, time.Minute)
		late := 2 * time.Hour
		insert(1, late)                // sweeps ten, and sees that there is more
		insert(1, late+time.Second)    // ten
		insert(1, late+2*time.Second)  // five
		insert(1, late+3*time.Second)  // not due
		insert(1, late+50*time.Second) // due: none
		if got := fmt.Sprint(swept); got != "[0 10 10 5 0]" {
			t.Errorf("swept %s", got)
		}
		var rows int
		if err := d.db.QueryRow("select count(*) from " + d.table).Scan(&rows); err != nil || rows != 5 {
			t.Errorf("%d rows are left: %v", rows, err)
		}
	})
}

// Nothing that a handler gets can commit, and all of it ends with the handler.
func TestNoReplyOutside(t *testing.T) {
	d := open(t, servers[0])
	var kept participant.Tx
	h := participant.NewHandlers(nil, 0)
	participant.Do(h, "keep", func(_ context.Context, tx participant.Tx, _ struct{}) (struct{}, error) {
		kept = tx
		switch tx.Native().(type) {
		case *sql.Tx, interface{ Commit() error }:
			t.Error("the handler can commit")
		}
		return struct{}{}, nil
	})
	participant.Do(h, "call", func(ctx context.Context, tx participant.Tx, _ struct{}) (struct{}, error) {
		_, err := sqlinbox.Of(tx).ExecContext(ctx, "select 1")
		if !errors.Is(err, sqlinbox.ErrNoTx) {
			t.Errorf("an external call has a transaction: %v", err)
		}
		return struct{}{}, nil
	}, participant.External(0))
	for _, name := range []string{"keep", "call"} {
		if a, err := h.Answer(t.Context(), d, command(protocol.OpDo, name, name, ""), nil, time.Now()); err != nil || a.Outcome != protocol.OutcomeOK {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	tx := sqlinbox.Of(kept)
	_, err := tx.ExecContext(t.Context(), "select 1")
	_, err2 := tx.QueryContext(t.Context(), "select 1")
	_, err3 := tx.PrepareContext(t.Context(), "select 1")
	for _, err := range []error{err, err2, err3, tx.QueryRowContext(t.Context(), "select 1").Scan(), tx.QueryRowContext(t.Context(), "select 1").Err()} {
		if !errors.Is(err, sqlinbox.ErrNoTx) {
			t.Errorf("the transaction outlives its handler: %v", err)
		}
	}
}

// A database that is gone, or a row that nobody can read, is a reason to try again and never an answer.
func TestBroken(t *testing.T) {
	d := open(t, servers[0])
	h := account(t, d)
	cmd := command(protocol.OpDo, "debit", "k", "")
	if _, err := d.db.Exec("insert into "+d.table+" values (?, '', 0, ?)", cmd.Key, []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := h.Answer(t.Context(), d, cmd, []byte(`{"amount":1}`), time.Now())
		if err != nil || a.Outcome != protocol.OutcomeFailedRetriable || a.Code != participant.CodeInbox {
			t.Errorf("got %+v, %v", a, err)
		}
		broken, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "no", "such", "folder"))
		if err != nil {
			t.Fatal(err)
		}
		defer broken.Close()
		d.Inbox, _ = sqlinbox.New(sqlinbox.Config{DB: broken, Dialect: sqlinbox.SQLite})
	}
	if got := d.balance(t); got != 100 {
		t.Errorf("the balance is %d", got)
	}
}

func TestConflictIsTriedAgain(t *testing.T) {
	d := open(t, servers[0])
	conflict := errors.New("in the way")
	d.connect(t, sqlinbox.Config{Attempts: 3, Conflict: func(err error) bool { return errors.Is(err, conflict) }})
	for _, c := range []struct {
		fails, runs int
		err         error
	}{{0, 1, nil}, {2, 3, nil}, {5, 3, participant.ErrBusy}} {
		runs := 0
		err := d.Update(t.Context(), func(s participant.Store) error {
			if runs++; runs <= c.fails {
				return conflict
			}
			return s.Put("a", nil)
		})
		if !errors.Is(err, c.err) || runs != c.runs {
			t.Errorf("after %d conflicts: %v, %d runs", c.fails, err, runs)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Update(ctx, func(participant.Store) error { cancel(); return conflict })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := sqlinbox.New(sqlinbox.Config{Dialect: 9, Table: "a; drop table b", Retention: -1, SweepRows: 1 << 20, Attempts: -1})
	for _, field := range []string{"DB:", "Dialect:", "Table:", "Retention:", "SweepRows:", "Attempts:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
}
