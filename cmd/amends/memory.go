package main

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

const memoryLeast = 128 << 20

// memoryBudget is the memory of one process in bytes: what text says, or a share of what root, the
// file system of the machine, says there is.
func memoryBudget(text string, root fs.FS) (int64, error) {
	if text == "" {
		return max(memoryLeast, memoryThereIs(root)), nil
	}
	n, err := parseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	if n < memoryLeast {
		return 0, fmt.Errorf("memory: %s is too little, at least 128MiB", text)
	}
	return n, nil
}

// memoryThereIs is three quarters of the limit of this cgroup; without one, a quarter of the machine,
// which others use as well; and 1 GiB where neither is known.
func memoryThereIs(root fs.FS) int64 {
	for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		// Version 1 says "no limit" with a number that no machine has.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < 1<<50 {
			return n / 4 * 3
		}
	}
	b, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil && kib > 0 && kib < math.MaxInt64>>10 {
			return kib << 10 / 4
		}
	}
	return 1 << 30
}

// limitMemory makes the collector hold a limit in bytes, and keeps the room between collections in step with
// what they cost until ctx ends, unless GOMEMLIMIT and GOGC say otherwise.
func limitMemory(ctx context.Context, limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		go paceCollector(ctx)
	}
}

// collectEvery is how often the collector is looked at. A heap grows by a collection or two in that time.
const collectEvery = time.Second

func paceCollector(ctx context.Context) {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	set := 100
	for {
		metrics.Read(heap)
		if percent := collectAt(heap[0].Value.Uint64(), heap[1].Value.Uint64()); percent > set+set/10 || percent < set-set/10 {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(collectEvery):
		}
	}
}

// collectAt is how far the heap may grow over what was alive after the last collection before the next one,
// in percent. A collection costs what it has to scan. Most of what lives here is memory of the stores, which has
// no pointers (a program without cgo has its memtables and block cache in the heap): three times as much of that
// would be memory for nothing. So the room is what there is to scan (some of it is garbage by then), and 96 MiB
// at least: a server under load keeps 30 MiB with pointers and allocates some 50 KiB for each saga.
func collectAt(live, scanned uint64) (percent int) {
	const least, most = 20, 400
	room := max(96<<20, scanned)
	return int(min(max(room*100/max(live, 1), least), most))
}

// parseBytes reads "512MiB", "2GiB" or a number of bytes.
func parseBytes(text string) (int64, error) {
	digits, shift := text, 0
	for unit, s := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			digits, shift = rest, s
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size such as 512MiB", text)
	}
	return n << shift, nil
}
