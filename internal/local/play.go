package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Play plays every run of a story, one after the other, and audits the effects at the end. watch is
// called with the view of the saga whenever it changed, last when it has ended; it may be nil.
func (c *Cluster) Play(ctx context.Context, def *sagas.Definition, story *Story, watch func(Run, sagas.View)) (*Cast, error) {
	cast, err := NewCast(c.Brokers, c.cfg.Logger, def, story)
	if err != nil {
		return nil, err
	}
	defer cast.Close()
	producer, err := client.New(client.Config{Namespace: c.cfg.Namespace, Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	var views []sagas.View
	for _, run := range story.Runs {
		p := &performance{cluster: c, producer: producer, saga: def.Saga, run: run, watch: watch}
		v, err := p.play(ctx)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", run.Name, err)
		}
		views = append(views, v)
	}
	if faults := cast.Audit(views); len(faults) > 0 {
		return nil, fmt.Errorf("the effects do not agree with the sagas: %s", strings.Join(faults, "; "))
	}
	return cast, nil
}

// performance is one run being played.
type performance struct {
	cluster  *Cluster
	producer *client.Client
	saga     string
	run      Run
	watch    func(Run, sagas.View)
	cued     int // cues that have been given
}

// viewEvery is how often the state of a saga is read.
const viewEvery = 20 * time.Millisecond

func (p *performance) play(ctx context.Context) (sagas.View, error) {
	if err := p.cue(ctx, sagas.View{}); err != nil {
		return sagas.View{}, err
	}
	input := map[string]any{}
	for k, v := range p.run.Input {
		if v == "$now" {
			v = time.Now().UTC().Format(time.RFC3339)
		}
		input[k] = v
	}
	if err := p.producer.Start(ctx, client.Start{Type: p.saga, ID: p.run.Name, Input: input}); err != nil {
		return sagas.View{}, err
	}
	var seen uint64
	tick := time.NewTicker(viewEvery)
	defer tick.Stop()
	for {
		v, err := p.cluster.View(ctx, p.saga+"/"+p.run.Name)
		switch {
		case errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, orchestrator.ErrMoving):
		case err != nil:
			return v, err
		case v.Rev != seen:
			seen = v.Rev
			if p.watch != nil {
				p.watch(p.run, v)
			}
			if v.EndedAt != 0 {
				return v, p.judge(v)
			}
			if err := p.cue(ctx, v); err != nil {
				return v, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return v, fmt.Errorf("%s is %s and not %s: %w", v.WorkflowID, v.Status, p.run.Ends, ctx.Err())
		}
	}
}

func (p *performance) judge(v sagas.View) error {
	switch {
	case v.Phase != p.run.Ends:
		return fmt.Errorf("%s is %s, want %s (%s)", v.WorkflowID, v.Phase, p.run.Ends, v.Cause)
	case p.cued < len(p.run.Cues):
		return fmt.Errorf("%s ended before the cue at %s", v.WorkflowID, p.run.Cues[p.cued].At)
	case len(v.Obligations) > 0:
		return fmt.Errorf("%s has ended, yet owes %v", v.WorkflowID, v.Obligations)
	}
	return nil
}

// cue gives the cues whose moment has come, in their order.
func (p *performance) cue(ctx context.Context, v sagas.View) error {
	for ; p.cued < len(p.run.Cues); p.cued++ {
		c := p.run.Cues[p.cued]
		if c.At != "" && !open(v, c.At) {
			return nil
		}
		var err error
		switch {
		case strings.HasPrefix(c.Signal, decision):
			err = p.decide(ctx, c)
		case c.Cancel != "":
			err = p.producer.Cancel(ctx, client.Cancel{Type: p.saga, ID: p.run.Name, Reason: c.Cancel, Actor: c.Actor})
		default:
			err = p.producer.Signal(ctx, client.Signal{
				Type: p.saga, ID: p.run.Name, Name: c.Signal, SignalID: fmt.Sprintf("cue-%d", p.cued),
				Actor: c.Actor, Payload: c.Payload, TTL: time.Hour,
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decision begins the names of signals that only people may send.
const decision = "decision/"

// decide writes to the control topic, as the API does for the people whom it has let in.
func (p *performance) decide(ctx context.Context, c Cue) error {
	payload, err := json.Marshal(c.Payload)
	if err != nil {
		return err
	}
	return p.producer.Act(ctx, client.Action{
		Type: p.saga, ID: p.run.Name, Action: protocol.ActionSignal, Operator: c.Actor, Reason: "the story says so",
		RequestID: fmt.Sprintf("cue-%d", p.cued), Args: map[string]string{"name": c.Signal, "payload": string(payload)},
	})
}

func open(v sagas.View, path string) bool {
	for _, s := range v.Steps {
		if s.Path == path {
			return s.State == sagas.StepOpen.String()
		}
	}
	return false
}
