package local_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// TestExamples plays every example on an in-process cluster, or on that of KAFKA_SEEDS: the sagas end
// as the story says, and every effect agrees with what they say of their steps.
func TestExamples(t *testing.T) {
	for _, name := range examples.Names() {
		t.Run(name, func(t *testing.T) {
			k := kafkatest.New(t)
			src, err := examples.Definition(name)
			if err != nil {
				t.Fatal(err)
			}
			def, err := sagas.ParseDefinition(name, src)
			if err != nil {
				t.Fatal(err)
			}
			if src, err = examples.Story(name); err != nil {
				t.Fatal(err)
			}
			story, err := local.ReadStory(src, def)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // turns a hang into a failure
			defer cancel()
			c, err := local.Start(ctx, local.Config{
				Namespace: k.Namespace(), Brokers: k.Seeds(), APIAddr: "127.0.0.1:0", Nodes: 2,
				Logger: slog.New(slog.DiscardHandler),
				Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 6 * time.Second},
			}, []*sagas.Definition{def})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			cast, err := c.Play(ctx, def, story, nil)
			if err != nil {
				t.Fatal(err)
			}
			done, undone := cast.Effects()
			t.Logf("%d runs, %d effects, %d of them taken back", len(story.Runs), done, undone)
		})
	}
}
