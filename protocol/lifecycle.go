package protocol

// KV is one detail of a lifecycle record.
type KV struct{ Key, Value string }

// Lifecycle is one fact about an instance. Seq is gapless per workflow ID.
type Lifecycle struct {
	WorkflowID string
	Run        uint32
	Seq        uint64
	Rev        uint64
	At         int64  // ms
	Kind       string // one of LifecycleKinds
	Path       string
	Phase      string
	Attention  []string
	Cause      string
	Definition string // type@version
	Detail     []KV   // sorted by key, keys unique
	Source     *Source
}
