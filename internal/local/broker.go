package local

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is an embedded Kafka broker on a loopback port.
type Broker struct {
	Addr    string // host:port
	cluster *kfake.Cluster
}

// StartBroker listens on addr (host:port; port 0 takes a free one). With an empty dir the log is in
// memory and gone at Close; otherwise it is kept there.
func StartBroker(addr, dir string) (*Broker, error) {
	_, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("broker address %q: %w", addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("broker address %q: bad port", addr)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("amends-local"),
		kfake.GroupMinSessionTimeout(time.Second),
		// Who writes the first event of a topic should not have to create it first. A client has to ask for it; ours
		// do not.
		kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(3),
		kfake.BrokerConfigs(map[string]string{
			// The cleaner of the embedded broker ignores open transactions: a key whose newest value is
			// aborted later would lose its committed one. So it never runs.
			"log.cleaner.backoff.ms": "9000000000000",
		}),
	}
	if port != 0 {
		opts = append(opts, kfake.Ports(port))
	}
	if dir != "" {
		opts = append(opts, kfake.DataDir(dir))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker on %s: %w", addr, err)
	}
	return &Broker{Addr: c.ListenAddrs()[0], cluster: c}, nil
}

// Close stops the broker.
func (b *Broker) Close() { b.cluster.Close() }
