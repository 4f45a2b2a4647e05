package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// Route says where one task is.
type Route struct {
	Task    int32    `json:"task"`
	Address string   `json:"address,omitempty"` // of the process that runs it or is about to; "" = nobody for the moment
	Here    bool     `json:"-"`                 // this process can answer for it
	Copies  []string `json:"copies,omitempty"`  // processes that keep a copy
}

// Routes says where the tasks of the namespace are. The error is of class ErrMoving while this process does
// not know.
func (o *Orchestrator) Routes(ctx context.Context) ([]Route, error) {
	w := o.worker.Load()
	if w == nil {
		return nil, movingError(errors.New("this process does not run yet"))
	}
	routes := make([]Route, o.layout.tasks)
	for task := range o.layout.tasks {
		r := Route{Task: task, Copies: w.Copies(task)}
		if _, r.Here = w.View(task); r.Here {
			r.Address = o.cfg.Advertise
		} else {
			address, self, err := w.Owner(ctx, task)
			if err != nil {
				return nil, movingError(err)
			}
			if !self { // else it is being restored here
				r.Address = address
			}
		}
		routes[task] = r
	}
	return routes, nil
}

// TaskOf is the task of an instance, -1 while this process does not know how many there are.
func (o *Orchestrator) TaskOf(workflowID string) int32 {
	if w := o.worker.Load(); w != nil {
		return w.TaskOf([]byte(workflowID))
	}
	return -1
}

// Peers are the addresses of the other processes of the namespace.
func (o *Orchestrator) Peers(ctx context.Context) []string {
	w := o.worker.Load()
	if w == nil {
		return nil
	}
	all := w.Addresses()
	if len(all) == 0 { // the plan did not say: those that own something are known in another way
		if routes, err := o.Routes(ctx); err == nil {
			for _, r := range routes {
				all = append(all, r.Address)
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(a string) bool { return a == "" || a == o.cfg.Advertise })
}

// Position is the place of a record that was written to an input topic: whoever passes it with a question
// is answered when the record was taken.
type Position struct {
	Input     string // intake or control
	Partition int32
	Offset    int64
}

const (
	inputIntake  = "intake"
	inputControl = "control"
)

// IsZero says that there is none.
func (p Position) IsZero() bool { return p.Input == "" }

// String is the form in which clients pass it on: control/3@1042.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return p.Input + "/" + strconv.Itoa(int(p.Partition)) + "@" + strconv.FormatInt(p.Offset, 10)
}

// ParsePosition is the inverse of String. The error is of class ErrInvalid.
func ParsePosition(s string) (p Position, err error) {
	if s == "" {
		return p, nil
	}
	input, rest, ok := strings.Cut(s, "/")
	partition, offset, ok2 := strings.Cut(rest, "@")
	n, err1 := strconv.ParseInt(partition, 10, 32)
	at, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok || !ok2 || err1 != nil || err2 != nil || n < 0 || at < 0 || input != inputIntake && input != inputControl {
		return p, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: fmt.Sprintf("%q is no position", s), Fix: "Pass on what the answer to a start, a signal or an action says, such as control/3@1042."}
	}
	return Position{input, int32(n), at}, nil
}

// MaxAwait bounds the wait for a position.
const MaxAwait = 5 * time.Second

// Await waits until the task of an instance, which must run here, has taken the record at a position. The
// error is of class ErrMoving when that does not come about in time, or the task is not here any more.
func (o *Orchestrator) Await(ctx context.Context, workflowID string, p Position) error {
	w := o.worker.Load()
	if p.IsZero() {
		return nil
	}
	if w == nil {
		return movingError(nil)
	}
	if w.Partition([]byte(workflowID)) != p.Partition {
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: "the position " + p.String() + " is not one of " + workflowID}
	}
	topic := o.topics.Intake
	if p.Input == inputControl {
		topic = o.topics.Control
	}
	ctx, cancel := context.WithTimeout(ctx, MaxAwait)
	defer cancel()
	err := w.Await(ctx, topic, p.Partition, p.Offset)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, topology.ErrNotRunning):
		return movingError(err)
	}
	return &Error{Code: CodeMoving, Class: ErrMoving, Cause: "what was written at " + p.String() + " is not taken yet", Fix: "Ask again in a moment.", Err: err}
}

// Node is what one process says of itself.
type Node struct {
	Address  string `json:"address"`
	Version  string `json:"version"`
	Zone     string `json:"zone,omitempty"`
	Draining bool   `json:"draining,omitempty"`
	// NotReady and NotLive say what is missing; empty when all is well.
	NotReady string `json:"notReady,omitempty"`
	NotLive  string `json:"notLive,omitempty"`
	// Unreachable says that the process did not answer; the rest is then not known.
	Unreachable bool `json:"unreachable,omitempty"`

	Level     uint32 `json:"level"`    // feature level of the namespace, as this process knows it
	Supports  uint32 `json:"supports"` // highest feature level of this release
	TaskCount int32  `json:"taskCount"`

	Tasks        []NodeTask    `json:"tasks,omitempty"`
	Standbys     []NodeStandby `json:"standbys,omitempty"`
	Destinations []Destination `json:"destinations,omitempty"`
}

// NodeTask is a task that a process runs.
type NodeTask struct {
	Task   int32  `json:"task"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"` // why it is halted, closed or waiting
	Since  int64  `json:"since"`            // ms
	Queued int    `json:"queued"`

	Position      int64  `json:"position"` // in the changelog
	RestoreNext   int64  `json:"restoreNext,omitempty"`
	RestoreTarget int64  `json:"restoreTarget,omitempty"`
	StoreBytes    uint64 `json:"storeBytes,omitempty"`
}

// NodeStandby is a copy that a process keeps.
type NodeStandby struct {
	Task       int32  `json:"task"`
	Position   int64  `json:"position"`
	LagRecords int64  `json:"lagRecords"`
	LagMs      int64  `json:"lagMs"`
	Reason     string `json:"reason,omitempty"` // why it is not getting on
}

// Destination is a topic of others that takes no records now, or that instances wait for.
type Destination struct {
	Topic   string `json:"topic"`
	State   string `json:"state"` // of the breaker
	Reason  string `json:"reason,omitempty"`
	Since   int64  `json:"since"`
	Waiting int64  `json:"waiting"` // instances of this process
}

// Node describes this process.
func (o *Orchestrator) Node() Node {
	n := Node{Address: o.cfg.Advertise, Version: Version, Zone: o.cfg.Zone, Draining: o.Draining(), Supports: NewestLevel,
		Level: o.definitions.current.Load().Level()}
	if err := o.Ready(); err != nil {
		n.NotReady = err.Error()
	}
	if err := o.Live(); err != nil {
		n.NotLive = err.Error()
	}
	w := o.worker.Load()
	if w == nil {
		return n
	}
	n.TaskCount = o.layout.tasks
	for _, t := range w.Tasks() {
		task := NodeTask{Task: t.Task, State: t.State.String(), Reason: t.Reason, Since: t.Since, Queued: t.Queued, Position: t.Position,
			RestoreNext: t.RestoreNext, RestoreTarget: t.RestoreTarget}
		if view, ok := w.View(t.Task); ok {
			task.StoreBytes = view.Metrics().DiskBytes
		}
		n.Tasks = append(n.Tasks, task)
	}
	for _, s := range w.Standbys() {
		n.Standbys = append(n.Standbys, NodeStandby{Task: s.Task, Position: s.Position, LagRecords: s.Lag.Records, LagMs: s.Lag.Age.Milliseconds(), Reason: s.Reason})
	}
	for _, d := range w.Destinations() {
		n.Destinations = append(n.Destinations, Destination{Topic: d.Topic, State: d.State.String(), Reason: d.Reason, Since: d.Since, Waiting: d.Waiting})
	}
	return n
}

// positionOf is the place of a record that was just written.
func positionOf(topics protocol.Topics, topic string, partition int32, offset int64) Position {
	p := Position{Input: inputIntake, Partition: partition, Offset: offset}
	if topic == topics.Control {
		p.Input = inputControl
	}
	return p
}
