package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
)

// diagnosis is one thing that doctor looked at.
type diagnosis struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, advice, fault, unknown
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"`
}

const (
	stateOK      = "ok"
	stateAdvice  = "advice"
	stateFault   = "fault"
	stateUnknown = "unknown" // could not be looked at
)

var diagnosisMarks = map[string]string{stateOK: markDone, stateAdvice: "!", stateFault: markFailed, stateUnknown: "?"}

func newDoctorCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at the connection, the login, rights, topics, clocks and producers; nothing is changed",
		Long: `Look at everything between here and a working namespace, and say for each fault what to do: the brokers and
their version, the login, the rights on each topic, also on those that the published definitions read and
write, the settings of the topics, the processes and their levels, the clocks, and whether producers put
keys on the partitions where others look for them. It only reads. The exit code is 5 when something is at fault.`,
		Example: "  amends doctor\n  amends doctor --kafka-config client.properties --namespace pay --topic orders",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := examine(cmd)
			if err != nil {
				return err
			}
			if err := printAs(cmd, t, d.found, d.worst(), func(w io.Writer) { printDiagnoses(w, d.found) }); err != nil {
				return err
			}
			if d.worst() == stateFault {
				return &codedError{code: exitFindings}
			}
			return nil
		},
	}
	cmd.Flags().StringSlice("topic", nil, "further topics whose producers to look at")
	kafkaFlags(cmd)
	serverFlags(cmd)
	outputFlag(cmd)
	return cmd
}

func printDiagnoses(w io.Writer, found []diagnosis) {
	for _, d := range found {
		fmt.Fprintf(w, "%s %-10s %s\n", diagnosisMarks[d.State], d.Check, d.Text)
		if d.Fix != "" {
			fmt.Fprintf(w, "  %-10s %s\n", "", strings.ReplaceAll(d.Fix, "\n", "\n"+strings.Repeat(" ", 13)))
		}
	}
}

// doctor gathers diagnoses.
type doctor struct {
	conn  *connection
	user  string
	ahead time.Duration // of the nodes of amends dev before this machine
	found []diagnosis
}

func (d *doctor) say(check, state, fix, text string, args ...any) {
	d.found = append(d.found, diagnosis{check, state, fmt.Sprintf(text, args...), fix})
}

// worst is the state of the whole.
func (d *doctor) worst() string {
	worst := stateOK
	for _, f := range d.found {
		switch {
		case f.State == stateFault:
			return stateFault
		case f.State == stateAdvice:
			worst = stateAdvice
		}
	}
	return worst
}

// doctorPatience bounds each look.
const doctorPatience = 15 * time.Second

// examine looks at everything, one thing after the other.
func examine(cmd *cobra.Command) (*doctor, error) {
	s, err := readSettings(cmd, "")
	var conn connection
	if err == nil {
		err = conn.take(s)
	}
	if err != nil {
		return nil, &codedError{exitUsage, err}
	}
	more, _ := cmd.Flags().GetStringSlice("topic")
	d := &doctor{conn: &conn, user: s.text("sasl-user")}
	// A dev of this machine is found by the port of --server alone: it counts when these brokers are its own.
	var dev local.Status
	if askDev(cmd, http.MethodGet, "/status", nil, &dev) == nil && dev.Advanced > 0 &&
		slices.ContainsFunc(dev.Brokers, func(b string) bool { return slices.Contains(conn.Brokers, b) }) {
		d.ahead = dev.Advanced
		d.say("clocks", stateAdvice, "", "the nodes of amends dev are %s ahead (amends clock advance)", dev.Advanced)
	}
	for _, note := range s.notes {
		d.say("settings", stateAdvice, "", "%s", note)
	}
	cl, err := kgo.NewClient(conn.kafka(kgo.RetryTimeout(doctorPatience), kgo.DialTimeout(5*time.Second), kgo.RequestRetries(2))...)
	if err != nil {
		return nil, usage("%w", err)
	}
	defer cl.Close()
	if d.brokers(cmd.Context(), cl, s) {
		missing := d.topics(cmd.Context())
		var read, written []string
		if !missing {
			read, written = d.others(cmd.Context())
		}
		d.rights(cmd.Context(), cl, read, written)
		if !missing {
			d.processes(cmd.Context())
			d.producers(cmd.Context(), cl, append(read, more...))
		}
	}
	d.clock(cmd.Context())
	return d, nil
}

// brokers says whether they can be spoken to at all.
func (d *doctor) brokers(ctx context.Context, cl *kgo.Client, s settings) bool {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	adm := kadm.NewClient(cl)
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		d.say("brokers", stateFault, connectFix(err, s), "%v cannot be asked: %v", d.conn.Brokers, err)
		return false
	}
	version := ""
	if versions, err := adm.ApiVersions(ctx); err == nil {
		for _, v := range versions {
			version = ", Kafka " + strings.TrimPrefix(v.VersionGuess(), "v")
			break
		}
	}
	d.say("brokers", stateOK, "", "%s%s", plural(len(brokers), "broker"), version)
	login := "no login"
	if mechanism := s.text("sasl-mechanism"); mechanism != "" {
		login = strings.TrimSpace(mechanism + " as " + d.user)
	}
	state, fix := stateOK, ""
	if s.yes("tls") {
		login += ", TLS"
	} else if s.text("sasl-mechanism") == "PLAIN" {
		state, fix, login = stateAdvice, "Use TLS, or SCRAM.", login+" without TLS: the password goes over the network in clear"
	}
	d.say("login", state, fix, "%s", login)
	if err := orchestrator.CheckBrokers(ctx, d.conn.orchestrator()); err != nil {
		d.fault("brokers", err)
	} else {
		d.say("brokers", stateOK, "", "transactions keep exactly once (transaction.version 2)")
	}
	return true
}

// fault tells an error of ours with its cure.
func (d *doctor) fault(check string, err error) {
	var known *orchestrator.Error
	if errors.As(err, &known) {
		d.say(check, stateFault, known.Fix, "%s %s", known.Code, known.Cause)
		return
	}
	d.say(check, stateFault, "", "%v", err)
}

// connectFix guesses from an error what is wrong with the way to the brokers.
func connectFix(err error, s settings) string {
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "certificate signed by unknown authority"):
		return "Name the authority of the brokers' certificates with --tls-ca."
	case strings.Contains(text, "certificate is valid for"), strings.Contains(text, "doesn't contain any ip sans"):
		return "The certificate has another name: use that address, or --tls-server-name."
	case strings.Contains(text, "first record does not look like a tls handshake"):
		return "The brokers do not speak TLS on this port: take --tls out, or use their TLS port."
	case strings.Contains(text, "sasl"), strings.Contains(text, "authentication"):
		return "Check --sasl-mechanism, --sasl-user and --sasl-password-file (amends config show says where they come from)."
	case strings.Contains(text, "connection refused"), strings.Contains(text, "no such host"), strings.Contains(text, "i/o timeout"):
		return "Check --brokers; is a broker listening there, and is the way open?"
	case s.text("sasl-mechanism") != "":
		return "Brokers close the connection when a login fails: check --sasl-mechanism, --sasl-user and --sasl-password-file (amends config show says where they come from)."
	case !s.yes("tls"):
		return "A broker that closes the connection at once often wants TLS (--tls) or a login (--sasl-mechanism)."
	}
	return "Check --brokers, and TLS and login (amends config show)."
}

// topics says what differs from the plan, and whether the namespace is not there.
func (d *doctor) topics(ctx context.Context) (missing bool) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	states, err := orchestrator.PlanTopics(ctx, d.conn.orchestrator(), nil)
	if err != nil {
		d.fault("topics", err) // more often a right than a missing topic
		return false
	}
	var absent []string
	wrong := 0
	for _, s := range states {
		switch {
		case !s.Exists:
			absent = append(absent, s.Name)
		default:
			wrong += d.differs(s)
		}
	}
	if len(absent) > 0 {
		d.say("topics", stateFault, "Create them: amends topic apply --namespace "+d.conn.Namespace+"; if they are there, this principal may not see them (DESCRIBE).",
			"missing, or not to be seen: %s", strings.Join(absent, ", "))
		return true
	}
	if wrong == 0 {
		d.say("topics", stateOK, "", "%d topics of namespace %s are as they should be", len(states), d.conn.Namespace)
	}
	d.published(ctx)
	return false
}

// differs says what is wrong with a topic that exists, and counts what must not be.
func (d *doctor) differs(s orchestrator.TopicState) int {
	for _, f := range s.Faults {
		d.say("topics", stateFault, alterFix(f, s.Name), "%s: %s", s.Name, f)
	}
	for _, a := range s.Advice {
		d.say("topics", stateAdvice, alterFix(a, s.Name), "%s: %s", s.Name, a)
	}
	return len(s.Faults)
}

// published looks at the topics that the published definitions need beside those of every namespace.
func (d *doctor) published(ctx context.Context) {
	states, err := orchestrator.PlanPublished(ctx, d.conn.orchestrator())
	if err != nil {
		d.say("topics", stateUnknown, "", "those of bindings and of correlation: %v", err)
		return
	}
	wrong, later := 0, 0
	for _, s := range states {
		switch {
		case s.Exists:
			wrong += d.differs(s)
		case s.Note != "":
			later++
			d.say("topics", stateAdvice, "", "%s is not there: %s", s.Name, s.Note)
		default:
			wrong++
			d.say("topics", stateFault, "Publish the definition again, or restart a process: either makes it.", "missing: %s, which a definition needs", s.Name)
		}
	}
	if wrong+later == 0 && len(states) > 0 {
		d.say("topics", stateOK, "", "%s of bindings and correlation as they should be", plural(len(states), "topic"))
	}
}

// alterFix is the command that repairs a setting.
func alterFix(fault, topic string) string {
	key, rest, ok := strings.Cut(fault, ": have ")
	_, want, ok2 := strings.Cut(rest, "want ")
	if !ok || !ok2 || strings.Contains(key, " ") || key == "partitions" {
		return ""
	}
	return fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config %s=%s", topic, key, strings.Trim(want, `"`))
}

// others are the topics of others that the published definitions read and write.
func (d *doctor) others(ctx context.Context) (read, written []string) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	read, written, err := orchestrator.OtherTopics(ctx, d.conn.orchestrator())
	if err != nil {
		d.say("topics", stateUnknown, "", "what the definitions read and write: %v", err)
	}
	return read, written
}

// processes says who runs the namespace.
func (d *doctor) processes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	l, err := orchestrator.DescribeLevel(ctx, d.conn.orchestrator())
	switch {
	case err != nil:
		d.fault("processes", err)
	case len(l.Members) == 0:
		d.say("processes", stateAdvice, "Start some: amends run --namespace "+d.conn.Namespace, "no process runs this namespace: what is started waits")
	default:
		for _, m := range l.Members {
			if m.Version != "" && m.Version != orchestrator.Version {
				d.say("processes", stateAdvice, "", "%s runs %s, this program is %s", m.Address, m.Version, orchestrator.Version)
			}
		}
		d.say("processes", stateOK, "", "%d in the group, feature level %d of %d", len(l.Members), l.Level, l.Newest)
	}
}

// maxSkew is how far clocks may be apart before it matters to people who read times. The engine does not
// depend on it: the time of a task never falls.
const maxSkew = 5 * time.Second

// clock compares the time of the process that answers at --server with this machine's.
func (d *doctor) clock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.conn.Server+"/livez", nil)
	if err != nil {
		d.say("api", stateFault, "Correct --server.", "%v", err)
		return
	}
	before := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.say("api", stateAdvice, "Name a running process with --server; without one, ls, show and --watch do not work.", "%s does not answer", d.conn.Server)
		return
	}
	resp.Body.Close()
	d.say("api", stateOK, "", "%s answers", d.conn.Server)
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		d.say("clocks", stateUnknown, "", "%s tells no time", d.conn.Server)
		return
	}
	// The header has whole seconds.
	skew := theirs.Sub(before)
	switch {
	case skew > maxSkew || skew < -maxSkew-time.Second:
		d.say("clocks", stateFault, "Let both machines keep time (NTP): deadlines and histories are read wrongly otherwise.", "%s is %s away from this machine", d.conn.Server, skew.Round(time.Second))
	default:
		d.say("clocks", stateOK, "", "this machine and %s agree to within %s", d.conn.Server, maxSkew)
	}
}
