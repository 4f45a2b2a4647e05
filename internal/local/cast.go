package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Cast is the participants of a story. They use the participant kit, answer as the story says, and
// keep a book of what took effect.
type Cast struct {
	story *Story
	book  *book
	ends  []func()
}

// NewCast starts the participants of a definition.
func NewCast(brokers []string, log *slog.Logger, def *sagas.Definition, story *Story) (*Cast, error) {
	c := &Cast{story: story, book: newBook()}
	type command struct {
		op   sagas.Op
		name string
	}
	commands := map[string]map[command]bool{}
	add := func(call string, op sagas.Op) {
		who, name, _ := strings.Cut(call, ".")
		if commands[who] == nil {
			commands[who] = map[command]bool{}
		}
		commands[who][command{op, name}] = true
	}
	eachStep(def.Steps, func(st *sagas.StepDef) {
		if st.Node != sagas.NodeCall {
			return
		}
		add(st.Call, sagas.OpDo)
		if st.Undo != nil {
			add(st.Undo.Call, sagas.OpUndo)
		}
	})
	for _, who := range slices.Sorted(maps.Keys(commands)) {
		p, err := participant.New(participant.Config{
			Name:   who,
			Client: []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(100 * time.Millisecond)},
			Inbox:  participant.NewMemory(0),
			Logger: log,
		})
		if err != nil {
			c.Close()
			return nil, err
		}
		for cmd := range commands[who] {
			switch cmd.op {
			case sagas.OpDo:
				participant.Do(p, cmd.name, c.do(who+"."+cmd.name))
			case sagas.OpUndo:
				participant.Undo(p, cmd.name, c.undo)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := p.Run(ctx); err != nil && ctx.Err() == nil {
				log.Error("participant ended", "participant", who, "err", err)
			}
		}()
		c.ends = append(c.ends, func() { cancel(); <-done })
	}
	return c, nil
}

// Close stops all participants.
func (c *Cast) Close() {
	for _, end := range c.ends {
		end()
	}
	c.ends = nil
}

func (c *Cast) do(call string) func(context.Context, participant.Tx, json.RawMessage) (map[string]any, error) {
	return func(ctx context.Context, tx participant.Tx, raw json.RawMessage) (map[string]any, error) {
		payload := map[string]any{}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&payload); err != nil {
			return nil, participant.Fatal("BAD_PAYLOAD", protocol.EffectNone)
		}
		wid := tx.Command().WorkflowID
		a := c.answer(call, payload, c.book.count(wid, call))
		if a.Slow > 0 {
			select {
			case <-time.After(a.Slow):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		switch {
		case a.Reject != "":
			return nil, participant.Reject(a.Reject, call+" says no")
		case a.Fail != "":
			return nil, participant.Fatal(a.Fail, protocol.EffectNone)
		case a.Retry != "":
			return nil, participant.Retry(a.Retry, 0)
		}
		c.book.done(tx.Key())
		return a.output(tx.Key()), nil
	}
}

// answer is the first one that fits; a command of which the story says nothing is ok.
func (c *Cast) answer(call string, payload map[string]any, earlier int) Answer {
	for _, a := range c.story.Answers[call] {
		if a.fits(payload, earlier) {
			return a
		}
	}
	return Answer{}
}

func (c *Cast) undo(_ context.Context, _ participant.Tx, _ json.RawMessage, fwd participant.Forward) error {
	c.book.undone(fwd.Key)
	return nil
}

// Audit compares what took effect with what the sagas say of their steps. It returns every
// disagreement.
func (c *Cast) Audit(views []sagas.View) (faults []string) {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.book.dos)) {
		if n := c.book.dos[key]; n > 1 {
			faults = append(faults, fmt.Sprintf("key %s took effect %d times", key, n))
		}
		if c.book.undos[key] > c.book.dos[key] {
			faults = append(faults, fmt.Sprintf("key %s was undone more often than done", key))
		}
	}
	for _, v := range views {
		for _, s := range v.Steps {
			if s.Key == "" {
				continue
			}
			want := 0
			if s.State == sagas.StepDone.String() && s.Undo != sagas.UndoUndone.String() {
				want = 1
			}
			if stands := c.book.dos[s.Key] - c.book.undos[s.Key]; stands != want {
				faults = append(faults, fmt.Sprintf("%s: %s is %s %s, but %d effects stand", v.WorkflowID, s.Path, s.State, s.Undo, stands))
			}
		}
	}
	return faults
}

// Effects is how many effects there were, and how many of them were taken back.
func (c *Cast) Effects() (done, undone int) {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	for _, n := range c.book.dos {
		done += n
	}
	for _, n := range c.book.undos {
		undone += n
	}
	return done, undone
}

// book counts effects by the idempotency key of their do.
type book struct {
	mu    sync.Mutex
	dos   map[string]int
	undos map[string]int
	calls map[string]int // commands by workflow ID and call
}

func newBook() *book {
	return &book{dos: map[string]int{}, undos: map[string]int{}, calls: map[string]int{}}
}

// count is how many commands of this kind the saga sent before.
func (b *book) count(wid, call string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.calls[wid+" "+call]
	b.calls[wid+" "+call]++
	return n
}

func (b *book) done(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dos[key]++
}

func (b *book) undone(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.undos[key]++
}
