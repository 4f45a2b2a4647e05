package statestore_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/statestore"
)

// image makes a directory with tables, several logs and a manifest of several
// edits, as a crash leaves it.
func image(t *testing.T, seed uint64) (*vfs.MemFS, *history) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	fs := vfs.NewCrashableMem()
	o := testOptions(fs)
	if seed%2 == 1 {
		// Compactions are left for the store that finds the damage.
		o.Shared = statestore.NewShared(0, 0)
		statestore.NoCompactions(o.Shared)
		defer o.Shared.Close()
	}
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var h history
	b := s.NewBatch()
	for i := range 120 {
		h.record(t, s, b, rng, 3000)
		if i == 20 || i == 50 || i == 80 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed, &h
}

// logs makes a directory in which several logs wait for a flush that never
// came.
func logs(t *testing.T, seed uint64) (*vfs.MemFS, *history) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 8))
	fs := vfs.NewCrashableMem()
	stalled := &stallFS{FS: fs, release: make(chan struct{})}
	s, err := statestore.Open(testOptions(stalled))
	if err != nil {
		t.Fatal(err)
	}
	var h history
	b := s.NewBatch()
	for s.Metrics().MemTableBytes < 2500<<10 {
		h.record(t, s, b, rng, 3000)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	close(stalled.release)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed, &h
}

// stallFS makes the creation of a table wait.
type stallFS struct {
	vfs.FS
	release chan struct{}
}

func (fs *stallFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		<-fs.release
	}
	return fs.FS.Create(name, c)
}

// TestMissingLog removes each of several logs that wait for a flush: Pebble
// alone would replay the others and show a store with a hole.
func TestMissingLog(t *testing.T) {
	const dir = "data/task-7"
	for seed := range uint64(3) {
		fs, h := logs(t, seed)
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
		if len(names) < 3 {
			t.Fatalf("only %q", names)
		}
		for i, name := range names {
			copied := copyFS(t, fs, dir)
			if err := copied.Remove(path.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			s, err := statestore.Open(testOptions(copied))
			outcome, err := damaged(s, err, h)
			if err != nil {
				t.Errorf("seed %d: without %s: %v", seed, name, err)
			}
			// The last one may be empty yet, so that the one before it is the newest.
			if i < len(names)-2 && outcome != "open" {
				t.Errorf("seed %d: without %s of %q: %s, wanted ErrCorrupt", seed, name, names, outcome)
			}
		}
	}
}

func copyFS(t *testing.T, fs vfs.FS, dir string) *vfs.MemFS {
	t.Helper()
	dst := vfs.NewMem()
	if _, err := vfs.Clone(fs, dst, dir, dir); err != nil {
		t.Fatal(err)
	}
	return dst
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

// TestDamage flips bits in, cuts and removes every file of a store.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; one goroutine, so the race detector (-short) has nothing to find")
	}
	const dir = "data/task-7"
	for seed := range uint64(2) {
		fs, h := image(t, seed)
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		outcomes := map[string]int{}
		try := func(name, what string, change func(fs *vfs.MemFS, file string)) {
			t.Helper()
			copied := copyFS(t, fs, dir)
			change(copied, path.Join(dir, name))
			s, err := statestore.Open(testOptions(copied))
			outcome, err := damaged(s, err, h)
			if err != nil {
				t.Errorf("seed %d: %s: %s: %v", seed, name, what, err)
			}
			outcomes[strings.TrimLeft(name, "0123456789")+" "+strings.Fields(what)[0]+": "+strings.TrimRight(outcome, "0123456789")]++
		}
		rng := rand.New(rand.NewPCG(seed, 6))
		for _, name := range names {
			if name == "LOCK" {
				continue
			}
			content := readFile(t, fs, path.Join(dir, name))
			try(name, "remove", func(fs *vfs.MemFS, file string) {
				if err := fs.Remove(file); err != nil {
					t.Fatal(err)
				}
			})
			if len(content) == 0 {
				continue
			}
			for range 12 {
				bit := rng.IntN(len(content) * 8)
				try(name, fmt.Sprintf("flip bit %d of %d", bit, len(content)*8), func(fs *vfs.MemFS, file string) {
					b := append([]byte(nil), content...)
					b[bit/8] ^= 1 << (bit % 8)
					writeFile(t, fs, file, b)
				})
			}
			for range 3 {
				n := rng.IntN(len(content))
				try(name, fmt.Sprintf("cut to %d of %d", n, len(content)), func(fs *vfs.MemFS, file string) {
					writeFile(t, fs, file, content[:n])
				})
			}
		}
		for what, n := range outcomes {
			t.Logf("%4d × %s", n, what)
		}
	}
}
