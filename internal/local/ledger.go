package local

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Ledger is one participant's book: what it did for each saga, entry by entry. A double entry for
// one idempotency key, or entries that do not fit together, show in Audit.
type Ledger struct {
	name string
	mu   struct {
		sync.Mutex
		entries map[string][]entry // by workflow ID, in the order in which they took effect
		keys    map[string]int     // effects by idempotency key
	}
}

type entry struct {
	account string // what moved: hold, money, goods, parcel
	amount  int64  // positive for a do, negative for its undo
}

func newLedger(name string) *Ledger {
	l := &Ledger{name: name}
	l.mu.entries = map[string][]entry{}
	l.mu.keys = map[string]int{}
	return l
}

// post books one effect.
func (l *Ledger) post(workflowID, key, account string, amount int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.entries[workflowID] = append(l.mu.entries[workflowID], entry{account, amount})
	l.mu.keys[key]++
}

// balance is what is left of account for one saga.
func (l *Ledger) balance(workflowID, account string) (sum int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.mu.entries[workflowID] {
		if e.account == account {
			sum += e.amount
		}
	}
	return sum
}

// totals sums each account over all sagas.
func (l *Ledger) totals() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	done, undone := map[string]int64{}, map[string]int64{}
	for _, es := range l.mu.entries {
		for _, e := range es {
			if e.amount > 0 {
				done[e.account] += e.amount
			} else {
				undone[e.account] -= e.amount
			}
		}
	}
	var parts []string
	for _, account := range slices.Sorted(maps.Keys(done)) {
		parts = append(parts, fmt.Sprintf("%s %d, undone %d, stands %d", account, done[account], undone[account], done[account]-undone[account]))
	}
	return strings.Join(parts, "; ")
}

// doubled lists the keys that took effect more than once.
func (l *Ledger) doubled() (keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(l.mu.keys)) {
		if l.mu.keys[key] > 1 {
			keys = append(keys, key)
		}
	}
	return keys
}
