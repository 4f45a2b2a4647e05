package claimcheck_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/claimcheck"
	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// away is a store that can be away.
type away struct {
	claimcheck.Store
	gone error
}

func (a *away) Put(ctx context.Context, name string, value []byte, contentType string) error {
	if a.gone != nil {
		return a.gone
	}
	return a.Store.Put(ctx, name, value, contentType)
}

func (a *away) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if a.gone != nil {
		return nil, a.gone
	}
	return a.Store.Get(ctx, name)
}

type document struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// TestParticipant: handlers see whole values, what is stored and sent is small, and a store that fails is
// answered by what it is.
func TestParticipant(t *testing.T) {
	dir, err := claimcheck.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := &away{Store: dir}
	claims := &claimcheck.Claims{Store: store, Inline: 2000}
	text := strings.Repeat("long ", 300_000) // 1.5 MB: no record could carry it
	h := participant.NewHandlers(nil, time.Minute)
	h.UseClaims(claims)
	var undone string
	participant.Do(h, "scan", func(_ context.Context, _ participant.Tx, in document) (document, error) {
		return document{in.ID, strings.ToUpper(in.Text)}, nil
	})
	participant.Undo(h, "scan", func(_ context.Context, _ participant.Tx, in document, fwd participant.Forward) error {
		var out document
		if err := json.Unmarshal(fwd.Output, &out); err != nil {
			return err
		}
		undone = in.Text + out.Text
		return nil
	})
	inbox := participant.NewMemory(0)
	answer := func(op protocol.Op, key, forward string, payload []byte) participant.Answer {
		t.Helper()
		cmd := protocol.Command{Token: "t", WorkflowID: "scan/1", Op: op, Name: "scan", Key: key, ForwardKey: forward, Attempt: 1, ReplyTo: "r", Definition: "scan@1"}
		a, err := h.Answer(t.Context(), inbox, cmd, payload, time.UnixMilli(1_900_000_000_000))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	whole, err := json.Marshal(document{"d-1", text})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := claims.Shrink(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}

	store.gone = fmt.Errorf("%w: asleep", claimcheck.ErrUnavailable)
	if a := answer(protocol.OpDo, "k", "", payload); a.Outcome != protocol.OutcomeFailedRetriable || a.Code != participant.CodeClaimUnavailable {
		t.Errorf("got %+v", a.Reply)
	}
	store.gone = claimcheck.ErrNotFound
	if a := answer(protocol.OpDo, "lost", "", payload); a.Outcome != protocol.OutcomeFailedFatal || a.Effect != protocol.EffectNone || a.Code != participant.CodeClaimLost {
		t.Errorf("got %+v", a.Reply)
	}
	store.gone = nil
	for range 2 {
		a := answer(protocol.OpDo, "k", "", payload)
		if a.Outcome != protocol.OutcomeOK || len(a.Output) > 2000 {
			t.Fatalf("got %+v with %d bytes", a.Reply, len(a.Output))
		}
		back, err := claims.Expand(t.Context(), a.Output)
		if err != nil || !strings.Contains(string(back), strings.ToUpper(text)) {
			t.Errorf("got %.100s, %v", back, err)
		}
	}
	if a := answer(protocol.OpUndo, "u", "k", payload); a.Outcome != protocol.OutcomeOK || undone != text+strings.ToUpper(text) {
		t.Errorf("got %+v, undone with %d bytes", a.Reply, len(undone))
	}
}

// TestClient: an input that is too large for Kafka starts a saga, and without claims the error says where to go.
func TestClient(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		topics, err := protocol.NewTopics(k.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		k.CreateTopic(topics.Intake, 1, nil)
		dir, err := claimcheck.NewDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		claims := &claimcheck.Claims{Store: dir}
		start := client.Start{Type: "scan", ID: "s-1", Input: document{"d-1", strings.Repeat("long ", 300_000)}}
		for _, with := range []client.Claims{nil, claims} {
			c, err := client.New(client.Config{Namespace: k.Namespace(), Client: k.Opts(), Claims: with})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Start(t.Context(), start)
			if with == nil && (err == nil || !strings.Contains(err.Error(), "docs/claimcheck.md")) {
				t.Errorf("without claims: %v", err)
			}
			if with != nil && err != nil {
				t.Errorf("with claims: %v", err)
			}
		}
		var sent *kgo.Record
		for _, rec := range k.Consume(topics.Intake, 1) {
			sent = rec
		}
		var got struct{ Input json.RawMessage }
		if err := json.Unmarshal(sent.Value, &got); err != nil {
			t.Fatal(err)
		}
		whole, err := claims.Expand(t.Context(), got.Input)
		if err != nil || len(sent.Value) > 2000 || !strings.Contains(string(whole), start.Input.(document).Text) {
			t.Errorf("%d bytes were sent, %d came back: %v", len(sent.Value), len(whole), err)
		}
	})
}
