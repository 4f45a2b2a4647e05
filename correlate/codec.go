package correlate

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNewerFormat says that a newer release has written an entity.
var ErrNewerFormat = errors.New("the entity was written by a newer release")

// format is that of a stored entity. The names of its fields are short because they are in every record.
const format = 1

type storedEntity struct {
	Format int            `json:"f"`
	Name   string         `json:"n"`
	Value  string         `json:"v"`
	Due    int64          `json:"d,omitempty"`
	Waits  []storedWait   `json:"w,omitempty"`
	Parked []storedParked `json:"p,omitempty"`
	Seen   []storedSeen   `json:"s,omitempty"`
}

type storedWait struct {
	WorkflowID string `json:"w"`
	Run        uint32 `json:"r"`
	Path       string `json:"p"`
	Op         string `json:"o,omitempty"`
	Group      string `json:"g,omitempty"`
	Signal     string `json:"s,omitempty"`
	Token      string `json:"t,omitempty"`
	Keep       bool   `json:"k,omitempty"`
	Until      int64  `json:"u,omitempty"`
}

type storedParked struct {
	ID      string   `json:"i"`
	Source  string   `json:"s,omitempty"`
	Binding string   `json:"b,omitempty"`
	Payload []byte   `json:"p,omitempty"` // not as JSON inside JSON: its bytes must not change
	Groups  []string `json:"g,omitempty"`
	TTL     int64    `json:"t,omitempty"`
	Op      string   `json:"a,omitempty"`
	Outcome string   `json:"o,omitempty"`
	Effect  string   `json:"e,omitempty"`
	Code    string   `json:"c,omitempty"`
	Met     []string `json:"m,omitempty"`
	Expires int64    `json:"x"`
}

type storedSeen struct {
	Hash  uint64 `json:"h"`
	Until int64  `json:"u"`
}

// Append writes the entity behind dst. The same entity gives the same bytes.
func (e *Entity) Append(dst []byte) []byte {
	out := storedEntity{Format: format, Name: e.Name, Value: e.Value, Due: e.Due()}
	for _, w := range e.Waits {
		out.Waits = append(out.Waits, storedWait{w.WorkflowID, w.Run, w.Path, w.Op, w.Group, w.Signal, w.Token, w.Keep, w.Until})
	}
	for _, p := range e.Parked {
		out.Parked = append(out.Parked, storedParked{p.ID, p.Source, p.Binding, p.Payload, p.Groups, p.TTL, p.Answer.Op, p.Answer.Outcome, p.Answer.Effect, p.Answer.Code, p.Met, p.Expires})
	}
	for _, x := range e.Seen {
		out.Seen = append(out.Seen, storedSeen(x))
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err) // texts and numbers
	}
	return append(dst, b...)
}

// Decode reads what Append wrote; nil from nothing.
func Decode(b []byte) (*Entity, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var in storedEntity
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("stored entity: %w", err)
	}
	if in.Format > format {
		return nil, ErrNewerFormat
	}
	e := &Entity{Name: in.Name, Value: in.Value}
	for _, w := range in.Waits {
		e.Waits = append(e.Waits, Wait{Place{w.WorkflowID, w.Run, w.Path, w.Op}, w.Group, w.Signal, w.Token, w.Keep, w.Until})
	}
	for _, p := range in.Parked {
		e.Parked = append(e.Parked, Parked{Event{p.ID, p.Source, p.Binding, p.Payload, p.Groups, p.TTL, Answer{p.Op, p.Outcome, p.Effect, p.Code}}, p.Met, p.Expires})
	}
	for _, x := range in.Seen {
		e.Seen = append(e.Seen, Seen(x))
	}
	return e, nil
}

// DueOf reads when a stored entity is due, without the rest of it; 0 = never, or it cannot be read.
func DueOf(b []byte) int64 {
	var in struct {
		Due int64 `json:"d"`
	}
	if json.Unmarshal(b, &in) != nil {
		return 0
	}
	return in.Due
}
