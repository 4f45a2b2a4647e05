package participant

import (
	"context"
	"time"
)

// Memory is an Inbox in memory: for tests, and for services whose effects do not outlive the process
// either. Transactions run one at a time; external calls run between them.
type Memory struct {
	turn chan struct{} // holds one token while a transaction runs
	keep time.Duration

	// guarded by turn
	rows   map[string]Row
	data   map[string][]byte
	pruned int64 // ms, by the clock of the rows
}

// DefaultRetention is how long rows are kept when nothing else is said: the 30 days that a
// definition's ids are remembered by default, and a day on top.
const DefaultRetention = 31 * 24 * time.Hour

// NewMemory returns an empty inbox that forgets rows after keep; 0 is DefaultRetention.
func NewMemory(keep time.Duration) *Memory {
	if keep <= 0 {
		keep = DefaultRetention
	}
	return &Memory{turn: make(chan struct{}, 1), keep: keep, rows: map[string]Row{}, data: map[string][]byte{}}
}

// Update implements Inbox.
func (m *Memory) Update(ctx context.Context, fn func(Store) error) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.turn }()
	tx := &memoryTx{m: m, rows: map[string]Row{}, data: map[string]change{}}
	if err := fn(tx); err != nil {
		return err
	}
	for k, r := range tx.rows {
		m.rows[k] = r
	}
	for k, c := range tx.data {
		if c.delete {
			delete(m.data, k)
		} else {
			m.data[k] = c.value
		}
	}
	m.prune(tx.rows)
	return nil
}

// prune forgets old rows, looking at all of them at most once in a hundredth of the time they are
// kept.
func (m *Memory) prune(written map[string]Row) {
	var now int64
	for _, r := range written {
		now = max(now, r.At)
	}
	keep := m.keep.Milliseconds()
	if now-m.pruned < keep/100+1 {
		return
	}
	m.pruned = now
	for k, r := range m.rows {
		if now-r.At > keep {
			delete(m.rows, k)
		}
	}
}

// Len returns the number of rows.
func (m *Memory) Len() int {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	return len(m.rows)
}

// memoryTx is one transaction: what it writes is seen by itself only, until Update takes it over.
type memoryTx struct {
	m    *Memory
	rows map[string]Row
	data map[string]change
}

func (t *memoryTx) Insert(key string, row Row) (Row, bool, error) {
	if old, found := t.rows[key]; found {
		return old, false, nil
	}
	if old, found := t.m.rows[key]; found {
		return old, false, nil
	}
	t.rows[key] = row
	return Row{}, true, nil
}

func (t *memoryTx) Set(key string, row Row) error {
	t.rows[key] = row
	return nil
}

func (t *memoryTx) Get(key string) ([]byte, bool, error) {
	if c, found := t.data[key]; found {
		return c.value, !c.delete, nil
	}
	v, found := t.m.data[key]
	return v, found, nil
}

func (t *memoryTx) Put(key string, value []byte) error {
	t.data[key] = change{key: key, value: value}
	return nil
}

func (t *memoryTx) Delete(key string) error {
	t.data[key] = change{key: key, delete: true}
	return nil
}
