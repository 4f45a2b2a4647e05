package main

import (
	"bytes"
	"testing"
	"time"
)

func TestBarLine(t *testing.T) {
	for _, c := range []struct {
		done, all int64
		left      time.Duration
		want      string
	}{
		{0, 100, -1, "restoring [..............................]   0%"},
		{50, 100, 1499 * time.Millisecond, "restoring [###############...............]  50%, 1s left"},
		{100, 100, 0, "restoring [##############################] 100%, 0s left"},
	} {
		if got := barLine(c.done, c.all, c.left); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.done, c.all, got, c.want)
		}
	}
}

func TestBarGoesAway(t *testing.T) {
	var out bytes.Buffer
	b := &restoreBar{out: &out}
	h := b.hooks()
	h.Restore(0, 0, 1000)
	h.Restore(0, 500, 1000)
	if !bytes.Contains(out.Bytes(), []byte("restoring [")) {
		t.Errorf("no bar: %q", out.String())
	}
	h.Restored(0, 1000, time.Second)
	if !bytes.HasSuffix(out.Bytes(), []byte("\r\x1b[K")) {
		t.Errorf("the bar stays: %q", out.String())
	}
}
