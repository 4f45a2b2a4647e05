package topology

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSlab: what was taken is zero and is nobody else's until reset; what is kept over a reset is bounded.
func TestSlab(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slab[byte]{size: rapid.IntRange(4, 64).Draw(t, "size")}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			var taken [][]byte
			for n := range rapid.IntRange(0, 200).Draw(t, "pieces") {
				piece := s.take(rapid.IntRange(0, 2*s.size).Draw(t, "length"))
				for i := range piece {
					if piece[i] != 0 {
						t.Fatal("memory is not zero")
					}
					piece[i] = byte(n)
				}
				if cap(piece) != len(piece) {
					t.Fatal("an append would run over the next")
				}
				taken = append(taken, piece)
			}
			for n, piece := range taken {
				for i := range piece {
					if piece[i] != byte(n) {
						t.Fatalf("piece %d was written by another", n)
					}
				}
			}
			if s.reset(); len(s.chunks) > roomChunks {
				t.Fatalf("%d chunks kept", len(s.chunks))
			}
		}
	})
}
