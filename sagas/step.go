package sagas

import (
	"slices"
)

// Step consumes one event and moves the instance: the only function that ever does.
//
// inst is nil when the workflow ID has no record; a nil result means that the record is to be
// deleted. inst is never changed. When the event has no effect, Step returns inst itself and an
// Ignored that says why. p is the plan that the instance is pinned to, or for a Start the plan that
// the runtime resolved; nil when this process does not have it. now is the owner's clock; Step never
// lets it fall behind the last change.
//
// The instance
//
//	 #  phase         event                                   next          facts and remarks
//	 1  -             Start, plan loaded, input valid         RUNNING       started; pins the digest, arms the deadline
//	 2  -             Start, plan not loaded                  PARKED        parked; DefLoaded -> 1; after 5 min rejected, dead letter
//	 3  -             Start, bad input or older than markers  -             rejected, dead letter; nothing is stored
//	 4  -             Cancel                                  VOID          voided; a later Start is rejected CANCELLED_BEFORE_START
//	 5  -, MAILBOX,   Signal                                  MAILBOX,      signalled; kept for its TTL, then a dead letter; row 1 takes what is
//	    PARKED                                                PARKED        there. Without a TTL: dead letter
//	 6  any           Start, same start id or same input      same          duplicate; a child that has ended tells its parent once more
//	 7  any           Start, another input                    same          conflict, dead letter; after an end the policy reuse may begin the
//	                                                                        next run, under the plan of that start, if it was issued later
//	 8  RUNNING       a mandatory step failed, and no frame   COMPENSATING  not while the pivot is in flight
//	                  around it takes the failure (row u)
//	 9  RUNNING       Cancel or deadline, pivot not sent      COMPENSATING  cancel-acked or deadline-hit
//	10  RUNNING       Cancel or deadline, pivot in flight     RUNNING       noted; 11 or 12 decides
//	11  RUNNING       pivot DONE                              FINISHING     committed; deadline cleared; waiting cancels are refused
//	12  RUNNING       pivot REFUSED                           COMPENSATING  waiting cancels are acknowledged
//	13  FINISHING     Cancel                                  same          cancel-refused COMMITTED
//	14  RUNNING or    every step resolved, no frame UNDOING;  COMPLETED     completed, result; retention begins
//	    FINISHING     or ended early and nothing in flight
//	15  COMPENSATING  no obligation left                      COMPENSATED   compensated, result; retention begins
//	16  COMPENSATING  Cancel                                  same          cancel-acked with progress
//	17  active        Admin close                             CLOSED        closed with the residue
//	18  COMPLETED,    Reverse from the parent                 COMPENSATING  reopened; its obligations were kept. Retention begins at ParentClosed
//	    reversible
//	    child
//	19  COMPENSATED,  late success of a step that was         COMPENSATING  late-effect, reopened; undo with the next round
//	    CLOSED        not undone
//	20  terminal      retention has passed                    MARKER        expired; the marker's end deletes it
//	21  FINISHING or  all done that is in flight, after       RUNNING       completed, continued, started: the next run in the same record,
//	    RUNNING       a continue node                                       with the signals that nothing consumed
//
// One step
//
//	   state          event                                  next
//	a  IDLE           dependencies resolved                  `when` false: SKIPPED, else READY; bad expression: stays READY, attention EXPR
//	b  READY          -                                      PENDING(1): inputs fixed, undo record taken, sent, timer armed
//	c  PENDING        ok                                     DONE, keeps the `keep` fields
//	d  PENDING        rejected, or fatal without effect      REFUSED
//	e  PENDING        failed-retriable, or its timer         BACKOFF; budget spent: INQUIRING if offered, else UNKNOWN
//	f  PENDING        failed-fatal, effect unknown           INQUIRING if offered, else FAILED
//	g  PENDING        progress                               same, timer armed anew within `within`, with a heartbeat within the
//	                                                         attempt too; handle merged into the output
//	h  BACKOFF        timer                                  PENDING(n+1), same key; key window passed: INQUIRING or as UNKNOWN
//	i  PENDING,       definite answer of an older attempt    accepted: one key, one outcome; other old answers are stale,
//	   BACKOFF,                                              but EXPIRED is kept: the next attempt gets more room (room.go)
//	   INQUIRING,
//	   UNKNOWN, FAILED
//	j  INQUIRING      executed / not-executed / running      DONE / REFUSED / asks again after `every`;
//	                  or silence                             after `for`: UNKNOWN, but a pivot or retriable waits with attention
//	k  U_PENDING      ok, ok and noop                        UNDONE, UNDO_NOOP; noop though the do was seen done: one more
//	                                                         round, then U_STOPPED with attention
//	l  U_PENDING      failed-retriable, or its timer         U_BACKOFF without limit; late: attention; key window passed: U_INQUIRING
//	                                                         or U_STOPPED; failed-fatal: U_STOPPED
//	m  DONE, REFUSED, any answer                             duplicate; an answer that contradicts: contract-violation, attention
//	   UNDONE
//	n  any            answer to an attempt never sent        phantom; with effect done it is an obligation
//	o  any            answer that cannot be read             as failed-retriable BAD_REPLY, and a dead letter
//	p  RUNNING ->     IDLE, READY, OPEN block: ABANDONED. BACKOFF: UNKNOWN. PENDING, INQUIRING: may answer
//	   COMPENSATING,  until the attempt's deadline, 30 s at most, then UNKNOWN; with the policy eager UNKNOWN
//	   frame UNDOING  at once. OPEN child: cancelled, and waited for
//	q  -              COMPENSATING or frame UNDOING, and     OWED
//	                  the step owes
//	r  OWED           every step that depends on it, also    U_PENDING(1)
//	                  over others, is out of debt
//
// A step owes when it has an undo and is DONE, UNKNOWN, FAILED, REFUSED after more than one attempt,
// or was ever said to be done.
//
// One block, and its frames. An item of each, a lane of race, a round of repeat or scope, a catch lane
// and a timeout lane are frames: their steps come with them. Lanes of parallel and choose have none.
//
//	   block          event                                  next
//	s  READY          -                                      OPEN, or held READY when its list, keys or size are impossible.
//	                                                         parallel: every lane. choose: the first lane that holds, for good;
//	                                                         the rest SKIPPED. each: a WAITING frame per item. race: a frame per
//	                                                         lane. scope: round 1. repeat: round 1, or the wait before it
//	t  OPEN           everything inside an OPEN frame is     the frame is DONE, and then
//	                  resolved
//	   parallel,      every lane resolved                    DONE
//	   choose
//	   each           an item DONE or UNDONE                 the next WAITING ones OPEN, at most atOnce OPEN or UNDOING; none left: DONE
//	   race           `first` lanes DONE                     DONE; the lanes that are still OPEN are turned round (row v)
//	   scope          round or catch lane DONE               DONE
//	   repeat         round DONE, no outcome unknown that    `until` true, or the last round: DONE; else the wait, then the next
//	                  may owe                                round. Earlier rounds that owe nothing are forgotten
//	   await, approve timeout lane DONE                      DONE
//	u  OPEN           a step inside failed                   offered to the frames around it from the inside out; taken by an item of
//	                                                         an each that collects or tolerates, by a lane of a race, by a round of a
//	                                                         scope whose retry (rounds left) or catch lists the code. Not when a
//	                                                         pivot in the frame was sent and not refused
//	v  frame OPEN     it takes a failure, or lost a race     UNDOING: row p for its steps, then its debts, in order
//	w  frame UNDOING  no debt left inside                    UNDONE. scope: next round after its wait, or the catch lane
//	x  frame UNDONE   late success inside                    UNDOING again
//	y  each OPEN      more failed items than tolerated       REFUSED, ITEMS_FAILED
//	   race OPEN      too few lanes left to win              REFUSED, with the code of the last failure
//	z  OPEN           what is around it turns round          ABANDONED; its frames go backward with it
//
// Step y depends on step x when in the innermost list that holds both the one of y waits for the one of
// x, directly or over others; a later round depends on an earlier one, and so does a later item when
// atOnce is 1. A frame that was turned round by itself looks at its own steps only: what came after it
// never waits for it and it never waits for that.
//
// Waits, signals and people. A node that is no call and has no body is a leaf. Operators' actions have
// their table in admin.go, the messages between parents and children theirs in child.go.
//
//	   leaf           event                                  next
//	A  READY          -                                      set, emit: DONE. fail: REFUSED with its code. finish, continue: DONE, nothing new
//	                                                         begins, waits end. Bad expression: held, attention EXPR
//	B  READY          -                                      await, sleep, approve: OPEN; the end of the wait is fixed; signals that
//	                                                         came before are looked at first, in the order of arrival
//	C  READY          -                                      saga: OPEN, child-started
//	D  await OPEN     a signal of its name, `when` true      DONE, keeps the `keep` fields; bad `when`: attention EXPR, the signal stays
//	E  sleep OPEN     its time, or a wake signal             DONE
//	F  approve OPEN   a decision of somebody who may         task-decided; quorum reached: DONE; a refusal: REFUSED, DECLINED
//	G  approve OPEN   a decision of nobody, of somebody      signal-dropped
//	                  whom `not` names, or who decided
//	H  approve OPEN   remindEvery has passed                 task-reminded
//	I  await,         `within` has passed                    timed-out; REFUSED with TIMEOUT, or DONE, or its lane opens
//	   approve OPEN
//	J  any            Signal that no open wait wants         buffered; the buffer is full: dead letter, attention SIGNALS
//	K  saga OPEN      ChildDone                              DONE, REFUSED, or attention CHILD_CLOSED
//	L  OPEN           what is around it turns round, or      ABANDONED; a child is cancelled, and waited for
//	                  the saga ends early
//	M  READY pivot    a lease of a DONE step would end       REFUSED with LEASE_EXPIRED: nothing was sent
//	                  within the attempt
//	N  any            Admin suspend                          nothing begins, is sent or ends until resume; news is taken, and the
//	                                                         timers that would send stand still
func Step(p *Plan, inst *Instance, ev Event, now Time) (*Instance, []Effect) {
	m := &machine{p: p, given: p, now: min(max(now, 0), maxTime)}
	return m.step(inst, ev)
}

func (m *machine) step(inst *Instance, ev Event) (*Instance, []Effect) {
	if inst != nil {
		m.own(inst)
	}
	reason := m.dispatch(ev)
	if reason != "" {
		return inst, append(m.effects, Ignored{Reason: reason})
	}
	m.subscribe(inst)
	if m.dropped {
		return nil, m.effects
	}
	return m.inst, m.effects
}

// machine is the work of one Step.
type machine struct {
	p           *Plan
	given       *Plan     // as Step got it: a start may bring another plan than the record is pinned to
	inst        *Instance // a copy that may be changed; nil = none
	now         Time
	gate        Gate // nil = everything may be sent
	dropped     bool // the record is to be deleted
	effects     []Effect
	transitions int
	tree        *tree  // of a dynamic instance; nil = to be derived anew
	moved       bool   // steps came or went during this walk, so indexes are not what they were
	held        bool   // a failure waits for a pivot in flight: nothing new begins
	came        string // name of the signal that this event is
	scope       scope
}

// plan is the node of the plan that step i runs.
func (m *machine) plan(i int) *PlanStep { return &m.p.Steps[m.inst.Steps[i].Node] }

// own makes the copy that this Step works on. Byte slices and texts are shared, never written.
func (m *machine) own(inst *Instance) {
	m.now = max(m.now, inst.LastNow)
	c := *inst
	c.Steps = slices.Clone(inst.Steps)
	c.Frames = slices.Clone(inst.Frames)
	c.Rev++
	c.LastNow = m.now
	m.inst = &c
	m.effects = make([]Effect, 0, 4)
	if (c.Phase.Active() || c.Phase.Terminal()) && m.p != nil && !pinned(&c, m.p) {
		m.p = nil
	}
	if c.dynamic() && m.p != nil && c.Phase != Marker {
		if m.tree = buildTree(m.p, &c); m.tree == nil {
			m.p = nil
		}
	}
	if c.shelf.missing() && (m.p == nil || m.waitsForPivot()) {
		m.needWhole()
	}
}

// pinned says whether p is the very plan that the instance started with. Another version, or the
// same version with another content, must not move it.
func pinned(inst *Instance, p *Plan) bool {
	if inst.Type != p.Type || inst.Version != p.Version || inst.Digest != p.Digest {
		return false
	}
	for i := range inst.Steps {
		if inst.Steps[i].Node >= len(p.Steps) {
			return false
		}
	}
	return inst.dynamic() || len(inst.Steps) == len(p.Steps)
}

// dispatch handles the event. A reason means that the event had no effect: whatever the handler did
// to the copy is dropped, so a handler that gives one must not have emitted facts or commands.
func (m *machine) dispatch(ev Event) (ignored string) {
	switch ev := ev.(type) {
	case Start:
		return m.start(&ev)
	case Reply:
		return m.reply(&ev)
	case Timers:
		return m.timers()
	case Cancel:
		return m.cancel(&ev)
	case Admin:
		return m.admin(&ev)
	case DefLoaded:
		return m.defLoaded()
	case Signal:
		return m.signal(&ev)
	case ChildDone:
		return m.childDone(&ev)
	case Reverse:
		return m.reverse(&ev)
	case ParentClosed:
		return m.parentClosed(&ev)
	case Released:
		return m.released()
	}
	return ignoredUnknownEvent
}

// Reasons of Ignored.
const (
	ignoredDuplicate         = "duplicate"
	ignoredStale             = "stale"
	ignoredPhantom           = "phantom"
	ignoredUnknownInstance   = "unknown-instance"
	ignoredUnknownDefinition = "unknown-definition"
	ignoredUnknownPath       = "unknown-path"
	ignoredUnknownEvent      = "unknown-event"
	ignoredWrongRun          = "wrong-run"
	ignoredRevision          = "revision"
	ignoredNotActive         = "not-active"

	// An operator's action that the present state does not allow.
	ignoredNotApplicable = "not-applicable"  // nothing here that the action could change
	ignoredInFlight      = "in-flight"       // a command is on its way: wait for its answer, or for its time to pass
	ignoredWaits         = "waits"           // the undo waits for others: settle those first
	ignoredCommitted     = "committed"       // the saga only goes forward
	ignoredPivotInFlight = "pivot-in-flight" // only the outcome of the pivot decides
	ignoredKeyWindow     = "key-window"      // the key may be forgotten: resolve it, or retry with a new key
	ignoredInputsGone    = "inputs-gone"     // the inputs of the do are not kept: retry with a new key
	ignoredNoDebt        = "no-debt"         // nothing is owed here
	ignoredBadRequest    = "bad-request"     // an argument is missing or no value of its kind
	ignoredFull          = "full"            // the buffer of signals is full
	ignoredNoInstance    = "no-instance"     // nobody waits for the signal
)

// Classes of DeadLetter.
const (
	ClassUnknownDefinition = "UNKNOWN_DEFINITION"
	ClassInvalidInput      = "INVALID_INPUT"
	ClassStaleStart        = "STALE_START"
	ClassConflict          = "CONFLICT"
	ClassOrphanReply       = "ORPHAN_REPLY"
	ClassBadReply          = "BAD_REPLY"
)

// scope is what an expression may see of the instance from its place.
type scope struct {
	m     *machine
	frame uint32 // in which the expression stands
	key   string
	event []byte
	as    string // an item that has no frame yet: the name, the item and its index
	item  []byte
	index uint32
}

func (s *scope) Input() []byte { return s.m.inst.input() }
func (s *scope) Now() Time     { return s.m.now }
func (s *scope) Key() string   { return s.key }

func (s *scope) Event() []byte { return s.event }

func (s *scope) Signal(name string) []byte {
	latest := s.m.inst.Latest
	if i := slices.IndexFunc(latest, func(v NamedValue) bool { return v.Name == name }); i >= 0 {
		return latest[i].Value
	}
	return nil
}

// Item climbs the frames to the each whose item has that name; "" is the innermost one.
func (s *scope) Item(name string) (value []byte, index uint32) {
	if s.as != "" && (name == "" || name == s.as) {
		return s.item, s.index
	}
	for f := s.m.inst.frame(s.frame); f != nil; f = s.m.inst.frame(f.In) {
		if each := s.m.p.Steps[f.Node].Each; each != nil && (name == "" || name == each.As) {
			return f.Item, f.Number - 1
		}
	}
	return nil, 0
}

// Round climbs the frames to the innermost round.
func (s *scope) Round() uint32 {
	for f := s.m.inst.frame(s.frame); f != nil; f = s.m.inst.frame(f.In) {
		if f.isRound(s.m.p) {
			return f.Number
		}
	}
	return 0
}

// Step resolves an id outward: the step of that node in the frame of the expression, else the newest
// one inside that frame, else the same in the frame around it.
func (s *scope) Step(id string) (output []byte, state string, found bool) {
	node := s.m.p.StepIndex(id)
	if node < 0 {
		return nil, "", false
	}
	i := s.m.seen(node, s.m.inst.frameAt(s.frame)+1)
	if i < 0 { // it belongs to a body that did not run yet
		return nil, StepIdle.String(), true
	}
	st := &s.m.inst.Steps[i]
	return st.Output, st.State.String(), true
}

// scopeAt is the scope of the expressions of step i.
func (m *machine) scopeAt(i int) Scope { return m.see(i, Key{}) }

// see returns the scope of an expression of step i, or of the saga itself when i is -1; key is that
// of the command it builds, or zero. The next call makes it invalid.
func (m *machine) see(i int, key Key) Scope {
	frame := uint32(0)
	if i >= 0 {
		frame = m.inst.Steps[i].Frame
	}
	return m.seeIn(frame, key)
}

// seeIn is see for an expression that stands in a frame.
func (m *machine) seeIn(frame uint32, key Key) *scope {
	m.scope = scope{m: m, frame: frame}
	if !key.IsZero() {
		m.scope.key = key.String()
	}
	return &m.scope
}
