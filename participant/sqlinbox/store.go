package sqlinbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/amendsio/amends/participant"
)

// store is one transaction, as participant.Store.
type store struct {
	ctx     context.Context
	box     *Inbox
	tx      *sql.Tx
	at      int64
	claimed []string // keys of data that are held though they may not exist
}

// Insert implements participant.Store. A database makes a second insert of one key wait for the transaction of
// the first. When it ends without a row (rolled back, or swept), the next round inserts.
func (s *store) Insert(key string, row participant.Row) (old participant.Row, inserted bool, err error) {
	if len(key) > participant.MaxDataKey {
		return old, false, participant.ErrTooLarge
	}
	for range 10 {
		n, err := s.exec(s.box.text.insert, key, outcome(row), row.At, row.Append(nil))
		if err != nil {
			return old, false, err
		}
		if n == 1 {
			s.at = max(s.at, row.At)
			return old, true, nil
		}
		var answer []byte
		err = s.tx.QueryRowContext(s.ctx, s.box.text.lock, key).Scan(&answer)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return old, false, err
		}
		old, err = participant.DecodeRow(answer)
		if err != nil {
			return old, false, fmt.Errorf("row of key %s in %s: %w", key, s.box.cfg.Table, err)
		}
		return old, false, nil
	}
	return old, false, fmt.Errorf("%w: the row of key %s comes and goes", participant.ErrBusy, key)
}

// Set implements participant.Store.
func (s *store) Set(key string, row participant.Row) error {
	s.at = max(s.at, row.At)
	_, err := s.exec(s.box.text.set, outcome(row), row.Append(nil), key)
	return err
}

// Get implements participant.Store. A key that is not there is held as well, so that of two transactions that
// miss it the second one sees what the first has put.
func (s *store) Get(key string) (value []byte, found bool, err error) {
	n, err := s.exec(s.box.text.claim, key)
	if err != nil {
		return nil, false, err
	}
	if n == 1 {
		s.claimed = append(s.claimed, key)
		return nil, false, nil
	}
	err = s.tx.QueryRowContext(s.ctx, s.box.text.read, key).Scan(&found, &value) // drivers give an empty value as nil
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return value, found, err
}

// Put implements participant.Store.
func (s *store) Put(key string, value []byte) error {
	if value == nil {
		value = []byte{} // null means that there is none
	}
	_, err := s.exec(s.box.text.put, key, value)
	return err
}

// Delete implements participant.Store.
func (s *store) Delete(key string) error {
	_, err := s.exec(s.box.text.remove, key)
	return err
}

// tidy takes back what Get has held and nobody has filled.
func (s *store) tidy() error {
	for _, key := range s.claimed {
		if _, err := s.exec(s.box.text.tidy, key); err != nil {
			return err
		}
	}
	return nil
}

// Native is what Of finds behind a participant.Tx.
func (s *store) Native() any { return guarded{s.tx} }

func (s *store) exec(text string, args ...any) (rows int64, err error) {
	res, err := s.tx.ExecContext(s.ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// outcome is a row in one word, for people who look into the table.
func outcome(r participant.Row) string {
	switch {
	case r.Undone:
		return "undone"
	case r.Status == participant.Started:
		return "started"
	case r.Status == participant.Done && r.Noop:
		return "noop"
	case r.Status == participant.Done:
		return "ok"
	case r.Status == participant.Rejected:
		return "rejected"
	}
	return "failed-fatal"
}
