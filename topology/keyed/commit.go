package keyed

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// send commits offsets and gives the first error of any partition.
func (p *Processor) send(ctx context.Context, offsets map[string]map[int32]kgo.EpochOffset) error {
	var failed error
	p.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, topic := range resp.Topics {
			for _, part := range topic.Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); err != nil && failed == nil {
					failed = err
				}
			}
		}
	})
	return failed
}
