package participant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology/keyed"
)

// metadataMinAge bounds the pause between two looks at the metadata. A reply that a broker refuses waits for the next
// look, so a restart of a broker would hold up all commands behind it for the client's default of 5 s.
const metadataMinAge = 100 * time.Millisecond

// Run executes commands until ctx ends; then it finishes the commands that are being handled, sends
// their replies, commits their offsets and returns nil. Any error it returns needs a person: the
// configuration, or rights at the brokers.
func (p *Participant) Run(ctx context.Context) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	opts := append([]kgo.Opt{kgo.MetadataMinAge(metadataMinAge), kgo.ProducerLinger(2 * time.Millisecond)}, p.cfg.Client...)
	cl, err := kgo.NewClient(append(opts, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return fmt.Errorf("participant %s: client: %w", p.cfg.Name, err)
	}
	defer cl.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runner{Participant: p, producer: cl, places: make(chan struct{}, p.cfg.Concurrency), cancel: cancel}
	k, err := keyed.New(keyed.Config{
		Group: p.cfg.Group, Topics: []string{p.cfg.Topic}, Client: opts, Handle: r.handle, Logger: p.cfg.Logger,
		Commit: 250 * time.Millisecond, // what is committed late comes again after a crash, and hears the same answer
		Drain:  p.timeout + 5*time.Second,
		Hooks:  keyed.Hooks{Unreadable: func(_ string, _ int32, err error) { r.stopIfFatal(err) }},
	})
	if err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	p.cfg.Logger.Info("participant started", "topic", p.cfg.Topic, "group", p.cfg.Group)
	err = k.Run(ctx)
	if fatal := r.fatal(); fatal != nil {
		err = fatal
	}
	if err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	p.cfg.Logger.Info("participant stopped", "topic", p.cfg.Topic)
	return nil
}

// runner is a Participant that runs.
type runner struct {
	*Participant
	producer *kgo.Client
	places   chan struct{} // one for each command that is being handled
	cancel   func()

	mu struct {
		sync.Mutex
		fatal error
	}
}

func (r *runner) fatal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.fatal
}

// stopIfFatal ends the run for an error that only a person can mend.
func (r *runner) stopIfFatal(err error) {
	for _, k := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedVersion} {
		if !errors.Is(err, k) {
			continue
		}
		r.mu.Lock()
		if r.mu.fatal == nil {
			r.mu.fatal = err
		}
		r.mu.Unlock()
		r.cancel()
	}
}

// handle answers one record, and is done when its reply is acknowledged.
func (r *runner) handle(ctx context.Context, rec *kgo.Record) error {
	select {
	case r.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	reply := r.execute(ctx, rec)
	<-r.places
	if reply == nil {
		return nil
	}
	err := r.producer.ProduceSync(ctx, reply).FirstErr()
	if err == nil {
		return nil
	}
	return r.refused(rec, reply, err)
}

// execute executes one command and returns its reply; nil when there is nobody to reply to.
func (r *runner) execute(ctx context.Context, rec *kgo.Record) *kgo.Record {
	began := r.cfg.Clock()
	headers := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = protocol.Header(h)
	}
	cmd, err := protocol.ParseCommand(headers)
	var a Answer
	if err != nil {
		var ok bool
		if a, ok = r.Unreadable(ctx, r.cfg.Inbox, cmd, err, began); !ok {
			r.skip(SkippedBadCommand, rec, err)
			return nil
		}
	} else {
		end := func(protocol.Reply) {}
		if r.cfg.Trace != nil {
			if ctx, end = r.cfg.Trace(ctx, cmd); end == nil {
				end = func(protocol.Reply) {}
			}
		}
		ctx, still := r.signsOfLife(ctx, cmd)
		a, err = r.Answer(ctx, r.cfg.Inbox, cmd, rec.Value, began)
		still()
		end(a.Reply)
		if err != nil {
			// This kit's transactions are durable when Update returns, so nothing is ever deferred.
			r.skip(SkippedBadCommand, rec, err)
			return nil
		}
	}
	if hook := r.cfg.Hooks.Answered; hook != nil {
		hook(cmd, a.Reply, r.cfg.Clock().Sub(began))
	}
	return ReplyRecord(cmd, a)
}

// signsOfLife lets the handler of a do tell its progress, and tells it every Config.Heartbeat by itself. After still
// nothing is told any more, so no sign of life comes behind the answer.
func (r *runner) signsOfLife(ctx context.Context, cmd protocol.Command) (_ context.Context, still func()) {
	if cmd.Op != protocol.OpDo {
		return ctx, func() {}
	}
	tell := func(ctx context.Context, handle []byte) error {
		a := Answer{Reply: protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeProgress, Trace: cmd.Trace}, Output: handle}
		if handle != nil {
			a.ContentType = protocol.ContentJSON
		}
		return r.producer.ProduceSync(ctx, ReplyRecord(cmd, a)).FirstErr()
	}
	ctx = WithProgress(ctx, tell)
	if r.cfg.Heartbeat == 0 {
		return ctx, func() {}
	}
	beating, stop := context.WithCancel(ctx)
	var life sync.WaitGroup
	life.Go(func() {
		tick := time.NewTicker(r.cfg.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-beating.Done():
				return
			case <-tick.C:
				if err := tell(beating, nil); err != nil && beating.Err() == nil {
					r.cfg.Logger.Warn("a sign of life was not sent", "workflow_id", cmd.WorkflowID, "error", err)
				}
			}
		}
	})
	return ctx, func() {
		stop()
		life.Wait()
	}
}

func (p *Participant) skip(reason string, rec *kgo.Record, err error) {
	p.cfg.Logger.Error("command skipped", "reason", reason, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
	if hook := p.cfg.Hooks.Skipped; hook != nil {
		hook(reason, rec.Topic, rec.Partition, rec.Offset)
	}
}

// refused decides on a reply that was not produced. If it is this reply's own fault (a topic or a
// partition that does not exist), trying again would not help: the command is passed over, and the
// engine, hearing nothing, sends it again and gets the stored answer. Else the command is not done, and
// is answered again from the inbox.
func (r *runner) refused(cmd, reply *kgo.Record, err error) error {
	r.stopIfFatal(err)
	if r.fatal() != nil || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) ||
		errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries) {
		return fmt.Errorf("send a reply to %s: %w", reply.Topic, err)
	}
	r.skip(SkippedBadReplyAddress, cmd, fmt.Errorf("reply to %s/%d: %w", reply.Topic, reply.Partition, err))
	return nil
}
