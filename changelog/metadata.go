package changelog

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicIdentity returns what identifies the changelog: the cluster, the
// topic's id, and the number of its partitions. A topic that does not exist is
// ErrFatal and kerr.UnknownTopicOrPartition.
func TopicIdentity(ctx context.Context, cl *kgo.Client, topic string) (clusterID string, topicID [16]byte, partitions int32, err error) {
	err = retry(ctx, func() error {
		md, t, err := metadata(ctx, cl, topic)
		if err != nil {
			return err
		}
		if md.ClusterID != nil {
			clusterID = *md.ClusterID
		}
		topicID, partitions = t.TopicID, int32(len(t.Partitions))
		return nil
	}, func(err error) bool { return !gone(err) })
	if gone(err) {
		err = fmt.Errorf("%w: it does not exist: %w", ErrFatal, kerr.UnknownTopicOrPartition)
	}
	if err != nil {
		return "", topicID, 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	return clusterID, topicID, partitions, nil
}

// metadata asks for one topic. The answer also teaches the client the brokers.
func metadata(ctx context.Context, cl *kgo.Client, topic string) (*kmsg.MetadataResponse, *kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, nil, classify(ctx, err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, nil, classify(ctx, err)
	}
	for i := range resp.Topics {
		found := &resp.Topics[i]
		if found.Topic == nil || *found.Topic != topic {
			continue
		}
		if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
			return nil, nil, classify(ctx, err)
		}
		return resp, found, nil
	}
	return nil, nil, fmt.Errorf("%w: the answer does not name the topic", ErrRetry)
}

// leader is where a partition is read.
type leader struct {
	broker  int32
	topicID [16]byte
}

func findLeader(ctx context.Context, cl *kgo.Client, topic string, partition int32) (leader, error) {
	_, t, err := metadata(ctx, cl, topic)
	if err != nil {
		return leader{}, err
	}
	for _, p := range t.Partitions {
		if p.Partition != partition {
			continue
		}
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return leader{}, classify(ctx, err)
		}
		if p.Leader < 0 {
			return leader{}, fmt.Errorf("%w: no leader", ErrRetry)
		}
		return leader{broker: p.Leader, topicID: t.TopicID}, nil
	}
	return leader{}, classify(ctx, kerr.UnknownTopicOrPartition)
}
