package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/amendsio/amends/sagas"
)

// Story is how an example is played: how its simulated participants answer, and what happens to its
// sagas. It is the file story.yaml beside saga.yaml; see examples/README.md.
type Story struct {
	Answers map[string][]Answer `yaml:"answers"` // by "participant.command"; the first that fits counts
	Runs    []Run               `yaml:"runs"`
}

// Answer is one way to answer a do. Without reject, fail or retry it is ok. An undo is always ok.
type Answer struct {
	When    map[string]any   `yaml:"when"`    // fields that the payload must have
	AtLeast map[string]int64 `yaml:"atLeast"` // fields that must be this large
	Times   int              `yaml:"times"`   // only the first n commands of each saga; 0 = all
	OK      map[string]any   `yaml:"ok"`      // output; "$key" in a text becomes the start of the idempotency key
	Reject  string           `yaml:"reject"`  // code of a business no
	Fail    string           `yaml:"fail"`    // code of a failure that no retry cures, without effect
	Retry   string           `yaml:"retry"`   // code of a failure that another attempt may cure
	Slow    time.Duration    `yaml:"slow"`    // pause before the answer
}

// Run is one saga of a story.
type Run struct {
	Name  string         `yaml:"name"`  // also the id of the saga
	Says  string         `yaml:"says"`  // one line for people
	Input map[string]any `yaml:"input"` // of the start
	Cues  []Cue          `yaml:"cues"`
	Ends  string         `yaml:"ends"` // phase in which it must end
}

// Cue is something that happens to a saga from outside.
type Cue struct {
	At      string `yaml:"at"`     // path of the step that has to be open; "" = before the start
	Signal  string `yaml:"signal"` // name; "" when the cue is a cancel
	Actor   string `yaml:"actor"`
	Payload any    `yaml:"payload"`
	Cancel  string `yaml:"cancel"` // reason
}

// ReadStory reads a story and checks it against its definition.
func ReadStory(src []byte, def *sagas.Definition) (*Story, error) {
	var s Story
	dec, err := yaml.NewLoader(bytes.NewReader(src), yaml.WithKnownFields())
	if err != nil {
		return nil, err
	}
	if err := dec.Load(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("story: %w", err)
	}
	calls := map[string]bool{}
	eachStep(def.Steps, func(st *sagas.StepDef) {
		if st.Node == sagas.NodeCall {
			calls[st.Call] = true
		}
	})
	for call := range s.Answers {
		if !calls[call] {
			return nil, fmt.Errorf("story: %s is not called by %s", call, def.Saga)
		}
	}
	if len(s.Runs) == 0 {
		return nil, errors.New("story: nothing is played")
	}
	for _, r := range s.Runs {
		if r.Name == "" || r.Ends == "" {
			return nil, fmt.Errorf("story: run %q: a run has a name and an end", r.Name)
		}
	}
	return &s, nil
}

// eachStep visits every node of a definition.
func eachStep(steps []sagas.StepDef, visit func(*sagas.StepDef)) {
	for i := range steps {
		visit(&steps[i])
		for _, l := range steps[i].Lanes {
			eachStep(l.Steps, visit)
		}
	}
}

// fits says whether the answer is for this command.
func (a *Answer) fits(payload map[string]any, earlier int) bool {
	if a.Times > 0 && earlier >= a.Times {
		return false
	}
	for field, want := range a.When {
		w, _ := json.Marshal(want)
		g, _ := json.Marshal(payload[field])
		if !bytes.Equal(w, g) {
			return false
		}
	}
	for field, least := range a.AtLeast {
		n, ok := payload[field].(json.Number)
		if !ok {
			return false
		}
		if v, err := n.Int64(); err != nil || v < least {
			return false
		}
	}
	return true
}

// output is what an ok answer carries.
func (a *Answer) output(key string) map[string]any {
	out := map[string]any{}
	for k, v := range a.OK {
		if s, ok := v.(string); ok {
			v = strings.ReplaceAll(s, "$key", key[:8])
		}
		out[k] = v
	}
	return out
}
