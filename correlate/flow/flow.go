package flow

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/correlate"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology"
)

// Config is what a worker of the correlation needs. Zero values of optional fields are defaults.
type Config struct {
	// Namespace whose topics are read and written. Required; the topics must be there.
	Namespace string
	// DataDir is that of the process; the stores lie in its folder correlation. Required.
	DataDir string
	// FS is the file system of the stores. Default: the disk.
	FS vfs.FS
	// Memory is what the worker may hold, in bytes: see package topology. Default: none.
	Memory int64
	// Client are the options of every Kafka client. Required.
	Client []kgo.Opt
	// Advertise, InstanceID, Zone, Standbys, Limits, Timing, Clock, Hooks and Failpoint are those of package
	// topology.
	Advertise  string
	InstanceID string
	Zone       string
	Standbys   int
	Limits     topology.Limits
	Timing     topology.Timing
	Clock      func() time.Time
	Hooks      topology.Hooks
	Failpoint  func(name string, task int32) error
	// Version of the software, for dead letters.
	Version string
	// Logger. Default: silent.
	Logger *slog.Logger
	// Metrics takes what is counted. Default: nothing is.
	Metrics *Metrics
}

// App is the prefix of the group and the transactional ids.
func App(namespace string) string { return protocol.App(namespace) + "correlation." }

// Group is the consumer group under which lag tools see the correlation.
func Group(namespace string) string { return App(namespace) + "engine" }

// cacheBytes is the block cache: an entity is read once per record and is small.
const cacheBytes = 8 << 20

// New makes the worker of one process.
func New(cfg Config) (*topology.Worker, error) {
	t, err := Topology(cfg)
	if err != nil {
		return nil, err
	}
	return topology.New(t.Config(topology.Config{
		App: App(cfg.Namespace), Changelog: protocol.App(cfg.Namespace) + "correlation-state", DataDir: filepath.Join(cfg.DataDir, "correlation"),
		FS: cfg.FS, Memory: cfg.Memory, CacheBytes: cacheBytes, Client: cfg.Client, Advertise: cfg.Advertise, InstanceID: cfg.InstanceID, Zone: cfg.Zone,
		Standbys: cfg.Standbys, Limits: cfg.Limits, Timing: cfg.Timing, Clock: cfg.Clock, Logger: cfg.Logger, Hooks: cfg.Hooks, Failpoint: cfg.Failpoint,
		AllowTruncatedInput: true, // the topics may be made long after the namespace, and their retention is ours
	}))
}

// storeName is the store of the entities.
const storeName = "values"

// Topology is the correlation of a namespace.
func Topology(cfg Config) (*topology.Topology, error) {
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, fmt.Errorf("correlation: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	b := topology.NewBuilder("correlation " + cfg.Namespace)
	in := topology.From(b, topics.Correlation, topology.Bytes())
	out := topology.Process(in, "correlate", func(int32) topology.Handler[[]byte, output] {
		return &handler{cfg: cfg, topics: topics}
	}, topology.Uses{Stores: []topology.StoreSpec{{Name: storeName, Index: func(_, value []byte) statestore.Entry {
		return statestore.Entry{Due: correlate.DueOf(value)}
	}}}})
	to := func(topic string) func(topology.Item[output]) bool {
		return func(it topology.Item[output]) bool { return it.Value.topic == topic }
	}
	branches := out.Branch(to(topics.Intake), to(topics.Replies))
	for i, topic := range []string{topics.Intake, topics.Replies, topics.DLQ} {
		topology.MapValue(branches[i], func(o output) ([]byte, error) { return o.value, nil }).To(topic, topology.Bytes())
	}
	b.SetAsideBy(topics.DLQ, func(rec *topology.Record, err error) *topology.Record {
		cfg.Metrics.letters.WithLabelValues(classOf(err)).Inc()
		return setAside(cfg, topics, rec, err)
	})
	return b.Build()
}

// output is one record that leaves the process.
type output struct {
	topic string
	value []byte
}

// fault is why a record is set aside.
type fault struct{ class, message string }

func (f *fault) Error() string { return f.message }

// classOf is the class of the dead letter that a record becomes.
func classOf(err error) string {
	var f *fault
	var p *protocol.Error
	switch {
	case errors.As(err, &f):
		return f.class
	case errors.As(err, &p):
		return string(p.Class)
	case errors.Is(err, topology.ErrTooLarge):
		return "TOO_LARGE"
	case errors.Is(err, topology.ErrUndeliverable):
		return "UNDELIVERABLE"
	case errors.Is(err, topology.ErrPanic):
		return "PANIC"
	}
	return "FAILED"
}
