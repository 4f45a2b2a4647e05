package main

import (
	"testing"
	"testing/fstest"
)

func TestMemoryBudget(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	machine := file("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
	for _, c := range []struct {
		name, text string
		root       fstest.MapFS
		want       int64 // 0: refused
	}{
		{"cgroup 2", "", fstest.MapFS{"sys/fs/cgroup/memory.max": file("1073741824\n"), "proc/meminfo": machine}, 805306368},
		{"cgroup 2 without a limit", "", fstest.MapFS{"sys/fs/cgroup/memory.max": file("max\n"), "proc/meminfo": machine}, 4 << 30},
		{"cgroup 1", "", fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": file("2147483648"), "proc/meminfo": machine}, 1610612736},
		{"cgroup 1 without a limit", "", fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712"), "proc/meminfo": machine}, 4 << 30},
		{"a tiny cgroup", "", fstest.MapFS{"sys/fs/cgroup/memory.max": file("1000000")}, memoryLeast},
		{"not Linux", "", fstest.MapFS{}, 1 << 30},
		{"said", "512MiB", fstest.MapFS{"proc/meminfo": machine}, 512 << 20},
		{"in bytes", "200000000", nil, 200000000},
		{"too little", "100MiB", nil, 0},
		{"no unit that is known", "1GB", nil, 0},
		{"too large", "99999999TiB", nil, 0},
		{"negative", "-1GiB", nil, 0},
		{"nothing", "MiB", nil, 0},
	} {
		got, err := memoryBudget(c.text, c.root)
		if (err != nil) != (c.want == 0) || got != c.want {
			t.Errorf("%s: %d %v, want %d", c.name, got, err, c.want)
		}
	}
}

func TestCollectAt(t *testing.T) {
	for _, c := range []struct {
		name          string
		live, scanned uint64 // MiB
		want          int
	}{
		{"has just begun", 0, 0, 400},
		{"small stores", 30, 25, 320},
		{"memtables and a cache", 200, 40, 48},
		{"a large cache", 1600, 50, 20},
		{"much to scan", 400, 400, 100},
	} {
		if got := collectAt(c.live<<20, c.scanned<<20); got != c.want {
			t.Errorf("%s: %d %%, want %d", c.name, got, c.want)
		}
	}
}
