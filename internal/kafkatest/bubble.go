package kafkatest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Bubble runs fn in a synctest bubble with an in-process cluster on a virtual
// network. Everything that fn starts must end before it returns, or be
// stopped by a Cleanup of the t it is given.
//
// Three rules keep virtual time moving, and moving fast:
//
//   - No goroutine in the bubble may wait for anything outside it: no real
//     sockets, no files over a network, no channel made outside.
//   - Waits are long (fetches, heartbeats, metadata: minutes). Every wake-up
//     of a client costs real time, so a loop of 100 ms makes a virtual week
//     six million steps. Records still arrive at once: a produce wakes the
//     fetches that wait for it. A rebalance is noticed at the next heartbeat.
//   - Order is not seeded: a bubble makes time virtual, not scheduling.
func Bubble(t *testing.T, fn func(t *testing.T, c *Cluster), opts ...Option) {
	t.Helper()
	if !tagged {
		t.Skip("needs -tags synctests (make test passes it): without it a mutex in the Kafka client stops virtual time")
	}
	if realSeeds() != nil {
		t.Skipf("%s is set: this run is about the real cluster; make test runs the bubbles", SeedsEnv)
	}
	synctest.Test(t, func(t *testing.T) {
		fn(t, newVirtual(t, opts))
	})
}

// Client settings inside a bubble; the values are the largest that the
// client or the protocol takes and that still make sense of a test.
const (
	bubbleFetchWait = 30 * time.Second // what comes to a partition that the first fetch missed waits for its end
	bubbleHeartbeat = 10 * time.Minute
	bubbleSession   = 45 * time.Minute
	bubblePatience  = 366 * 24 * time.Hour
)

func newVirtual(t *testing.T, opts []Option) *Cluster {
	o := gather(opts)
	network := new(kfake.VirtualNetwork)
	ports := make([]int, o.brokers)
	for i := range ports {
		ports[i] = 9092 + i
	}
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.Ports(ports...),
		kfake.ListenFn(network.Listen),
		kfake.GroupMaxSessionTimeout(bubbleSession),
		kfake.BrokerConfigs(o.configs),
	}, o.kfake...)...)
	if err != nil {
		t.Fatalf("start the in-process cluster: %v", err)
	}
	t.Cleanup(fake.Close)
	c := &Cluster{
		t: t, ns: "test", seeds: fake.ListenAddrs(), fake: fake,
		dial: network.DialContext, wait: bubblePatience,
	}
	c.opts = []kgo.Opt{
		kgo.FetchMaxWait(bubbleFetchWait),
		kgo.MetadataMaxAge(time.Hour),
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.ConnIdleTimeout(15 * time.Minute),
	}
	c.group = []kgo.Opt{
		kgo.SessionTimeout(bubbleSession),
		kgo.HeartbeatInterval(bubbleHeartbeat),
		kgo.RebalanceTimeout(bubbleSession),
	}
	c.finish()
	return c
}
