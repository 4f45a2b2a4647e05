package protocol

import "strconv"

// Weight says what a wrong value of a topic setting means to the check at start.
type Weight uint8

const (
	// Required: with another value the engine is not safe. It refuses to start.
	Required Weight = iota + 1
	// Advised: with another value it is safe but slow or wasteful. It warns.
	Advised
	// Initial: set when we create the topic, then it is the user's. Never checked.
	Initial
)

// Setting is one Kafka topic configuration.
type Setting struct {
	Key, Value string
	Weight     Weight
}

// TopicPlan is how a topic should be in Kafka.
type TopicPlan struct {
	Name        string
	Purpose     string // one line for people
	Partitions  int32
	Replication int16
	Settings    []Setting
}

// DefaultPartitions is the partition count of intake, replies, control and state, in development
// and in production alike. It is fixed when the topics are created.
const DefaultPartitions = 12

const (
	hour = 60 * 60 * 1000
	day  = 24 * hour
)

// Plan returns how the topics of a namespace should be, in the order in which to create them.
// Inputs and lifecycle have partitions partitions, state has tasks, the others one.
func (t Topics) Plan(partitions, tasks int32, replication int16) []TopicPlan {
	return []TopicPlan{
		{t.Defs, "definitions of sagas; every process holds all of them", 1, replication, compacted(replication)},
		{t.Members, "processes and what they can do", 1, replication, compacted(replication)},
		{t.State, "changelog of the instances; its partition count is the number of tasks", tasks, replication, changelog(replication)},
		{t.DLQ, "records that were set aside, as they came, with the reason in headers", 1, replication, log(replication, 30*day)},
		{t.Lifecycle, "facts about instances, in order per workflow ID", partitions, replication, log(replication, 30*day)},
		{t.Control, "operator actions, and what instances tell one another; only operators may write", partitions, replication, log(replication, 7*day)},
		{t.Replies, "answers of participants", partitions, replication, log(replication, 7*day)},
		{t.Intake, "starts, signals and cancels", partitions, replication, log(replication, 7*day)},
	}
}

// CorrelationPlan returns how the topics of correlation should be. They are made when the first definition
// needs them.
func (t Topics) CorrelationPlan(partitions, tasks int32, replication int16) []TopicPlan {
	return []TopicPlan{
		{t.CorrelationState, "changelog of who waits for which value, and of early events", tasks, replication, changelog(replication)},
		{t.Correlation, "who waits for which value, and the events that have one; only the engine writes it", partitions, replication, log(replication, 7*day)},
	}
}

// CommandTopicPlan returns how a participant's command topic should be. Its retention bounds how
// long a command can wait for the participant.
func CommandTopicPlan(topic string, partitions int32, replication int16) TopicPlan {
	return TopicPlan{topic, "commands to one participant", partitions, replication, log(replication, 7*day)}
}

// EventTopicPlan returns how a topic for the domain events of sagas should be when it is missing. It
// is the readers' as much as ours.
func EventTopicPlan(topic string, partitions int32, replication int16) TopicPlan {
	return TopicPlan{topic, "domain events of sagas", partitions, replication, log(replication, 7*day)}
}

// ChangelogPlan returns how a changelog topic should be, e.g. that of a participant's inbox.
func ChangelogPlan(topic string, partitions int32, replication int16) TopicPlan {
	return TopicPlan{topic, "changelog of a store", partitions, replication, changelog(replication)}
}

// safe are the settings that no topic of ours can do without: an acknowledged record must not be
// lost by one broker.
func safe(replication int16) []Setting {
	return []Setting{
		{"min.insync.replicas", strconv.Itoa(int(minISR(replication))), Required},
		{"unclean.leader.election.enable", "false", Required},
		{"message.timestamp.type", "CreateTime", Advised},
		// A record of MaxRecordBytes with MaxHeaderBytes of headers, and the batch around them.
		{"max.message.bytes", strconv.Itoa(MaxRecordBytes + MaxHeaderBytes + 64<<10), Required},
	}
}

func minISR(replication int16) int16 {
	if replication >= 3 {
		return 2
	}
	return 1
}

func log(replication int16, retention int64) []Setting {
	return append([]Setting{
		{"cleanup.policy", "delete", Required},
		{"retention.ms", strconv.FormatInt(retention, 10), Initial},
	}, safe(replication)...)
}

func compacted(replication int16) []Setting {
	return append([]Setting{{"cleanup.policy", "compact", Required}}, safe(replication)...)
}

// changelog is compacted and nothing else: with "delete" a quiet instance would vanish. Small
// segments and an eager cleaner keep a restore short; delete.retention.ms bounds how old a local
// store may be and still catch up from the tail.
func changelog(replication int16) []Setting {
	return append([]Setting{
		{"cleanup.policy", "compact", Required},
		{"delete.retention.ms", strconv.Itoa(day), Advised},
		{"max.compaction.lag.ms", strconv.Itoa(6 * hour), Advised},
		{"min.cleanable.dirty.ratio", "0.2", Advised},
		{"segment.bytes", strconv.Itoa(64 << 20), Advised},
		{"segment.ms", strconv.Itoa(hour), Advised},
	}, safe(replication)...)
}
