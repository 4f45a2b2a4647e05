package local

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/participant"
)

// CaptureLimit is the amount from which the simulated bank refuses a capture.
const CaptureLimit = 100_000

// Shop is the three participants of the card-payment sample: psp, stock and ship. They use the
// participant kit and keep their books in memory.
type Shop struct {
	brokers []string
	log     *slog.Logger
	desks   map[string]*desk
}

// desk is one participant. It can be closed and opened again; its inbox and its book stay.
type desk struct {
	ledger *Ledger
	inbox  participant.Inbox
	wire   func(r participant.Registrar, l *Ledger)

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// NewShop makes the participants; Open starts them.
func NewShop(brokers []string, log *slog.Logger) *Shop {
	s := &Shop{brokers: brokers, log: log, desks: map[string]*desk{}}
	for name, wire := range map[string]func(participant.Registrar, *Ledger){"psp": wirePSP, "stock": wireStock, "ship": wireShip} {
		s.desks[name] = &desk{ledger: newLedger(name), inbox: participant.NewMemory(0), wire: wire}
	}
	return s
}

// Participants of the sample, in the order of the saga.
var Participants = []string{"psp", "stock", "ship"}

// Open starts one participant.
func (s *Shop) Open(name string) error {
	d := s.desks[name]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		return nil
	}
	p, err := participant.New(participant.Config{
		Name:   name,
		Client: []kgo.Opt{kgo.SeedBrokers(s.brokers...), kgo.MetadataMinAge(100 * time.Millisecond)},
		Inbox:  d.inbox,
		Logger: s.log,
	})
	if err != nil {
		return err
	}
	d.wire(p, d.ledger)
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.done = cancel, make(chan struct{})
	done := d.done
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("participant ended", "participant", name, "err", err)
		}
	}()
	return nil
}

// Close stops one participant: commands wait in its topic.
func (s *Shop) Close(name string) {
	d := s.desks[name]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel == nil {
		return
	}
	d.cancel()
	<-d.done
	d.cancel = nil
}

// OpenAll starts all participants.
func (s *Shop) OpenAll() error {
	for _, name := range Participants {
		if err := s.Open(name); err != nil {
			return err
		}
	}
	return nil
}

// CloseAll stops all participants.
func (s *Shop) CloseAll() {
	for _, name := range Participants {
		s.Close(name)
	}
}

// Totals is one line for a person about one participant's book.
func (s *Shop) Totals(name string) string { return s.desks[name].ledger.totals() }

// Audit compares the books with how the sagas ended (workflow ID to phase). It returns every
// disagreement: none means that the ledgers balance.
func (s *Shop) Audit(ended map[string]string) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, name := range Participants {
		for _, key := range s.desks[name].ledger.doubled() {
			add("%s: key %s took effect twice", name, key)
		}
	}
	psp, stock, ship := s.desks["psp"].ledger, s.desks["stock"].ledger, s.desks["ship"].ledger
	for wid, phase := range ended {
		hold, money, goods, parcels := psp.balance(wid, "hold"), psp.balance(wid, "money"), stock.balance(wid, "goods"), ship.balance(wid, "parcels")
		switch phase {
		case "completed":
			// A capture uses the hold up: what was held is what was taken.
			if hold <= 0 || money != hold || goods != 1 || parcels != 1 {
				add("%s completed, but held %d, captured %d, reserved %d, shipped %d", wid, hold, money, goods, parcels)
			}
		case "compensated":
			if hold != 0 || money != 0 || goods != 0 || parcels != 0 {
				add("%s compensated, but held %d, captured %d, reserved %d, shipped %d", wid, hold, money, goods, parcels)
			}
		default:
			add("%s is %s: it has not ended", wid, phase)
		}
	}
	return faults
}

type payment struct {
	Amount int64 `json:"amount"`
}

func wirePSP(r participant.Registrar, l *Ledger) {
	type held struct {
		AuthID string `json:"authId"`
	}
	type captured struct {
		CaptureID string `json:"captureId"`
	}
	participant.Do(r, "authorise", func(_ context.Context, tx participant.Tx, in payment) (held, error) {
		if in.Amount <= 0 {
			return held{}, participant.Reject("BAD_AMOUNT", "the amount must be positive")
		}
		l.post(tx.Command().WorkflowID, tx.Key(), "hold", in.Amount)
		return held{"auth-" + tx.Key()[:8]}, nil
	})
	participant.Undo(r, "void", func(_ context.Context, tx participant.Tx, _ struct{}, _ participant.Forward) error {
		wid := tx.Command().WorkflowID
		l.post(wid, tx.Key(), "hold", -l.balance(wid, "hold"))
		return nil
	})
	participant.Do(r, "capture", func(_ context.Context, tx participant.Tx, in payment) (captured, error) {
		if in.Amount >= CaptureLimit {
			return captured{}, participant.Reject("OVER_LIMIT", fmt.Sprintf("%d is over the limit of %d", in.Amount, CaptureLimit))
		}
		l.post(tx.Command().WorkflowID, tx.Key(), "money", in.Amount)
		return captured{"cap-" + tx.Key()[:8]}, nil
	})
}

func wireStock(r participant.Registrar, l *Ledger) {
	type reserved struct {
		ReservationID string `json:"reservationId"`
	}
	participant.Do(r, "reserve", func(_ context.Context, tx participant.Tx, _ struct{}) (reserved, error) {
		l.post(tx.Command().WorkflowID, tx.Key(), "goods", 1)
		return reserved{"res-" + tx.Key()[:8]}, nil
	})
	participant.Undo(r, "release", func(_ context.Context, tx participant.Tx, _ struct{}, _ participant.Forward) error {
		l.post(tx.Command().WorkflowID, tx.Key(), "goods", -1)
		return nil
	})
}

func wireShip(r participant.Registrar, l *Ledger) {
	type created struct {
		Tracking string `json:"tracking"`
	}
	participant.Do(r, "create", func(_ context.Context, tx participant.Tx, _ struct{}) (created, error) {
		l.post(tx.Command().WorkflowID, tx.Key(), "parcels", 1)
		return created{"trk-" + tx.Key()[:8]}, nil
	})
}
