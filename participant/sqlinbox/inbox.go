package sqlinbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/amendsio/amends/participant"
)

// Defaults and limits of Config.
const (
	DefaultTable     = "saga_inbox"
	DefaultSweepRows = 500
	MaxSweepRows     = 10_000
	defaultAttempts  = 4
)

// Config is what an Inbox needs. The zero value of every optional field is its default.
type Config struct {
	// DB is the service's own database. Required. The inbox never closes it.
	DB *sql.DB

	// Dialect of DB. Required.
	Dialect Dialect

	// Table of the rows; what handlers keep by Tx.Put is in <Table>_data. Default saga_inbox.
	Table string

	// Retention is how long rows are kept. Default participant.DefaultRetention. It must not be less than the
	// marker retention of any definition that uses this participant.
	Retention time.Duration

	// SweepRows is how many rows one sweep forgets at most. Default 500, at most 10000.
	SweepRows int

	// Isolation of the transactions, for the sake of the handler's own statements. Default: the database's.
	Isolation sql.IsolationLevel

	// Attempts is how often a transaction is begun that another one keeps from its end. Default 4.
	Attempts int

	// Conflict recognises errors of the driver that say so. Default: the SQLSTATE, code or text of the usual
	// drivers (pgx, lib/pq, go-sql-driver, modernc, mattn).
	Conflict func(error) bool

	// Swept, when set, hears of each sweep: how many rows were forgotten, or why none were.
	Swept func(rows int, err error)
}

// Inbox is a participant.Inbox in tables of a database. It is safe for concurrent use.
type Inbox struct {
	cfg  Config
	text statements
	due  atomic.Int64 // ms by the clock of the rows: when to sweep next
}

var tableName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}$`)

// New checks cfg. It does not connect.
func New(cfg Config) (*Inbox, error) {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if cfg.DB == nil {
		bad("DB: is required")
	}
	if !cfg.Dialect.known() {
		bad("Dialect: want PostgreSQL, MySQL or SQLite")
	}
	if cfg.Table == "" {
		cfg.Table = DefaultTable
	}
	if !tableName.MatchString(cfg.Table) {
		bad("Table: %q, want 1 to 48 lower-case letters, digits and underscores", cfg.Table)
	}
	if cfg.Retention < 0 {
		bad("Retention: %v, want a positive duration", cfg.Retention)
	}
	if cfg.Retention == 0 {
		cfg.Retention = participant.DefaultRetention
	}
	if cfg.SweepRows == 0 {
		cfg.SweepRows = DefaultSweepRows
	}
	if cfg.SweepRows < 1 || cfg.SweepRows > MaxSweepRows {
		bad("SweepRows: %d, want 1 to %d", cfg.SweepRows, MaxSweepRows)
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.Attempts < 1 || cfg.Attempts > 100 {
		bad("Attempts: %d, want 1 to 100", cfg.Attempts)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("inbox config: %w", errors.Join(faults...))
	}
	if cfg.Conflict == nil {
		cfg.Conflict = isConflict
	}
	return &Inbox{cfg: cfg, text: newStatements(cfg.Dialect, cfg.Table)}, nil
}

// Create makes the tables if they are missing.
func (b *Inbox) Create(ctx context.Context) error {
	for _, text := range DDL(b.cfg.Dialect, b.cfg.Table) {
		if _, err := b.cfg.DB.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("make the tables of the inbox: %w", err)
		}
	}
	return nil
}

// Update implements participant.Inbox. The error of a commit is returned as it is: whether the transaction was
// committed is then not known, and the next delivery will see.
func (b *Inbox) Update(ctx context.Context, fn func(participant.Store) error) error {
	var err error
	for attempt := range b.cfg.Attempts {
		if attempt > 0 {
			if err := rest(ctx, attempt); err != nil {
				return err
			}
		}
		var at int64
		at, err = b.once(ctx, fn)
		if err == nil {
			b.sweepIfDue(ctx, at)
			return nil
		}
		if !b.cfg.Conflict(err) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", participant.ErrBusy, err)
}

// rest waits a little longer each time, not as long as the other one does.
func rest(ctx context.Context, attempt int) error {
	timer := time.NewTimer(time.Duration(1+rand.Int64N(int64(attempt)*10)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once runs fn in one transaction. at is the time of the newest row that was written, 0 if there is none.
func (b *Inbox) once(ctx context.Context, fn func(participant.Store) error) (at int64, err error) {
	tx, err := b.cfg.DB.BeginTx(ctx, &sql.TxOptions{Isolation: b.cfg.Isolation})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // after Commit it does nothing
	s := &store{ctx: ctx, box: b, tx: tx}
	if err := fn(s); err != nil {
		return 0, err
	}
	if err := s.tidy(); err != nil {
		return 0, err
	}
	return s.at, tx.Commit()
}
