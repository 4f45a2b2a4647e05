package statestore

const (
	arenaChunk  = 64 << 10
	arenaRetain = 4 << 20 // bytes kept over a reset
)

// An arena hands out memory that is all taken back at once. Slices it gave out
// are valid until reset; none is ever moved.
type arena struct {
	chunks [][]byte
	at     int // the chunk in use
}

// copy returns a copy of b that no append can run over.
func (a *arena) copy(b []byte) []byte {
	dst := a.alloc(len(b))
	copy(dst, b)
	return dst
}

func (a *arena) alloc(n int) []byte {
	if n > arenaChunk/4 {
		return make([]byte, n) // large ones are left to the collector
	}
	for ; a.at < len(a.chunks); a.at++ {
		if c := a.chunks[a.at]; cap(c)-len(c) >= n {
			return a.take(n)
		}
	}
	a.chunks = append(a.chunks, make([]byte, 0, arenaChunk))
	return a.take(n)
}

func (a *arena) take(n int) []byte {
	c := a.chunks[a.at]
	a.chunks[a.at] = c[:len(c)+n]
	return c[len(c) : len(c)+n : len(c)+n]
}

func (a *arena) reset() {
	if len(a.chunks) > arenaRetain/arenaChunk {
		clear(a.chunks[arenaRetain/arenaChunk:])
		a.chunks = a.chunks[:arenaRetain/arenaChunk]
	}
	for i, c := range a.chunks {
		a.chunks[i] = c[:0]
	}
	a.at = 0
}
