package desk

import (
	"encoding/json"

	"github.com/amendsio/amends/sagas"
)

// The shapes of the API's answers, as far as pages need them.

type row struct {
	WorkflowID string                `json:"workflowId"`
	Type       string                `json:"type"`
	Version    uint32                `json:"version"`
	Phase      string                `json:"phase"`
	Status     string                `json:"status"`
	StartedAt  sagas.Time            `json:"startedAt"`
	UpdatedAt  sagas.Time            `json:"updatedAt"`
	Due        sagas.Time            `json:"due"`
	Tags       []sagas.TagView       `json:"tags"`
	Attention  []sagas.AttentionView `json:"attention"`
}

type list struct {
	Instances []row  `json:"instances"`
	Next      string `json:"next"`
}

type tally struct {
	N       int64 `json:"n"`
	AtLeast bool  `json:"atLeast"`
}

type census struct {
	Rows []struct {
		Type      string `json:"type"`
		Version   uint32 `json:"version"`
		Status    string `json:"status"`
		Active    bool   `json:"active"`
		Attention bool   `json:"attention"`
		N         int    `json:"n"`
	} `json:"rows"`
}

type place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

type factJSON struct {
	WorkflowID string            `json:"workflowId"`
	Seq        uint64            `json:"seq"`
	Rev        uint64            `json:"rev"`
	At         sagas.Time        `json:"at"`
	Kind       string            `json:"kind"`
	Path       string            `json:"path"`
	Phase      string            `json:"phase"`
	Attention  []string          `json:"attention"`
	Cause      string            `json:"cause"`
	Detail     map[string]string `json:"detail"`
	Source     *place            `json:"source"`
	Place      *place            `json:"place"`
}

type headerJSON struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type messageJSON struct {
	Kind    string          `json:"kind"`
	At      sagas.Time      `json:"at"`
	Place   place           `json:"place"`
	Path    string          `json:"path"`
	Op      string          `json:"op"`
	Name    string          `json:"name"`
	Outcome string          `json:"outcome"`
	Headers []headerJSON    `json:"headers"`
	Value   json.RawMessage `json:"value"`
	Bytes   string          `json:"bytes"`
	Size    int             `json:"size"`
}

type previewJSON struct {
	WorkflowID   string          `json:"workflowId"`
	Path         string          `json:"path"`
	Rev          uint64          `json:"rev"`
	Refused      string          `json:"refused"`
	PhaseBefore  string          `json:"phaseBefore"`
	PhaseAfter   string          `json:"phaseAfter"`
	StatusBefore string          `json:"statusBefore"`
	StatusAfter  string          `json:"statusAfter"`
	Attention    []string        `json:"attention"`
	Commands     []previewRecord `json:"commands"`
	Other        []previewRecord `json:"other"`
	Facts        []struct {
		Kind string `json:"kind"`
		Path string `json:"path"`
	} `json:"facts"`
	Waiting []string `json:"waiting"`
}

type previewRecord struct {
	Kind        string          `json:"kind"`
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Payload     json.RawMessage `json:"payload"`
	Path        string          `json:"path"`
	Op          string          `json:"op"`
	Participant string          `json:"participant"`
	Command     string          `json:"command"`
	SagaKey     string          `json:"sagaKey"`
	Attempt     uint32          `json:"attempt"`
}

type explainJSON struct {
	Sentence string     `json:"sentence"`
	Cause    string     `json:"cause"`
	HeldBy   string     `json:"heldBy"`
	Path     string     `json:"path"`
	Reason   string     `json:"reason"`
	Next     sagas.Time `json:"next"`
	Command  *struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
		Group     string `json:"group"`
		Groups    []struct {
			Name     string `json:"name"`
			State    string `json:"state"`
			Members  int    `json:"members"`
			Position int64  `json:"position"`
			Lag      int64  `json:"lag"`
		} `json:"groups"`
	} `json:"command"`
	Also []struct {
		Path     string `json:"path"`
		Sentence string `json:"sentence"`
	} `json:"also"`
	Actions []struct {
		Do      string `json:"do"`
		Command string `json:"command"`
		Verb    string `json:"verb"`
		Path    string `json:"path"`
	} `json:"actions"`
}

type definitionJSON struct {
	Type    string          `json:"type"`
	Version uint32          `json:"version"`
	Digest  string          `json:"digest"`
	Active  bool            `json:"active"`
	Fault   string          `json:"fault"`
	Source  json.RawMessage `json:"source"`
}

type nodesJSON struct {
	Nodes []struct {
		Address      string        `json:"address"`
		Version      string        `json:"version"`
		Draining     bool          `json:"draining"`
		NotReady     string        `json:"notReady"`
		NotLive      string        `json:"notLive"`
		Unreachable  bool          `json:"unreachable"`
		Level        uint32        `json:"level"`
		Supports     uint32        `json:"supports"`
		Tasks        []nodeTask    `json:"tasks"`
		Standbys     []nodeStandby `json:"standbys"`
		Destinations []struct {
			Topic   string     `json:"topic"`
			State   string     `json:"state"`
			Reason  string     `json:"reason"`
			Since   sagas.Time `json:"since"`
			Waiting int        `json:"waiting"`
		} `json:"destinations"`
	} `json:"nodes"`
	Tasks []struct {
		Task    int32  `json:"task"`
		Address string `json:"address"`
	} `json:"tasks"`
}

type nodeTask struct {
	Task          int32  `json:"task"`
	State         string `json:"state"`
	Queued        int64  `json:"queued"`
	RestoreNext   int64  `json:"restoreNext"`
	RestoreTarget int64  `json:"restoreTarget"`
	StoreBytes    int64  `json:"storeBytes"`
}

type nodeStandby struct {
	Task       int32 `json:"task"`
	LagRecords int64 `json:"lagRecords"`
	LagMs      int64 `json:"lagMs"`
}

type approvalJSON struct {
	WorkflowID string           `json:"workflowId"`
	Type       string           `json:"type"`
	Path       string           `json:"path"`
	Roles      []string         `json:"roles"`
	Quorum     uint32           `json:"quorum"`
	Votes      []sagas.VoteView `json:"votes"`
	Due        sagas.Time       `json:"due"`
	StartedAt  sagas.Time       `json:"startedAt"`
	Tags       []sagas.TagView  `json:"tags"`
	Claim      *struct {
		By string `json:"by"`
	} `json:"claim"`
}

type letterJSON struct {
	Offset     int64           `json:"offset"`
	At         sagas.Time      `json:"at"`
	State      string          `json:"state"`
	Class      string          `json:"class"`
	Stage      string          `json:"stage"`
	Message    string          `json:"message"`
	WorkflowID string          `json:"workflowId"`
	From       place           `json:"from"`
	Node       string          `json:"node"`
	Key        string          `json:"key"`
	Headers    []headerJSON    `json:"headers"`
	Kind       string          `json:"kind"`
	Value      json.RawMessage `json:"value"`
	Bytes      []byte          `json:"bytes"`
	Size       int             `json:"size"`
	Handled    *struct {
		State  string `json:"state"`
		By     string `json:"by"`
		Reason string `json:"reason"`
	} `json:"handled"`
}

type batchJSON struct {
	ID       string     `json:"id"`
	State    string     `json:"state"`
	CEL      string     `json:"query"`
	Status   string     `json:"status"`
	Type     string     `json:"type"`
	Action   string     `json:"action"`
	Operator string     `json:"operator"`
	Reason   string     `json:"reason"`
	Rate     int        `json:"rate"`
	Created  sagas.Time `json:"created"`
	Updated  sagas.Time `json:"updated"`
	Total    int        `json:"total"`
	Sent     int        `json:"sent"`
	Refused  int        `json:"refused"`
	Failed   int        `json:"failed"`
	Errors   []struct {
		WorkflowID string `json:"workflowId"`
		Text       string `json:"text"`
	} `json:"errors"`
}
