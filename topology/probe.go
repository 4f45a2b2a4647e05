package topology

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// prober writes to a destination to see whether it takes records again.
type prober struct {
	cfg  *Config
	base []kgo.Opt
	id   string // prefix of the transactional ids
}

func newProber(cfg *Config, base []kgo.Opt) *prober {
	var nonce [6]byte
	_, _ = rand.Read(nonce[:])
	return &prober{cfg: cfg, base: base, id: cfg.App + "probe-" + hex.EncodeToString(nonce[:]) + "-"}
}

// probe writes the samples of f in a transaction that it aborts. It returns nil when every one was
// acknowledged by all in-sync replicas. Its transactional id is that of one topic in one process: a
// marker that cannot be written blocks nothing else, and says that the topic does not heal yet.
func (p *prober) probe(ctx context.Context, f laneFault) error {
	patience := p.cfg.Destinations.Patience
	ctx, cancel := context.WithTimeout(ctx, 2*patience+time.Second)
	defer cancel()
	cl, err := kgo.NewClient(append(p.base[:len(p.base):len(p.base)],
		kgo.TransactionalID(p.id+f.topic),
		kgo.TransactionTimeout(p.cfg.Timing.Transaction),
		kgo.RecordDeliveryTimeout(max(time.Second, 2*patience)),
		kgo.ProduceRequestTimeout(max(100*time.Millisecond, patience)),
		kgo.RetryTimeout(2*patience+time.Second),
		kgo.ProducerLinger(0),
		kgo.RecordPartitioner(Partitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(slices.Clone(p.cfg.Compression)...), // readers get this batch too, and some know no other
	)...)
	if err != nil {
		return fmt.Errorf("client of the probe: %w", err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		return fmt.Errorf("begin the probe: %w", err)
	}
	var fault error
	for _, rec := range f.sample {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers}).FirstErr(); err != nil {
			fault = err
			break
		}
	}
	if fault != nil {
		return reasonOf(ctx, fault)
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		return fmt.Errorf("end the probe: %w", err)
	}
	return nil
}

// reasonOf names what a person can act on.
func reasonOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && !isLaneFault(err) {
		return errStalled
	}
	return err
}

// sampleOf copies what a probe needs of records that were not acknowledged: at most samplesMax of
// one topic, of different keys, because those may lie on different partitions.
func sampleOf(records []*kgo.Record) (sample []*kgo.Record) {
	seen := make(map[string]bool)
	for _, rec := range records {
		if len(sample) == samplesMax {
			break
		}
		if seen[string(rec.Key)] {
			continue
		}
		seen[strings.Clone(string(rec.Key))] = true
		sample = append(sample, &kgo.Record{Topic: rec.Topic, Partition: ByKey, Key: rec.Key, Value: rec.Value, Headers: rec.Headers})
	}
	return sample
}
