package sagatest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/prove"
)

// Script runs the verbs of one script, one after the other, against one World. Run and RunScript
// are the usual way in; Script itself needs no testing.T.
type Script struct {
	dir     string // relative file= names are looked up here
	world   *World
	plans   map[string]*sagas.Plan // by type@version
	newest  *sagas.Plan            // the latest defined: start takes it unless told otherwise
	names   keyNames
	out     strings.Builder
	before  snapshot // what the last verb left, to print only changes
	origin  sagas.Time
	answers map[opKey]*behaviour
	auto    bool // behave step=* was given

	wires    []wireRule
	coverage Coverage

	ownEvent bool // the next event is the verb itself and needs no line of its own
}

// Arg is one name=value of a verb. A bare name has no values; (a, b) has several.
type Arg struct {
	Name   string
	Values []string
}

// behaviour is the list of answers that a participant gives to one step and operation. The last
// one repeats.
type behaviour struct {
	answers []Answer
	next    int
}

// NewScript makes an empty script whose file= names are relative to dir.
func NewScript(dir string) *Script {
	s := &Script{dir: dir, plans: make(map[string]*sagas.Plan), answers: make(map[opKey]*behaviour)}
	s.world = New(nil)
	s.world.Observe = s.observe
	s.world.Participants.Behaviour = s.behave
	s.origin = s.world.Now()
	s.before.phase = "none"
	return s
}

// World gives access to what the script is doing, for checks that the verbs do not offer.
func (s *Script) World() *World { return s.world }

// Coverage tells what the script has made its definitions do so far.
func (s *Script) Coverage() *Coverage { return &s.coverage }

// Exec runs one verb and returns its answer. An error means that the verb itself was wrong: it says
// nothing about the saga.
func (s *Script) Exec(verb string, args []Arg, body string) (string, error) {
	run, ok := verbs[verb]
	if !ok {
		return "", fmt.Errorf("%q is not a verb (%s)", verb, strings.Join(verbNames(), ", "))
	}
	a := &arguments{list: args, used: make(map[string]bool)}
	s.out.Reset()
	if err := run(s, a, body); err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	if err := a.rest(); err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	return s.out.String(), nil
}

var verbs map[string]func(*Script, *arguments, string) error

func init() {
	verbs = map[string]func(*Script, *arguments, string) error{
		"define":       (*Script).define,
		"start":        (*Script).start,
		"reply":        (*Script).reply,
		"advance":      (*Script).advance,
		"tick":         (*Script).tick,
		"jump":         (*Script).jump,
		"cancel":       (*Script).cancel,
		"deadline":     (*Script).deadline,
		"close":        (*Script).close,
		"signal":       (*Script).signal,
		"admin":        (*Script).admin,
		"childdone":    (*Script).childDone,
		"reverse":      (*Script).reverse,
		"parentclosed": (*Script).parentClosed,
		"defloaded":    (*Script).defLoaded,
		"forget":       (*Script).forget,
		"crash":        (*Script).crash,
		"behave":       (*Script).setBehaviour,
		"run":          (*Script).run,
		"state":        (*Script).state,
		"ledger":       (*Script).ledger,
		"wire":         (*Script).wire,
	}
}

func verbNames() []string {
	var names []string
	for name := range verbs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// define reads and compiles the definition in the body or in file=. Findings are the answer, not an
// error of the script.
func (s *Script) define(a *arguments, body string) error {
	name, src := "definition.yaml", []byte(body)
	if file, ok := a.text("file"); ok {
		b, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			return err
		}
		name, src = file, b
	}
	defs, err := sagas.ParseDefinitions(name, src)
	if err != nil {
		s.println(err.Error())
		return nil
	}
	only, _ := a.text("saga")
	attempts, bounded, err := a.uint("attempts")
	if err != nil {
		return err
	}
	for _, def := range defs {
		if only != "" && only != def.Ref() && only != def.Saga {
			continue
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			s.println(err.Error())
			return nil
		}
		if bounded {
			plan = prove.Bound(plan, int(attempts))
		}
		plan.Namespace = "test"
		s.plans[def.Ref()] = plan
		s.newest = plan
		s.printPlan(def.Ref(), plan)
	}
	return nil
}

func (s *Script) start(a *arguments, body string) error {
	ev := sagas.Start{Input: []byte("{}"), IssuedAt: s.world.Now()}
	plan := s.newest
	if typ, ok := a.text("type"); ok {
		ev.Type = typ
		plan = nil
	} else if plan != nil {
		ev.Type, ev.Version = plan.Type, plan.Version
	}
	version, given, err := a.uint("version")
	if err != nil {
		return err
	}
	if given {
		ev.Version = uint32(version)
		plan = nil
	}
	if plan == nil && ev.Version != 0 {
		plan = s.plans[ev.Type+"@"+strconv.FormatUint(uint64(ev.Version), 10)]
	}
	if text, ok := a.text("input"); ok {
		body = text
	}
	if body != "" {
		if ev.Input, err = sagas.CanonicalJSON([]byte(body)); err != nil {
			return fmt.Errorf("input: %w", err)
		}
	}
	id, ok := a.text("id")
	if !ok {
		if plan == nil || plan.ID == nil {
			return fmt.Errorf("id= is needed: the definition does not derive it from the input")
		}
		if id, err = plan.ID.String(sagas.InputOnly(ev.Input)); err != nil {
			return fmt.Errorf("id: %w", err)
		}
	}
	ev.WorkflowID = ev.Type + "/" + id
	ev.StartID, _ = a.text("start-id")
	ev.ReplyTo, _ = a.text("reply-to")
	ago, _, err := a.duration("issued")
	if err != nil {
		return err
	}
	ev.IssuedAt += sagas.Time(ago.Milliseconds())
	if text, ok := a.text("parent"); ok {
		p, err := s.readParent(a)
		if err != nil {
			return err
		}
		p.WorkflowID, p.Reversible = text, a.flag("reversible")
		ev.Parent = &p
	}
	// An instance keeps the definition it was started with. The runtime looks it up for each event,
	// so only a start that begins a run changes what the machine is given.
	pinned := s.world.Plan
	inst := s.world.Instance()
	if inst == nil || !inst.Phase.Active() {
		s.world.Plan = plan
	}
	s.feed(ev)
	if after := s.world.Instance(); inst != nil && after != nil && inst.Run == after.Run && !inst.Phase.Active() && inst.Phase != sagas.Mailbox {
		s.world.Plan = pinned
	}
	return nil
}

func (s *Script) reply(a *arguments, body string) error {
	var ev sagas.Reply
	var ok bool
	if ev.Path, ok = a.text("step"); !ok {
		return fmt.Errorf("step= is needed")
	}
	outcome, ok := a.text("outcome")
	if !ok {
		return fmt.Errorf("outcome= is needed")
	}
	ev.Outcome = sagas.Outcome(outcome)
	switch ev.Outcome {
	case sagas.OutcomeOK, sagas.OutcomeRejected, sagas.OutcomeFailedRetriable, sagas.OutcomeFailedFatal, sagas.OutcomeProgress, sagas.OutcomeBadReply:
		ev.Op = sagas.OpDo
	case sagas.OutcomeExecuted, sagas.OutcomeNotExecuted, sagas.OutcomeRunning:
		ev.Op = sagas.OpInquire
	default:
		return fmt.Errorf("%q is not an outcome", outcome)
	}
	if name, ok := a.text("op"); ok {
		switch name {
		case "do":
			ev.Op = sagas.OpDo
		case "undo":
			ev.Op = sagas.OpUndo
		case "inquire":
			ev.Op = sagas.OpInquire
		default:
			return fmt.Errorf("%q is not an operation (do, undo, inquire)", name)
		}
	}
	ev.Run, ev.Round, ev.Attempt = 1, 1, 1
	if last, sent := s.world.Last(ev.Path, ev.Op); sent {
		ev.Address = last.Address
	}
	for name, to := range map[string]*uint32{"attempt": &ev.Attempt, "round": &ev.Round, "run": &ev.Run} {
		n, given, err := a.uint(name)
		if err != nil {
			return err
		}
		if given {
			*to = uint32(n)
		}
	}
	effect, _ := a.text("effect")
	switch ev.Effect = sagas.Certainty(effect); ev.Effect {
	case sagas.EffectDefault, sagas.EffectNone, sagas.EffectDone, sagas.EffectUnknown:
	default:
		return fmt.Errorf("%q is not an effect (none, done, unknown)", effect)
	}
	ev.Code, _ = a.text("code")
	ev.Message, _ = a.text("message")
	ev.Noop = a.flag("noop")
	ev.Replayed = a.flag("replayed")
	wait, _, err := a.duration("retry-after")
	if err != nil {
		return err
	}
	ev.RetryAfter = wait.Milliseconds()
	if text, ok := a.text("handle"); ok {
		ev.Handle = []byte(text)
	}
	if body != "" {
		ev.Output = []byte(body)
	}
	if text, ok := a.text("output"); ok {
		ev.Output = []byte(text)
	}
	s.feed(ev)
	return nil
}

// advance lets time pass. Every moment at which something happens is a line of its own.
func (s *Script) advance(a *arguments, _ string) error {
	d, err := a.first()
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("time does not go back; use jump for a fault of the clock")
	}
	s.world.Advance(d)
	return s.world.Err()
}

func (s *Script) tick(_ *arguments, _ string) error {
	s.feed(sagas.Timers{})
	return nil
}

func (s *Script) jump(a *arguments, _ string) error {
	d, err := a.first()
	if err != nil {
		return err
	}
	s.world.Jump(d)
	return nil
}

func (s *Script) cancel(a *arguments, _ string) error {
	var ev sagas.Cancel
	ev.RequestID, _ = a.text("request")
	ev.Reason, _ = a.text("reason")
	ev.Actor, _ = a.text("actor")
	ttl, _, err := a.duration("void-ttl")
	if err != nil {
		return err
	}
	ev.VoidTTL = ttl.Milliseconds()
	ev.WorkflowID = s.world.View().WorkflowID
	if id, ok := a.text("id"); ok {
		typ := "unknown"
		if s.newest != nil {
			typ = s.newest.Type
		}
		if t, ok := a.text("type"); ok {
			typ = t
		}
		ev.WorkflowID = typ + "/" + id
	}
	if ev.WorkflowID == "" {
		return fmt.Errorf("id= is needed: nothing was started yet")
	}
	s.feed(ev)
	return nil
}

// deadline lets the deadline of the saga pass now, before any timer: as if everything so far had
// taken longer.
func (s *Script) deadline(_ *arguments, _ string) error {
	inst := s.world.Instance()
	if inst == nil || inst.Deadline == 0 {
		return fmt.Errorf("no deadline is armed")
	}
	due := *inst
	due.Deadline = s.world.Now()
	s.world.inst = &due
	s.feed(sagas.Timers{})
	return nil
}

func (s *Script) close(a *arguments, _ string) error {
	ev := sagas.Admin{Action: sagas.AdminClose}
	ev.Operator, _ = a.text("operator")
	ev.Reason, _ = a.text("reason")
	ev.RequestID, _ = a.text("request")
	rev, _, err := a.uint("expect-rev")
	if err != nil {
		return err
	}
	ev.ExpectRev = rev
	s.feed(ev)
	return nil
}

func (s *Script) defLoaded(_ *arguments, _ string) error {
	if s.world.Plan == nil {
		v := s.world.View()
		s.world.Plan = s.plans[v.Type+"@"+strconv.FormatUint(uint64(v.Version), 10)]
		if v.Version == 0 && s.newest != nil && s.newest.Type == v.Type {
			s.world.Plan = s.newest
		}
	}
	s.feed(sagas.DefLoaded{})
	return nil
}

func (s *Script) forget(_ *arguments, _ string) error {
	s.world.Plan = nil
	return nil
}

func (s *Script) crash(_ *arguments, _ string) error {
	if err := s.world.Crash(); err != nil {
		return err
	}
	s.changes()
	return nil
}

// setBehaviour makes virtual participants answer a step from now on.
func (s *Script) setBehaviour(a *arguments, _ string) error {
	path, ok := a.text("step")
	if !ok {
		return fmt.Errorf("step= is needed")
	}
	op := sagas.OpDo
	if name, ok := a.text("op"); ok {
		switch name {
		case "do":
		case "undo":
			op = sagas.OpUndo
		case "inquire":
			op = sagas.OpInquire
		default:
			return fmt.Errorf("%q is not an operation (do, undo, inquire)", name)
		}
	}
	delay, _, err := a.duration("delay")
	if err != nil {
		return err
	}
	b := &behaviour{}
	for _, text := range a.values("answers") {
		answer, err := ParseAnswer(text)
		if err != nil {
			return err
		}
		answer.Work = delay
		if code, ok := a.text("code"); ok && answer.Outcome != sagas.OutcomeOK {
			answer.Code = code
		}
		if effect, ok := a.text("effect"); ok {
			answer.Effect = sagas.Certainty(effect)
		}
		if output, ok := a.text("output"); ok && answer.Outcome == sagas.OutcomeOK {
			answer.Output = []byte(output)
		}
		b.answers = append(b.answers, answer)
	}
	if len(b.answers) == 0 {
		return fmt.Errorf("answers= is needed")
	}
	if path == "*" {
		s.auto = true
		s.world.Auto = func(sagas.Command) bool { return true }
	} else if s.world.Auto == nil {
		s.world.Auto = func(c sagas.Command) bool {
			return s.auto || s.answers[opKey{c.Path, sagas.OpDo}] != nil || s.answers[opKey{c.Path, c.Op}] != nil
		}
	}
	s.answers[opKey{path, op}] = b
	return nil
}

// behave is the Behaviour of the virtual participants.
func (s *Script) behave(c sagas.Command) Answer {
	b := s.answers[opKey{c.Path, c.Op}]
	if b == nil {
		b = s.answers[opKey{"*", c.Op}]
	}
	if b == nil {
		if c.Op == sagas.OpInquire {
			return Answer{} // the truth
		}
		return OK()
	}
	a := b.answers[min(b.next, len(b.answers)-1)]
	b.next++
	return a
}

func (s *Script) run(a *arguments, _ string) error {
	until, ok := a.text("until")
	if !ok {
		until = "end"
	}
	limit, given, err := a.duration("limit")
	if err != nil {
		return err
	}
	if !given {
		limit = 24 * time.Hour
	}
	var done func() bool
	switch until {
	case "end":
		done = func() bool { return Terminal(s.world.Instance()) }
	case "attention":
		done = func() bool { return len(s.world.View().Attention) > 0 }
	default:
		done = func() bool {
			inst := s.world.Instance()
			return inst != nil && inst.Phase.String() == until
		}
	}
	if !s.world.Run(limit, done) {
		s.printf("not reached: %s\n", until)
	}
	return s.world.Err()
}

// feed gives the saga one event and prints what came of it.
func (s *Script) feed(ev sagas.Event) {
	s.ownEvent = true
	s.world.Feed(ev)
}

// arguments are those of one verb. Each one has to be asked for: what nobody asked for is a typo.
type arguments struct {
	list []Arg
	used map[string]bool
}

func (a *arguments) find(name string) (Arg, bool) {
	for _, arg := range a.list {
		if arg.Name == name {
			a.used[name] = true
			return arg, true
		}
	}
	return Arg{}, false
}

// text is the value as written. JSON with blanks goes in parentheses: input=({"a": 1, "b": 2}).
func (a *arguments) text(name string) (string, bool) {
	arg, ok := a.find(name)
	return strings.Join(arg.Values, ","), ok
}

func (a *arguments) values(name string) []string {
	arg, _ := a.find(name)
	if len(arg.Values) == 1 {
		return strings.Split(arg.Values[0], ",")
	}
	return arg.Values
}

func (a *arguments) flag(name string) bool {
	_, ok := a.find(name)
	return ok
}

func (a *arguments) uint(name string) (uint64, bool, error) {
	text, ok := a.text(name)
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%s=%s is not a number", name, text)
	}
	return n, true, nil
}

func (a *arguments) duration(name string) (time.Duration, bool, error) {
	text, ok := a.text(name)
	if !ok {
		return 0, false, nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return 0, false, fmt.Errorf("%s=%s is not a duration", name, text)
	}
	return d, true, nil
}

// first is the verb's own argument: a bare duration.
func (a *arguments) first() (time.Duration, error) {
	for _, arg := range a.list {
		if len(arg.Values) == 0 {
			a.used[arg.Name] = true
			return parseDuration(arg.Name)
		}
	}
	return 0, fmt.Errorf("a duration is needed, as in: advance 30s")
}

func (a *arguments) rest() error {
	for _, arg := range a.list {
		if !a.used[arg.Name] {
			return fmt.Errorf("%s= is not an argument of this verb", arg.Name)
		}
	}
	return nil
}

// parseDuration reads Go durations and whole days (90d).
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}
