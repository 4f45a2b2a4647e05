package statestore_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/statestore"
)

// TestAttributeKinds: what is listed, what is counted, and that values of which there are many do not end
// the counting of the others.
func TestAttributeKinds(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Index = func(key, value []byte) statestore.Entry {
		return statestore.Entry{Attrs: []string{"s/" + string(value), "\x01k/" + string(key), "\x01v/" + string(value), "\x02n/" + string(value)}}
	}
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	const keys = 2000
	for i := range keys {
		muts := []statestore.Mutation{{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("a")}}
		if err := s.Load(muts, statestore.Position{Next: int64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Load([]statestore.Mutation{{Key: []byte("k0"), Value: []byte("b")}, {Key: []byte("k1")}}, statestore.Position{Next: keys + 1}); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for attr, want := range map[string]int64{"s/a": keys - 2, "s/b": 1, "\x01k/k7": 1, "\x01k/k1": 0, "\x01v/a": keys - 2, "\x02n/a": keys - 2, "\x02n/b": 1, "\x02n/c": 0, "": 0} {
			if n, err := s.CountAttr(attr); n != want || err != nil {
				t.Errorf("%s: %q: %d %v, want %d", when, attr, n, err, want)
			}
			listed := int64(0)
			if err := s.ScanAttr(attr, nil, func([]byte) bool { listed++; return true }); err != nil {
				t.Fatal(err)
			}
			if attr != "" && attr[0] == statestore.CountOnly {
				want = 0
			}
			if attr != "" && listed != want {
				t.Errorf("%s: %q lists %d, want %d", when, attr, listed, want)
			}
		}
	}
	check("written")
	if n, ok, err := s.Counted("\x02n/"); err != nil || !ok || len(n) != 2 || n["\x02n/a"] != keys-2 {
		t.Errorf("counted: %v %t %v", n, ok, err)
	}
	if !s.CountsKept() {
		t.Error("counts are not kept")
	}
	if err := s.ForgetCounts(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = statestore.Open(o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if !s.CountsKept() {
		t.Error("counts are not kept after a reopen")
	}
	check("counted anew")
}
