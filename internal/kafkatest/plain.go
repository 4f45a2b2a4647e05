package kafkatest

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kgo"
)

// plain makes every client of an in-process cluster produce without
// compression, whatever it asked for. It is for the race detector only: that
// makes sync.Pool drop what it is given at random, and one lz4 frame needs
// buffers of 4 MB however small it is. Suites then spent nearly all their
// time in the kernel, which had to find pages for them.
type plain struct{}

func (plain) Compress(_ *bytes.Buffer, src []byte, _ ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	return src, kgo.CodecNone
}
