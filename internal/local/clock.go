package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Clock is the time of all nodes of a local cluster: the machine's, and an offset that only grows. The time
// of a task never falls, so an offset outlives the cluster when its data does: it is kept in a file there.
type Clock struct {
	offset atomic.Int64 // nanoseconds
	file   string       // empty: nowhere
}

// maxAdvance bounds the offset: beyond it timers and retentions mean nothing any more.
const maxAdvance = 10 * 365 * 24 * time.Hour

// newClock reads the offset that file keeps; there may be none.
func newClock(file string) (*Clock, error) {
	c := &Clock{file: file}
	if file == "" {
		return c, nil
	}
	src, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		var n int64
		if n, err = strconv.ParseInt(strings.TrimSpace(string(src)), 10, 64); err == nil {
			c.offset.Store(n)
			return c, nil
		}
	}
	return nil, fmt.Errorf("the clock of the cluster in %s: %w", file, err)
}

// Now is the time of the nodes.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Offset()) }

// Offset is how far the nodes are ahead of the machine.
func (c *Clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// advance moves the clock. It is written down before the nodes see it.
func (c *Clock) advance(by time.Duration) error {
	if by <= 0 || by > maxAdvance-c.Offset() {
		return fmt.Errorf("advance by %s: want more than 0, and at most %s in all", by, maxAdvance)
	}
	next := int64(c.Offset() + by)
	if c.file != "" {
		if err := os.WriteFile(c.file, strconv.AppendInt(nil, next, 10), 0o600); err != nil {
			return err
		}
	}
	c.offset.Store(next)
	return nil
}
