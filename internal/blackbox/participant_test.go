package blackbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// participant is a service written from the protocol page alone: its rules
// 1 to 10 are marked below. Inbox and ledger are in memory under one lock,
// which is the "one local transaction" of rule 2.
type participant struct {
	topic string
	seed  uint64
	// refuse is the share of first do commands by name that get a business
	// no, in percent.
	refuse map[string]uint64
	// silent is the share of keys whose first delivery gets no answer, in
	// percent. Half of them have taken effect: the answer was lost. The other
	// half have not: the command was.
	silent uint64
	// seen, when set, hears of each command as it comes.
	seen func(wid, command string)
	// lazy is how long it may take to commit offsets after it has answered. What
	// it has not committed comes again after a crash, which rule 3 is for.
	lazy time.Duration
	// mute makes it answer nothing at all, and execute nothing.
	mute atomic.Bool

	mu      sync.Mutex
	inbox   map[string]*row   // by saga-key
	effects map[string]*entry // by saga-key of the do
	faults  []string          // what the orchestrator must never do
	counts  counts
}

type row struct {
	outcome string
	body    map[string]any
	payload uint64 // hash, for rule 10
}

// entry is one line of the ledger.
type entry struct {
	wid, command string
	amount       int64
	done, undone int
}

type counts struct {
	deliveries, replayed, refused, silent, expired, noops, inquiries int
}

// startParticipant serves a command topic until the test ends.
func startParticipant(t *testing.T, c *kafkatest.Cluster, p *participant) *participant {
	t.Helper()
	p.inbox, p.effects = make(map[string]*row), make(map[string]*entry)
	cl, err := kgo.NewClient(c.GroupOpts(
		kgo.ConsumerGroup(c.Namespace()+"."+p.topic),
		kgo.ConsumeTopics(p.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // rule 1
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.DisableAutoCommit(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), // the reply's partition is given
		kgo.ProducerLinger(10*time.Millisecond),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.serve(ctx, cl) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("participant %s: %v", p.topic, err)
		}
		cl.Close()
	})
	return p
}

func (p *participant) serve(ctx context.Context, cl *kgo.Client) error {
	var committed time.Time
	for {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errs := fs.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		var sent sync.WaitGroup
		var failed atomic.Pointer[error]
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			reply := p.handle(r, time.Now())
			if reply == nil {
				continue
			}
			sent.Add(1)
			cl.Produce(ctx, reply, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
				sent.Done()
			})
		}
		sent.Wait()
		if err := failed.Load(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("reply not sent: %w", *err)
		}
		if time.Since(committed) < p.lazy {
			continue
		}
		committed = time.Now()
		// Rule 2: the offset after the reply. A rebalance in between only means
		// that the commands come again.
		if err := cl.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			continue
		}
	}
}

// handle answers one command; nil is silence.
func (p *participant) handle(r *kgo.Record, now time.Time) *kgo.Record {
	h := make(map[string]string, len(r.Headers))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.deliveries++
	for _, x := range r.Headers {
		if _, twice := h[x.Key]; twice {
			p.fault("header %s occurs twice", x.Key)
		}
		h[x.Key] = string(x.Value)
	}
	for _, must := range []string{"saga-token", "saga-wid", "saga-op", "saga-cmd", "saga-key", "idempotency-key", "saga-attempt", "saga-reply-to", "saga-reply-partition", "saga-def", "content-type"} {
		if h[must] == "" {
			p.fault("%s: header %s is missing", h["saga-wid"], must)
		}
	}
	if p.seen != nil {
		p.seen(h["saga-wid"], h["saga-cmd"])
	}
	if h["idempotency-key"] != h["saga-key"] {
		p.fault("%s: idempotency-key is not saga-key", h["saga-wid"])
	}
	if string(r.Key) != h["saga-wid"] {
		p.fault("%s: the record key is %q", h["saga-wid"], r.Key)
	}
	if p.mute.Load() {
		p.counts.silent++
		return nil
	}
	out, body, answered := p.answer(h, r.Value, now)
	if !answered {
		p.counts.silent++
		return nil
	}
	value, err := json.Marshal(body)
	if err != nil {
		p.fault("encode a reply: %v", err)
		return nil
	}
	partition, err := strconv.Atoi(h["saga-reply-partition"])
	if err != nil {
		p.fault("saga-reply-partition is %q", h["saga-reply-partition"])
		return nil
	}
	reply := &kgo.Record{
		Topic: h["saga-reply-to"], Partition: int32(partition), Key: []byte(h["saga-wid"]), Value: value,
		Headers: []kgo.RecordHeader{
			{Key: "saga-token", Value: []byte(h["saga-token"])},
			{Key: "saga-outcome", Value: []byte(out)},
		},
	}
	for _, k := range []string{"noop", "effect", "code"} {
		if v, ok := body[k].(string); ok && (out != "ok" || k == "noop") {
			reply.Headers = append(reply.Headers, kgo.RecordHeader{Key: "saga-" + k, Value: []byte(v)})
		}
	}
	return reply
}

func (p *participant) answer(h map[string]string, payload []byte, now time.Time) (out string, body map[string]any, answered bool) {
	key, fwd, op := h["saga-key"], h["saga-fwd-key"], h["saga-op"]
	if op != "do" && op != "undo" && op != "inquire" {
		p.fault("saga-op is %q", op)
		return "failed-fatal", map[string]any{"code": "BAD_COMMAND"}, true
	}
	if (op == "do") != (fwd == "") {
		p.fault("%s: %s with saga-fwd-key %q", h["saga-wid"], op, fwd)
	}
	if (op == "undo") != (h["saga-deadline"] == "") {
		p.fault("%s: %s with saga-deadline %q", h["saga-wid"], op, h["saga-deadline"])
	}
	if op != "do" && p.inbox[fwd] == nil { // rules 4 and 9: forbid a do that comes later
		p.inbox[fwd] = &row{outcome: "rejected", body: map[string]any{"code": "SUPPRESSED"}}
	}
	if op == "inquire" {
		p.counts.inquiries++
		if was := p.inbox[fwd]; was.outcome == "ok" {
			return "executed", was.body, true
		}
		return "not-executed", map[string]any{}, true
	}
	if was := p.inbox[key]; was != nil { // rules 3 and 5
		if was.payload != 0 && was.payload != hash(0, string(payload)) { // rule 10
			p.fault("%s: key %s came with two payloads", h["saga-wid"], key)
			return "failed-fatal", map[string]any{"code": "KEY_REUSED"}, true
		}
		p.counts.replayed++
		return was.outcome, was.body, true
	}
	lost := op == "do" && h["saga-attempt"] == "1" && hash(p.seed, "silent"+key)%1000 < p.silent*10
	if lost && hash(p.seed, "lost"+key)%2 == 0 {
		return "", nil, false // the command was lost
	}
	if op == "do" { // rule 6
		deadline, err := strconv.ParseInt(h["saga-deadline"], 10, 64)
		if err != nil {
			p.fault("saga-deadline is %q", h["saga-deadline"])
		}
		if now.UnixMilli() > deadline {
			p.counts.expired++
			return "failed-retriable", map[string]any{"code": "EXPIRED", "effect": "none"}, true
		}
		out, body = p.execute(h, payload)
	} else {
		out, body = p.reverse(h)
	}
	p.inbox[key] = &row{out, body, hash(0, string(payload))}
	return out, body, !lost
}

// execute does the business of a do: a line in the ledger, or a refusal.
func (p *participant) execute(h map[string]string, payload []byte) (string, map[string]any) {
	key, name := h["saga-key"], h["saga-cmd"]
	if hash(p.seed, "refuse"+key)%100 < p.refuse[name] {
		p.counts.refused++
		return "rejected", map[string]any{"code": "DECLINED"}
	}
	var in struct {
		Amount int64 `json:"amount"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		p.fault("%s: %s: payload %q: %v", h["saga-wid"], name, payload, err)
	}
	e := p.effects[key]
	if e == nil {
		e = &entry{wid: h["saga-wid"], command: name, amount: in.Amount}
		p.effects[key] = e
	}
	e.done++
	return "ok", map[string]any{"authId": "a-" + key, "reservationId": "r-" + key, "captureId": "c-" + key, "tracking": "t-" + key}
}

// reverse undoes what the forward key did.
func (p *participant) reverse(h map[string]string) (string, map[string]any) {
	fwd := h["saga-fwd-key"]
	if p.inbox[fwd].outcome != "ok" {
		p.counts.noops++
		return "ok", map[string]any{"noop": "true"}
	}
	if e := p.effects[fwd]; e == nil {
		p.fault("%s: undo of %s, which has no effect", h["saga-wid"], fwd)
	} else {
		e.undone++
	}
	return "ok", map[string]any{}
}

func (p *participant) fault(format string, args ...any) {
	if len(p.faults) < 20 {
		p.faults = append(p.faults, fmt.Sprintf(format, args...))
	}
}

// hash makes a choice that depends on the seed and the key only.
func hash(seed uint64, s string) uint64 {
	f := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(seed >> (8 * i))
	}
	f.Write(b[:])
	f.Write([]byte(s))
	x := f.Sum64()
	x ^= x >> 33 // FNV's low bits are weak on short differences
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
