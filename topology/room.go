package topology

import "github.com/twmb/franz-go/pkg/kgo"

// room is memory for what a cycle emits. All of it is taken back when the next
// cycle begins: by then the transaction is committed, and the client has let go
// of every record of it. After an error nobody knows what the client still
// holds; the cycle is dropped then, with its room (task.release).
type room struct {
	records slab[kgo.Record]
	headers slab[kgo.RecordHeader]
	bytes   slab[byte]
}

const (
	roomRecords = 256
	roomHeaders = 2048
	roomBytes   = 64 << 10
	roomChunks  = 16 // of each kind are kept over a cycle: with the sizes above about 2.5 MiB for a task
)

func (r *room) init() {
	r.records.size, r.headers.size, r.bytes.size = roomRecords, roomHeaders, roomBytes
}

func (r *room) reset() {
	r.records.reset()
	r.headers.reset()
	r.bytes.reset()
}

// slab hands out pieces of chunks that are taken back together.
type slab[T any] struct {
	size   int // of a chunk
	chunks [][]T
	at     int // the chunk in use
}

// take gives n zero values. No append can run over them.
func (s *slab[T]) take(n int) []T {
	if n > s.size/4 {
		return make([]T, n) // large ones are left to the collector
	}
	for ; s.at < len(s.chunks); s.at++ {
		if c := s.chunks[s.at]; cap(c)-len(c) >= n {
			return s.from(n)
		}
	}
	s.chunks = append(s.chunks, make([]T, 0, s.size))
	return s.from(n)
}

func (s *slab[T]) from(n int) []T {
	c := s.chunks[s.at]
	s.chunks[s.at] = c[:len(c)+n]
	return c[len(c) : len(c)+n : len(c)+n]
}

// reset takes everything back, zeroes it and keeps roomChunks chunks.
func (s *slab[T]) reset() {
	if len(s.chunks) > roomChunks {
		clear(s.chunks[roomChunks:])
		s.chunks = s.chunks[:roomChunks]
	}
	for i, c := range s.chunks {
		clear(c)
		s.chunks[i] = c[:0]
	}
	s.at = 0
}
