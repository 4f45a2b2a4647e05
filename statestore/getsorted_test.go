package statestore

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestGetSorted(t *testing.T) {
	s, err := Open(Options{Dir: "task", FS: vfs.NewMem(), Identity: Identity{Format: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var muts []Mutation
	for n := range 100 {
		muts = append(muts, Mutation{Key: fmt.Appendf(nil, "k-%03d", n), Value: fmt.Appendf(nil, "v-%d", n)})
	}
	if err := s.Load(muts, Position{Next: 1}); err != nil {
		t.Fatal(err)
	}
	ask := func(most int, keys ...string) (got string) {
		t.Helper()
		var list [][]byte
		for _, k := range keys {
			list = append(list, []byte(k))
		}
		if err := s.GetSorted(list, func(key, value []byte) bool {
			got += fmt.Sprintf("%s=%s ", key, value)
			most--
			return most > 0
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []struct {
		most int
		keys []string
		want string
	}{
		{9, nil, ""},
		{9, []string{"k-007"}, "k-007=v-7 "},
		{9, []string{"a", "k-000", "k-0005", "k-001", "k-099", "z"}, "k-000=v-0 k-001=v-1 k-099=v-99 "},
		{2, []string{"k-001", "k-002", "k-003"}, "k-001=v-1 k-002=v-2 "},
		{9, []string{"x", "y"}, ""},
	} {
		if got := ask(c.most, c.keys...); got != c.want {
			t.Errorf("%v: %q, want %q", c.keys, got, c.want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.GetSorted([][]byte{[]byte("k-001")}, func(_, _ []byte) bool { return true }); err == nil {
		t.Error("a closed store answers")
	}
}
