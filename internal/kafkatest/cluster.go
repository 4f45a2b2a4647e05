package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// SeedsEnv names the variable that points the suite at a real cluster:
// host:port, more of them separated by commas.
const SeedsEnv = "KAFKA_SEEDS"

// Cluster is a Kafka cluster that lives as long as one test.
// Its methods fail the test instead of returning errors, so call them from
// the test's goroutine.
type Cluster struct {
	t     testing.TB
	ns    string
	seeds []string
	dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: the real network
	fake  *kfake.Cluster                                                       // nil: real cluster
	bare  []kgo.Opt                                                            // how to reach it
	opts  []kgo.Opt                                                            // what every client of this cluster needs
	group []kgo.Opt                                                            // what group members need besides
	wait  time.Duration                                                        // how long a helper waits before it fails the test

	admin *kgo.Client // made on first use
	topic []string    // made by CreateTopic, deleted at the end on a real cluster
}

// Option changes how an in-process cluster is started. A real cluster is
// taken as it is: options do not apply to it.
type Option func(*options)

type options struct {
	brokers int
	configs map[string]string
	kfake   []kfake.Opt
}

// Brokers sets the number of brokers of an in-process cluster; default 1.
func Brokers(n int) Option { return func(o *options) { o.brokers = n } }

// BrokerConfig sets one broker setting of an in-process cluster.
func BrokerConfig(key, value string) Option {
	return func(o *options) { o.configs[key] = value }
}

// Fake passes further options to the in-process cluster.
func Fake(opts ...kfake.Opt) Option {
	return func(o *options) { o.kfake = append(o.kfake, opts...) }
}

func gather(opts []Option) options {
	o := options{brokers: 1, configs: map[string]string{
		// The in-process cleaner ignores open transactions: a key whose
		// newest value is later aborted would lose its committed one.
		"log.cleaner.backoff.ms": "9000000000000",
	}}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// New gives the real cluster when KAFKA_SEEDS is set and otherwise an
// in-process one on loopback.
func New(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	if seeds := realSeeds(); seeds != nil {
		return newReal(t, seeds)
	}
	o := gather(opts)
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(o.brokers),
		kfake.BrokerConfigs(o.configs),
	}, o.kfake...)...)
	if err != nil {
		t.Fatalf("start the in-process cluster: %v", err)
	}
	t.Cleanup(fake.Close)
	c := &Cluster{t: t, ns: "test", seeds: fake.ListenAddrs(), fake: fake, wait: time.Minute}
	c.opts = []kgo.Opt{
		kgo.FetchMaxWait(time.Second),
		kgo.MetadataMinAge(10 * time.Millisecond),
	}
	c.group = []kgo.Opt{
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(100 * time.Millisecond),
	}
	c.finish()
	return c
}

// Real gives the real cluster named by KAFKA_SEEDS, or skips the test.
func Real(t testing.TB) *Cluster {
	t.Helper()
	seeds := realSeeds()
	if seeds == nil {
		t.Skipf("needs a real cluster: set %s, or run make kafka-test", SeedsEnv)
	}
	return newReal(t, seeds)
}

func realSeeds() []string {
	v := os.Getenv(SeedsEnv)
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func newReal(t testing.TB, seeds []string) *Cluster {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	c := &Cluster{t: t, ns: "t" + hex.EncodeToString(b[:]), seeds: seeds, wait: time.Minute}
	c.opts = []kgo.Opt{
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	c.group = []kgo.Opt{
		kgo.SessionTimeout(6 * time.Second), // the broker's floor
		kgo.HeartbeatInterval(500 * time.Millisecond),
	}
	t.Cleanup(c.deleteOwn)
	c.finish()
	return c
}

// finish puts in front of the client options what all kinds of clusters have.
func (c *Cluster) finish() {
	base := []kgo.Opt{kgo.SeedBrokers(c.seeds...)}
	if c.dial != nil {
		base = append(base, kgo.Dialer(c.dial))
	}
	if raced && !c.IsReal() {
		base = append(base, kgo.WithCompressor(plain{}))
	}
	c.bare = base
	c.opts = append(base[:len(base):len(base)], c.opts...)
}

// Kfake gives the in-process cluster, for faults; nil on a real cluster.
func (c *Cluster) Kfake() *kfake.Cluster { return c.fake }

// IsReal says whether this is a real cluster.
func (c *Cluster) IsReal() bool { return c.fake == nil }

// Namespace is this test's own namespace. Topics named `<namespace>.…` are
// deleted when the test ends.
func (c *Cluster) Namespace() string { return c.ns }

// Name makes a name that no other test uses, for names that do not carry
// the namespace by themselves, such as a participant's.
func (c *Cluster) Name(base string) string { return c.ns + "-" + base }

// Seeds are the addresses to give to a process under test. They are of no
// use outside the bubble when the cluster is on the virtual network.
func (c *Cluster) Seeds() []string { return c.seeds }

// Opts are the options that every client of this cluster needs, followed by
// the given ones.
func (c *Cluster) Opts(more ...kgo.Opt) []kgo.Opt {
	return append(append([]kgo.Opt(nil), c.opts...), more...)
}

// BareOpts only say how to reach the cluster. Opts hurry the client in some things
// and slow it down in others; these are for what the product does by itself.
func (c *Cluster) BareOpts(more ...kgo.Opt) []kgo.Opt {
	return append(append([]kgo.Opt(nil), c.bare...), more...)
}

// GroupOpts are Opts for a member of a consumer group: session and heartbeat
// fit the cluster (minutes in a bubble, the broker's floor elsewhere).
func (c *Cluster) GroupOpts(more ...kgo.Opt) []kgo.Opt {
	return append(c.Opts(c.group...), more...)
}

// Client opens a client that is closed when the test ends.
func (c *Cluster) Client(more ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(c.Opts(more...)...)
	if err != nil {
		c.t.Fatalf("open a client: %v", err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// Context ends when the cluster's patience does: a minute, or a year of
// virtual time in a bubble. It turns a hang into a failure and measures nothing.
func (c *Cluster) Context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), c.wait)
}
