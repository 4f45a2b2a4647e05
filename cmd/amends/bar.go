package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/amendsio/amends/topology"
)

// restoreBar draws how far the restores of this process are, on a terminal.
type restoreBar struct {
	out      io.Writer
	progress topology.RestoreProgress
	mu       sync.Mutex
	drawn    time.Time
}

const (
	barWidth = 30
	barEvery = 200 * time.Millisecond
)

func (b *restoreBar) hooks() topology.Hooks {
	return topology.Hooks{
		Restore: func(task int32, next, target int64) {
			b.progress.At(task, next, target)
			b.draw()
		},
		Restored: func(task int32, _ int64, _ time.Duration) {
			b.progress.Done(task)
			b.mu.Lock()
			defer b.mu.Unlock()
			if _, all, _ := b.progress.Total(); all == 0 && !b.drawn.IsZero() {
				fmt.Fprint(b.out, "\r\x1b[K")
				b.drawn = time.Time{}
			}
		},
	}
}

func (b *restoreBar) draw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	done, all, left := b.progress.Total()
	if all <= 0 || time.Since(b.drawn) < barEvery {
		return
	}
	b.drawn = time.Now()
	fmt.Fprint(b.out, "\r\x1b[K"+barLine(done, all, left))
}

// barLine is the bar as text. What is left is not known at first.
func barLine(done, all int64, left time.Duration) string {
	full := int(done * barWidth / all)
	line := fmt.Sprintf("restoring [%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done*100/all)
	if left >= 0 {
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}
