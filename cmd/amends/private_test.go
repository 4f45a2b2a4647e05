package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// The canaries: values that pii names, and secrets of the configuration.
const (
	canaryCard     = "4111-canary-1111"
	canaryNumber   = "987654321987"
	canaryPassport = "C01X-canary-passport"
	canaryIBAN     = "DE02-canary-iban"
	canaryBroken   = "broken-canary-value"

	secretAnn     = "ann-secret-canary-token"
	secretVic     = "vic-secret-canary-token"
	secretSigning = "signing-secret-canary-of-tokens"
	secretHook    = "hook-secret-canary-path"
	secretAlert   = "alert-secret-canary-token"
	secretTraces  = "traces-secret-canary-header"
)

const privateDefinition = `
saga: private
version: 1
pii: [input.card, input.number, step.kyc.passport, signals.correct.iban]
participants:
  p: {ops: [do, undo]}
steps:
  - {id: kyc, call: p.kyc, kind: readonly, keep: [passport, level], with: {card: =input.card, order: =input.order}}
  - {id: hold, call: p.hold, with: {all: =input}, undo: {call: p.free, with: {card: '="card " + input.card'}}}
  - {id: pay, call: p.pay, with: {passport: =step.kyc.passport, number: =input.number}, keep: [echo], undo: {call: p.unpay}}
  - {id: correct, await: {signal: correct, within: 1h}, keep: [iban]}
output: {passport: =step.kyc.passport, echo: =step.pay.echo, order: =input.order}
`

// boundDefinition is started by events of a topic of others.
const boundDefinition = `
saga: bound
version: 1
pii: [input.card]
id: =input.order
start:
  topic: priv.requested
  when: =event.amount > 0
  input: {order: =event.order, card: =event.holder.card, amount: =event.amount}
steps:
  - {id: nap, sleep: {for: 1h}}
`

// boundEvents are one that starts an instance, and some that cannot: without JSON, with text for a number, without an
// order, with text for the holder, and the first once more with another card.
var boundEvents = []string{
	`{"order":"b-1","amount":1,"holder":{"card":"` + canaryCard + `"}}`,
	`{"order":"b-2","amount":1,"holder":{"card":"` + canaryBroken,
	`{"order":"b-3","amount":"` + canaryBroken + `","holder":{"card":"` + canaryCard + `"}}`,
	`{"amount":1,"holder":{"card":"` + canaryCard + `"}}`,
	`{"order":"b-5","amount":1,"holder":"` + canaryCard + `"}`,
	`{"order":"b-1","amount":1,"holder":{"card":"` + canaryCard + `-other"}}`,
}

// sink keeps what is written to it.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// ServeHTTP keeps the bodies of requests.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			b, _ = io.ReadAll(z)
		}
	}
	_, _ = s.Write(b)
	w.WriteHeader(http.StatusOK)
}

// participantP answers as the input of an instance says, and repeats what it should keep to itself.
func participantP(t *testing.T, broker string) (heard *sink) {
	heard = &sink{}
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("cmd.p"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				_, _ = heard.Write(rec.Value)
				hs := make([]protocol.Header, len(rec.Headers))
				for i, h := range rec.Headers {
					hs[i] = protocol.Header(h)
				}
				cmd, err := protocol.ParseCommand(hs)
				if err != nil {
					t.Errorf("no command: %v", err)
					return
				}
				reply := protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeOK}
				output := `{"level":2,"passport":"` + canaryPassport + `","echo":"paid with ` + canaryCard + `","unkept":{"card":"` + canaryCard + `"}}`
				switch {
				case strings.HasSuffix(cmd.WorkflowID, "/refused") && cmd.Name == "pay":
					reply = protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeRejected, Code: "DECLINED", Message: "card " + canaryCard + ", account " + canaryNumber}
				case strings.HasSuffix(cmd.WorkflowID, "/refused") && cmd.Name == "free":
					reply = protocol.Reply{Token: cmd.Token, Outcome: protocol.OutcomeFailedFatal, Effect: protocol.EffectUnknown, Code: "LOST", Message: "lost " + canaryCard}
				}
				out := &kgo.Record{Topic: cmd.ReplyTo, Partition: cmd.ReplyPartition, Key: []byte(cmd.WorkflowID), Value: []byte(output)}
				for _, h := range reply.Headers() {
					out.Headers = append(out.Headers, kgo.RecordHeader(h))
				}
				cl.Produce(context.Background(), out, nil)
				if cmd.Name == "kyc" { // and once more for a command that nobody sent
					forged := *out
					strange := protocol.Reply{Token: "no-token", Outcome: protocol.OutcomeRejected, Code: "NO", Message: "about " + canaryCard}
					forged.Headers = nil
					for _, h := range strange.Headers() {
						forged.Headers = append(forged.Headers, kgo.RecordHeader(h))
					}
					cl.Produce(context.Background(), &forged, nil)
				}
			})
		}
	}()
	t.Cleanup(func() { cl.Close(); <-done })
	return heard
}

// TestNothingPrivateIsShown runs a process with everything that it tells others, and instances with canaries in the
// values that pii names: no log, metric, trace, alert, page, answer, stream, command or bundle shows one, nor a secret
// of the configuration.
func TestNothingPrivateIsShown(t *testing.T) {
	emptyHome(t)
	b, err := local.StartBroker("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var traces, alerts sink
	collector, hook := httptest.NewServer(&traces), httptest.NewServer(&alerts)
	t.Cleanup(collector.Close)
	t.Cleanup(hook.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization="+secretTraces)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	port, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	base := "http://" + address
	kafka := []string{"--brokers", b.Addr, "--namespace", "priv"}
	if code, out, talk := execute(t, append([]string{"apply", write(t, "private.yaml", privateDefinition), write(t, "bound.yaml", boundDefinition)}, kafka...)...); code != exitOK {
		t.Fatalf("apply: exit %d %s%s", code, out, talk)
	}
	var logs sink
	ctx, stop := context.WithCancel(t.Context())
	term := terminal{out: io.Discard, err: &logs}
	root := newRoot(&term)
	run := append([]string{"run", "--data-dir", t.TempDir(), "--standbys", "0", "--log-level", "debug", "--listen", address, "--advertise", address,
		"--api-actions", "on", "--api-tokens-file", write(t, "tokens", "ann operator,admin "+secretAnn+"\nvic viewer "+secretVic+"\n"),
		"--token-secret-file", write(t, "signing", secretSigning), "--alert-webhook-file", write(t, "hook", hook.URL+"/"+secretHook),
		"--alert-token-file", write(t, "alert", secretAlert), "--alert-window", "1s"}, kafka...)
	root.SetArgs(run)
	ended := make(chan int, 1)
	go func() { ended <- term.exit(root.ExecuteContext(ctx)) }()
	stopped := sync.OnceFunc(func() {
		stop()
		if code := <-ended; code != exitOK {
			t.Errorf("run: exit %d %s", code, logs.String())
		}
	})
	t.Cleanup(stopped)
	eventually(t, "the process is ready", func() bool {
		status, _, _ := fetch(t, http.MethodGet, base+"/readyz", nil)
		return status == http.StatusOK
	})
	heard := participantP(t, b.Addr)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	post := func(path, body string) string {
		t.Helper()
		status, text, _ := fetch(t, http.MethodPost, base+path, strings.NewReader(body), append(bearer(secretAnn), "Content-Type", "application/json")...)
		if status >= 300 {
			t.Errorf("POST %s: %d %s", path, status, text)
		}
		return text
	}
	input := `{"order":"o-1","card":"` + canaryCard + `","number":` + canaryNumber + `}`
	for _, id := range []string{"paid", "refused"} {
		post("/api/v1/instances", `{"type":"private","id":"`+id+`","input":`+input+`}`)
	}
	intake, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(intake.Close)
	for _, value := range []string{
		`{"type":"private","id":"broken","input":{"card":"` + canaryBroken,                                                                     // no JSON
		`{"kind":"start","type":"private","id":"paid","startId":"again","input":{"order":"o-2","card":"` + canaryCard + `","number":1}}`,       // another input
		`{"kind":"signal","type":"private","id":"gone","name":"correct","signalId":"s-1","payload":{"iban":"` + canaryIBAN + `","note":"ok"}}`, // for nobody
		`{"kind":"strange","type":"nobody-knows","input":{"card":"` + canaryBroken + `"}}`,
	} {
		if err := intake.ProduceSync(t.Context(), &kgo.Record{Topic: "priv.saga.intake", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range boundEvents {
		if err := intake.ProduceSync(t.Context(), &kgo.Record{Topic: "priv.requested", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	see := func(id string) (v sagas.View) {
		_, text, _ := fetch(t, http.MethodGet, base+"/api/v1/instances/private/"+id, nil, bearer(secretVic)...)
		_ = json.Unmarshal([]byte(text), &v)
		return v
	}
	eventually(t, "the payment waits for the correction", func() bool {
		v := see("paid")
		return len(v.Steps) == 4 && v.Steps[3].State == sagas.StepOpen.String()
	})
	post("/api/v1/instances/private/paid/signals", `{"name":"correct","payload":{"iban":"`+canaryIBAN+`"}}`)
	eventually(t, "one instance completes", func() bool { return see("paid").Phase == "completed" })
	eventually(t, "one needs a person", func() bool { return see("refused").Status == "attention" })
	var letters orchestrator.Letters
	eventually(t, "the strange records are dead letters", func() bool {
		_, text, _ := fetch(t, http.MethodGet, base+"/api/v1/dlq", nil, bearer(secretVic)...)
		letters = orchestrator.Letters{}
		return json.Unmarshal([]byte(text), &letters) == nil && len(letters.Letters) >= 6+len(boundEvents)-1
	})
	eventually(t, "an alert came", func() bool { return strings.Contains(alerts.String(), "private") })
	eventually(t, "traces came", func() bool { return strings.Contains(traces.String(), "saga") })
	if text := heard.String(); !strings.Contains(text, canaryCard) || !strings.Contains(text, canaryPassport) || !strings.Contains(text, canaryNumber) {
		t.Errorf("the participant does not get the values: %s", text)
	}

	shown := map[string]string{"alerts": alerts.String(), "traces": traces.String()}
	get := func(path string, token string) {
		t.Helper()
		status, text, _ := fetch(t, http.MethodGet, base+path, nil, bearer(token)...)
		if status != http.StatusOK {
			t.Errorf("GET %s: %d %.300s", path, status, text)
		}
		shown["GET "+path+" as "+token[:3]] = text
	}
	for _, token := range []string{secretVic, secretAnn} {
		for _, id := range []string{"paid", "refused"} {
			one := "/api/v1/instances/private/" + id
			for _, path := range []string{"", "/history", "/messages", "/explain", "/wait?timeout=1s"} {
				get(one+path, token)
			}
			for _, tab := range []string{"", "?tab=timeline", "?tab=history", "?tab=messages", "?tab=state", "?tab=related", "?tab=actions"} {
				get("/instances/private/"+id+tab, token)
			}
			shown["events of "+id] = firstEvent(t, base+one+"/events", token)
		}
		for _, path := range []string{"/api/v1/bindings", "/api/v1/instances/bound/b-1", "/api/v1/instances/bound/b-1/messages", "/instances/bound/b-1", "/api/v1/instances", "/api/v1/dlq", "/api/v1/audit", "/api/v1/tasks", "/api/v1/batches", "/api/v1/census", "/api/v1/definitions/private/1",
			"/", "/instances", "/attention", "/dead-letters", "/audit", "/batches", "/tasks", "/cluster", "/definitions/private"} {
			get(path, token)
		}
		for _, l := range letters.Letters {
			get(fmt.Sprintf("/api/v1/dlq/%d", l.Offset), token)
			get(fmt.Sprintf("/dead-letters/%d", l.Offset), token)
		}
	}
	get("/act/private/refused?action=retry&path=hold", secretAnn)
	get("/metrics", secretVic)
	shown["preview"] = post("/api/v1/instances/private/refused/actions/retry?dryRun=true", `{"path":"hold","reason":"see"}`)
	shown["preview of a start"] = post("/api/v1/instances?dryRun=true", `{"type":"private","id":"new","input":`+input+`}`)
	post("/api/v1/batches", `{"id":"b-1","type":"private","query":"id == 'nobody'","action":"resolve","path":"kyc","args":{"effect":"done","output":{"passport":"`+canaryPassport+`"}},"reason":"see"}`)
	get("/api/v1/batches", secretVic)
	shown["batches"] = shown["GET /api/v1/batches as vic"]
	server := []string{"--server", base, "--api-token", secretVic}
	for _, args := range [][]string{
		{"get", "private/paid", "-o", "json"}, {"get", "private/refused"}, {"history", "private/refused"}, {"explain", "private/refused"}, {"ls"}, {"dlq", "list", "-o", "json"}, {"binding", "list", "-o", "json"}, {"dlq", "list", "-o", "wide"}, {"instance", "export", "private/paid"},
	} {
		code, out, talk := execute(t, append(args, server...)...)
		if code != exitOK {
			t.Errorf("%v: exit %d %s", args, code, talk)
		}
		shown["amends "+strings.Join(args, " ")] = out + talk
	}
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	code, out, talk := execute(t, append(append([]string{"bundle", bundle}, kafka...), server...)...)
	if code != exitOK {
		t.Errorf("bundle: exit %d %s%s", code, out, talk)
	}
	shown["bundle"] = unpack(t, bundle) + out + talk

	// What a person edits without seeing it is sent as it was.
	for _, l := range letters.Letters {
		if strings.Contains(string(l.Value), `"gone"`) {
			text := post(fmt.Sprintf("/api/v1/dlq/%d/replay?dryRun=true", l.Offset), `{"reason":"see","value":`+strings.Replace(string(l.Value), `"gone"`, `"refused"`, 1)+`}`)
			shown["replay"] = text
			if !strings.Contains(text, `private/refused`) {
				t.Errorf("replay: %s", text)
			}
		}
	}
	stopped()
	shown["logs"] = logs.String()

	for what, text := range shown {
		for _, canary := range []string{canaryCard, canaryNumber, canaryPassport, canaryIBAN, canaryBroken, secretAnn, secretVic, secretSigning, secretHook, secretAlert, secretTraces} {
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%s shows %s: …%s…", what, canary, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	for _, what := range []string{"GET /api/v1/instances/private/paid as vic", "GET /api/v1/instances/private/refused/messages as ann", "GET /api/v1/dlq as vic", "preview", "batches", "amends get private/paid -o json"} {
		if !strings.Contains(shown[what], sagas.Masked) {
			t.Errorf("%s masks nothing: %.600s", what, shown[what])
		}
	}
	if text := shown["GET /api/v1/instances/private/paid as vic"]; !strings.Contains(text, `"order":"o-1"`) || !strings.Contains(text, `"level":2`) {
		t.Errorf("what is not personal is masked: %s", text)
	}
	for _, what := range []string{"logs", "bundle", "alerts", "traces", "GET /metrics as vic"} {
		if len(shown[what]) < 100 {
			t.Errorf("%s: nothing was looked at: %q", what, shown[what])
		}
	}
}

// firstEvent is the first event of a stream.
func firstEvent(t *testing.T, address, token string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	text := ""
	for !strings.Contains(text, "data: ") {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("stream %s: %v after %q", address, err, text)
		}
		text += line
	}
	return text
}

// unpack is all that is in an archive, one after the other.
func unpack(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, h.Name)
		if _, err := io.Copy(&out, files); err != nil {
			t.Fatal(err)
		}
	}
}
