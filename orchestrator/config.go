package orchestrator

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// MaxPartitions bounds the partitions of a namespace. Each task costs two transactional clients.
const MaxPartitions = 1024

// Config says what one process runs. The zero value of a field means its default.
type Config struct {
	// Namespace is the prefix of all topics, the group and the transactional ids: lower-case letters,
	// digits, '-' and single dots, at most 100 bytes. Required. Two namespaces share nothing.
	Namespace string

	// Brokers are the seed brokers, host:port. Required unless Client carries seeds.
	Brokers []string

	// Client are options for every Kafka client of the process: TLS, SASL, dialer, seeds.
	Client []kgo.Opt

	// DataDir holds the stores of the tasks. Required to Run. Two processes must not share it. When it is
	// lost, the stores are rebuilt from the state topic.
	DataDir string

	// FS is the file system of the stores. Default: the disk.
	FS vfs.FS

	// Advertise is the host:port at which other processes reach the HTTP API of this one. Default:
	// none; queries for instances of this process then fail elsewhere with SG202.
	Advertise string

	// InstanceID names this process in the group, for static membership: a restart within the
	// session timeout then moves no partition. Must be unique. Default: none.
	InstanceID string

	// Zone is where this process is, for example an availability zone: the copies of its tasks are
	// kept in another one where that can be. Default: none.
	Zone string

	// Standbys is the number of processes that keep a copy of each task's state, at most 8. Give all
	// processes the same. 0 means 1; -1 means none.
	Standbys int

	// Partitions of intake, replies and control when the namespace is created. 0 means 12, or
	// whatever the topics have. A namespace that exists with another count is refused.
	Partitions int32

	// Tasks is the partition count of the state topic when the namespace is created, at most
	// Partitions. 0 means as many as Partitions. It cannot be changed later.
	Tasks int32

	// ReplicationFactor of topics that are created. 0 means 3, or the number of brokers if smaller.
	ReplicationFactor int16

	// CreateTopics lets the process create missing topics. Existing topics are never altered. When
	// false a missing topic is an error that names the settings it needs.
	CreateTopics bool

	// AllowOldTransactions lets the process run on brokers below transaction.version 2, where a commit
	// that was delayed in the network can end a later transaction: exactly once no longer holds.
	AllowOldTransactions bool

	// Codec reads the values of events for bindings and of replies, and writes the commands of participants that
	// take Avro. Default: schema.Plain, which knows JSON.
	Codec schema.Codec

	// CloudEvents writes the headers of CloudEvents 1.0, binary mode, on lifecycle records too. Default: not; they
	// are about as long as the record.
	CloudEvents bool

	// TokenSecret signs the tokens of commands, so that a reply can only come from somebody who has
	// seen its command. All processes of a namespace need the same. Empty means unsigned. At least
	// 16 bytes otherwise.
	TokenSecret []byte

	// OrphanReplies says what becomes of a reply that reports an effect for an instance that nobody
	// knows: OrphanDeadLetter (default) or OrphanDrop, which only counts it.
	OrphanReplies OrphanPolicy

	// Memory is what the runtime of this process may hold, in bytes: see package topology. Default:
	// none, and each part has its own default. With definitions that correlate events an eighth, and at least
	// 64 MiB, is for that.
	Memory int64

	// Limits bound memory, batches and concurrency of the runtime. Default: those of package topology, and
	// KeyRecords 100 from feature level 2 on; -1 for none.
	Limits topology.Limits

	// Timing holds intervals and timeouts of the runtime. Default: those of package topology.
	Timing topology.Timing

	// Destinations say when to stop writing to topics of others (command topics, topics of events and
	// results), and how fast this process writes to them. Default: those of package topology.
	Destinations topology.Destinations

	// Explain bounds what one explanation of an instance asks of Kafka. Default: those of package explain.
	Explain explain.Limits

	// Tracer gets the spans of each committed cycle. It is called from the goroutine of a task and must
	// return at once; the slice is its to keep. Default: none, and no span is built.
	Tracer func([]Span)

	// Hooks are called as things happen, beside those that feed the metrics.
	Hooks topology.Hooks

	// Clock tells the time. Default: time.Now.
	Clock func() time.Time

	// Logger gets what operators should know; never payloads. Default: silent.
	Logger *slog.Logger

	// Failpoint is for tests: see package topology. Default: none.
	Failpoint func(name string, task int32) error
}

// OrphanPolicy is a rule for replies that report an effect for an unknown instance.
type OrphanPolicy uint8

const (
	OrphanDeadLetter OrphanPolicy = iota // to the dead-letter topic, class ORPHAN_REPLY
	OrphanDrop                           // count and forget
)

// withDefaults returns a copy with the defaults filled in.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Codec == nil {
		c.Codec = schema.Plain{}
	}
	return c
}

// Validate reports all faults at once, each with the name of its field. The error is of class
// ErrConfig.
func (c Config) Validate() error {
	faults := c.faults()
	if c.DataDir == "" {
		faults = append(faults, "DataDir: is required")
	}
	return configError(faults)
}

// faults are those that matter to every use of a Config; a publisher needs no data directory.
func (c Config) faults() []string {
	var f []string
	add := func(format string, args ...any) { f = append(f, fmt.Sprintf(format, args...)) }
	switch {
	case c.Namespace == "":
		add("Namespace: is required")
	default:
		if err := protocol.ValidateNamespace(c.Namespace); err != nil {
			add("Namespace: %v", err)
		}
	}
	if len(c.Brokers) == 0 && len(c.Client) == 0 {
		add("Brokers: at least one host:port is required")
	}
	for _, b := range c.Brokers {
		if !isHostPort(b) {
			add("Brokers: %q is not host:port", b)
		}
	}
	if c.Advertise != "" && !isHostPort(c.Advertise) {
		add("Advertise: %q is not host:port", c.Advertise)
	}
	if c.Partitions < 0 || c.Partitions > MaxPartitions {
		add("Partitions: %d is not between 1 and %d", c.Partitions, MaxPartitions)
	}
	if c.Tasks < 0 {
		add("Tasks: %d is negative", c.Tasks)
	}
	if p := c.Partitions; c.Tasks > 0 && (p > 0 && c.Tasks > p || p == 0 && c.Tasks > protocol.DefaultPartitions) {
		add("Tasks: %d is more than Partitions", c.Tasks)
	}
	if c.ReplicationFactor < 0 {
		add("ReplicationFactor: %d is negative", c.ReplicationFactor)
	}
	if c.Standbys < -1 || c.Standbys > 8 {
		add("Standbys: %d is not between -1 and 8", c.Standbys)
	}
	if n := len(c.TokenSecret); n > 0 && n < 16 {
		add("TokenSecret: %d bytes are too few, at least 16 are needed", n)
	}
	if c.OrphanReplies > OrphanDrop {
		add("OrphanReplies: %d is not a policy", c.OrphanReplies)
	}
	return f
}

func configError(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	return &Error{Code: CodeConfig, Class: ErrConfig, Cause: strings.Join(faults, "; ")}
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && !strings.ContainsAny(s, " /")
}

// clientOpts are the options of a client that is not one of the runtime's.
func (c Config) clientOpts(extra ...kgo.Opt) []kgo.Opt {
	opts := make([]kgo.Opt, 0, len(c.Client)+len(extra)+2)
	if len(c.Brokers) > 0 {
		opts = append(opts, kgo.SeedBrokers(c.Brokers...))
	}
	opts = append(opts, c.Client...)
	// The admin calls of this client read through a cache as old as MetadataMinAge: topics that were
	// just created must be seen.
	opts = append(opts, kgo.ClientID("amends/"+c.Advertise), kgo.MetadataMinAge(50*time.Millisecond))
	return append(opts, extra...)
}
