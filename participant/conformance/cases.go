package conformance

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

const (
	ok         = "ok"
	rejected   = "rejected"
	retriable  = "failed-retriable"
	fatal      = "failed-fatal"
	suppressed = "SUPPRESSED"
)

// done plays a do that has to succeed.
func (p *played) done(payload []byte) (*operation, answer, bool) {
	o := p.do(payload)
	a := o.final()
	return o, a, p.want("a do", a, ok, "")
}

// same wants a later answer to be the first one.
func (p *played) same(what string, first, again answer) {
	if again.none != "" || again.Outcome != first.Outcome || again.Code != first.Code || again.output != first.output {
		p.fault("%s: the first answer was %s %s, now it is %s %s", what, first, first.output, again, again.output)
	}
}

func duplicateDo(p *played) {
	o, first, fine := p.done(p.cfg.Accept)
	if !fine {
		return
	}
	for range 2 {
		p.same("the same do again", first, o.final())
	}
	p.standing(o, 1)
}

// duplicateAtOnce spreads one command over partitions, as two processes see it around a rebalance.
func duplicateAtOnce(p *played) {
	var lives sync.WaitGroup
	first := p.do(p.cfg.Accept)
	first.cmd.Deadline = time.Now().Add(p.cfg.Wait).UnixMilli()
	answers := make([]answer, 4)
	for i := range answers {
		o := *first
		o.partition = int32(i) % p.commands
		o.cmd.Attempt = uint32(i) * 10
		lives.Go(func() { answers[i] = o.final() })
	}
	lives.Wait()
	for i, a := range answers {
		if p.want("one of four copies at once", a, ok, "") && i > 0 {
			p.same("a copy at the same time", answers[0], a)
		}
	}
	p.standing(first, 1)
}

func undo(p *played) {
	do, first, fine := p.done(p.cfg.Accept)
	if !fine {
		return
	}
	u := p.undo(do)
	a := u.final()
	if p.want("the undo", a, ok, "") && a.Noop {
		p.fault("the undo says that there was nothing to undo (noop)")
	}
	p.standing(do, 0)
	again := u.final()
	if p.want("the same undo again", again, ok, "") && again.Noop {
		p.fault("the same undo again: it was a real one, now it says noop")
	}
	p.want("a second undo of the same do, under another key", p.undo(do).final(), ok, "")
	p.standing(do, 0)
	p.same("the do again, after its undo", first, do.final())
	p.standing(do, 0)
}

func undoFirst(p *played) {
	do := p.do(p.cfg.Accept)
	u := p.undo(do)
	for _, what := range []string{"an undo whose do never came", "the same undo again"} {
		if a := u.final(); p.want(what, a, ok, "") && !a.Noop {
			p.fault("%s: saga-noop is missing", what)
		}
	}
	p.standing(do, 0)
}

func doAfterUndo(p *played) {
	do := p.do(p.cfg.Accept)
	p.want("an undo whose do has not come yet", p.undo(do).final(), ok, "")
	for _, what := range []string{"the do that comes after its undo", "the same again"} {
		a := do.final()
		if p.want(what, a, rejected, "") && a.Code != suppressed {
			p.note("%s: the code is %q, usual is %s", what, a.Code, suppressed)
		}
	}
	p.standing(do, 0)
}

// undoDuringDo puts the undo on another partition, as after a rebalance, while the do is running.
func undoDuringDo(p *played) {
	payload := p.cfg.Slow
	if len(payload) == 0 {
		payload = p.cfg.Accept
		p.note("no payload for a slow do was given, so the undo may have missed the do")
	}
	var lives sync.WaitGroup
	for i, pause := range []time.Duration{0, 300 * time.Millisecond, 700 * time.Millisecond} {
		do := p.do(payload)
		do.partition = int32(2*i) % p.commands
		u := p.undo(do)
		u.partition = int32(2*i+1) % p.commands
		sent := do.send()
		lives.Go(func() {
			time.Sleep(pause)
			undone := u.final()
			first := do.settle(sent)
			switch {
			case !undone.is(ok, ""):
				p.fault("the undo, %v after its do was sent: got %s, want ok", pause, undone)
			case first.is(ok, "") && undone.Noop:
				p.fault("%v after its do was sent the undo found nothing to undo, and then the do took effect: %s", pause, first)
			case !first.is(ok, "") && !first.is(rejected, ""):
				p.fault("the do whose undo came %v later: got %s, want ok or rejected", pause, first)
			}
		})
		defer func() {
			p.standing(do, 0)
		}()
	}
	lives.Wait()
}

func refusalReplay(p *played) {
	if len(p.cfg.Refuse) == 0 {
		p.skip("no payload that is refused was given")
		return
	}
	do := p.do(p.cfg.Refuse)
	first := do.final()
	if !p.want("a do that is to be refused", first, rejected, "") {
		return
	}
	p.same("the refused do again", first, do.final())
	// Whatever has changed since: a key that was refused never takes effect.
	do.payload = p.cfg.Accept
	if a := do.final(); a.is(ok, "") {
		p.fault("a refusal was forgotten: the same key was refused (%s) and is ok with a payload that would be accepted", first)
	}
	p.standing(do, 0)
}

func undoOfRefusal(p *played) {
	if len(p.cfg.Refuse) == 0 {
		p.skip("no payload that is refused was given")
		return
	}
	do := p.do(p.cfg.Refuse)
	first := do.final()
	if !p.want("a do that is to be refused", first, rejected, "") {
		return
	}
	if a := p.undo(do).final(); p.want("the undo of a refusal", a, ok, "") && !a.Noop {
		p.fault("the undo of a refusal: saga-noop is missing")
	}
	p.same("the refused do after its undo", first, do.final())
	p.standing(do, 0)
}

func expiredDo(p *played) {
	do := p.do(p.cfg.Accept)
	do.cmd.Deadline = time.Now().Add(-time.Second).UnixMilli()
	a := do.once()
	if p.want("a do after its deadline", a, retriable, "") {
		if a.Code != "EXPIRED" {
			p.note("a do after its deadline: the code is %q, usual is EXPIRED", a.Code)
		}
		if a.Effect != protocol.EffectNone {
			p.note("a do after its deadline: the effect is %s; none would spare an undo", a.Effect)
		}
	}
	p.standing(do, 0)
	do.cmd.Deadline = time.Now().Add(time.Minute).UnixMilli()
	p.want("the same key with a new deadline (nothing may be stored of the first)", do.final(), ok, "")
	p.standing(do, 1)
}

func lateDuplicate(p *played) {
	do, first, fine := p.done(p.cfg.Accept)
	if !fine {
		return
	}
	do.cmd.Deadline = time.Now().Add(-time.Second).UnixMilli()
	p.same("a do that is done, delivered again after its deadline", first, do.once())
	p.standing(do, 1)
}

// crash delivers again what was answered: the participant cannot know whether its reply was lost. Where it can be
// restarted, it is killed while it works.
func crash(p *played) {
	n := 1
	if p.cfg.Restart != nil {
		n = 40
	}
	ops, sent := make([]*operation, n), make([]*delivery, n)
	for i := range ops {
		ops[i] = p.do(p.cfg.Accept)
		ops[i].cmd.Deadline = time.Now().Add(5 * time.Minute).UnixMilli()
		sent[i] = ops[i].send()
	}
	if p.cfg.Restart != nil {
		if a := ops[0].wait(sent[0], p.cfg.Wait); a.none != "" {
			p.fault("before the restart: %s", a)
		} else {
			sent[0].answers <- a
		}
		if err := p.cfg.Restart(p.ctx); err != nil {
			p.fault("the restart: %v", err)
			return
		}
	}
	again := make([]*delivery, n)
	for i, o := range ops {
		again[i] = o.send()
	}
	lost := 0
	for i, o := range ops {
		second := o.settle(again[i])
		if !p.want("a do that was delivered again", second, ok, "") {
			continue
		}
		// The first delivery is answered too, by the first process or by the second one.
		first := o.wait(sent[i], p.cfg.Wait)
		if first.none != "" {
			lost++
			continue
		}
		for {
			if first.Outcome != protocol.OutcomeFailedRetriable {
				p.same("one key, before and after", first, second)
			}
			if len(sent[i].answers) == 0 {
				break
			}
			first = <-sent[i].answers
		}
		p.standing(o, 1)
	}
	if lost > 0 {
		p.fault("%d of %d commands were passed over: their first delivery was never answered, so its offset was committed before the reply", lost, n)
	}
}

// aborted writes a command in a transaction that is taken back: nobody has sent it.
func aborted(p *played) {
	cl, err := kgo.NewClient(append(append([]kgo.Opt(nil), p.cfg.Client...), kgo.TransactionalID("conformance-"+p.run), asOrchestrator, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		p.fault("a transactional client: %v", err)
		return
	}
	defer cl.Close()
	in := func(o *operation, end kgo.TransactionEndTry) *delivery {
		o.cmd.Attempt++
		o.cmd.Deadline = time.Now().Add(p.cfg.Wait).UnixMilli()
		if err := cl.BeginTransaction(); err != nil {
			p.fault("begin a transaction: %v", err)
			return nil
		}
		d := o.deliver(cl, o.cmd)
		if end == kgo.TryAbort {
			time.Sleep(500 * time.Millisecond) // enough for a consumer that does not wait for the end
		}
		if err := cl.EndTransaction(p.ctx, end); err != nil {
			p.fault("end a transaction: %v", err)
			return nil
		}
		return d
	}
	never, real := p.do(p.cfg.Accept), p.do(p.cfg.Accept)
	real.partition = protocol.Partition([]byte(never.cmd.WorkflowID), p.commands)
	ghost := in(never, kgo.TryAbort)
	sent := in(real, kgo.TryCommit)
	if ghost == nil || sent == nil {
		return
	}
	p.want("a do of a committed transaction", real.settle(sent), ok, "")
	if a := never.wait(ghost, 500*time.Millisecond); a.none == "" {
		p.fault("a do of an aborted transaction was answered: %s. Read with isolation.level=read_committed", a)
	}
	p.standing(never, 0)
}

func keyReused(p *played) {
	if len(p.cfg.Slow) == 0 && len(p.cfg.Refuse) == 0 {
		p.skip("no second payload was given")
		return
	}
	do, first, fine := p.done(p.cfg.Accept)
	if !fine {
		return
	}
	do.payload = p.cfg.Refuse
	if len(do.payload) == 0 {
		do.payload = p.cfg.Slow
	}
	a := do.once()
	switch {
	case a.is(fatal, ""):
		if a.Code != "KEY_REUSED" {
			p.note("the same key with another payload: the code is %q, usual is KEY_REUSED", a.Code)
		}
	case a.is(ok, "") && a.output == first.output:
		p.note("the same key with another payload hears the stored answer; the contract wants failed-fatal KEY_REUSED")
	default:
		p.fault("the same key with another payload: got %s, want failed-fatal KEY_REUSED", a)
	}
	p.standing(do, 1)
}

// unreadable writes what no orchestrator would, and wants the participant to go on.
func unreadable(p *played) {
	for partition := range p.commands {
		recs := []*kgo.Record{
			{Topic: p.cfg.Topic, Partition: partition},
			{Topic: p.cfg.Topic, Partition: partition, Key: []byte("x"), Value: []byte("hello")},
		}
		if err := p.kafka.ProduceSync(p.ctx, recs...).FirstErr(); err != nil {
			p.fault("write a strange record: %v", err)
			return
		}
	}
	bad := p.do([]byte("not JSON"))
	a := bad.once()
	switch {
	case a.is(fatal, ""):
	case a.is(retriable, ""):
		p.note("a payload that is not JSON: got %s; failed-fatal would spare the attempts", a)
	default:
		p.fault("a payload that is not JSON: got %s, want failed-fatal BAD_COMMAND", a)
	}
	p.standing(bad, 0)
	for partition := range p.commands {
		o := p.do(p.cfg.Accept)
		o.partition = partition
		p.want("a do behind a record that cannot be read", o.final(), ok, "")
	}
}

func inquire(p *played) {
	if p.cfg.Inquire == "" {
		p.skip("no name of an inquire command was given")
		return
	}
	ask := func(do *operation) answer { return p.operation(protocol.OpInquire, do.payload, do).final() }
	do, first, fine := p.done(p.cfg.Accept)
	if !fine {
		return
	}
	if a := ask(do); p.want("an inquiry about a do that was executed", a, "executed", "") && a.output != first.output {
		p.fault("an inquiry about a do that was executed: the output is %s, it was %s", a.output, first.output)
	}
	p.want("its undo", p.undo(do).final(), ok, "")
	p.want("an inquiry about a do that was undone since", ask(do), "not-executed", "")
	never := p.do(p.cfg.Accept)
	if p.want("an inquiry about a do that never came", ask(never), "not-executed", "") {
		p.want("the do that comes after it was said that it will not", never.final(), rejected, "")
	}
	p.standing(never, 0)
}

func replyAddress(p *played) {
	o := p.do(p.cfg.Accept)
	for partition := range p.replies {
		o.cmd.ReplyPartition = partition
		p.want("a do whose reply belongs on another partition", o.final(), ok, "")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range slices.Compact(p.mu.misplaced) {
		p.fault("%s", text)
	}
	if p.mu.strange > 0 && p.own {
		p.fault("%d replies do not carry the saga-token of a command", p.mu.strange)
	}
}
