package topology

import (
	"encoding/binary"
	"slices"

	"github.com/amendsio/amends/topology/balance"
)

// What members and leader say to one another travels in the user data of the
// group's protocol. The first byte is the version. Fields are only ever added at
// the end, and readers ignore what comes after what they know. Whoever reads
// trusts nothing: lengths are bounded before anything is allocated, and what
// cannot be read counts as not said.
const (
	wireVersion = 1

	maxToldBytes   = 1 << 20
	maxTextBytes   = 256
	maxCopies      = 16      // copies of one task in the route table
	maxRoutesBytes = 1 << 18 // of the route tables of a whole group; a larger group has none
)

const (
	flagDraining = 1 << iota
	flagWarms
)

// tells is what a member says of itself when it joins.
type tells struct {
	address, zone   string
	draining, warms bool
	next            []int32
	held            []balance.Held
	refuses         []int32
}

func (t tells) append(b []byte) []byte {
	flags := byte(0)
	if t.draining {
		flags |= flagDraining
	}
	if t.warms {
		flags |= flagWarms
	}
	b = append(b, wireVersion, flags)
	b = appendText(b, t.address)
	b = appendText(b, t.zone)
	b = appendTasks(b, t.next)
	b = binary.AppendUvarint(b, uint64(len(t.held)))
	last := int32(-1)
	for _, h := range t.held {
		b = binary.AppendUvarint(b, uint64(h.Task-last-1))
		last = h.Task
		if lag, known := h.Lag(); known {
			b = append(b, coarse(lag), coarse(h.End))
		} else {
			// Nobody writes to this store: the exact position changes no more than a
			// coarse one would.
			b = append(b, lagUnknown)
			b = binary.AppendUvarint(b, uint64(max(h.Position, 0)))
		}
	}
	return appendTasks(b, t.refuses)
}

func decodeTells(b []byte) (t tells, ok bool) {
	r := reader{b: b}
	if !r.begin() {
		return tells{}, false
	}
	flags := r.byte()
	t.draining, t.warms = flags&flagDraining != 0, flags&flagWarms != 0
	t.address, t.zone = r.text(), r.text()
	t.next = r.tasks()
	n := r.count(maxTasks, 2)
	if n > 0 {
		t.held = make([]balance.Held, 0, n)
	}
	last := int32(-1)
	for range n {
		h := balance.Held{Task: r.task(last)}
		last = h.Task
		if lag := r.byte(); lag == lagUnknown {
			h.Position, h.End = int64(r.uint(1<<62)), -1
		} else {
			h.End = fromCoarse(r.byte())
			h.Position = h.End - fromCoarse(lag)
		}
		t.held = append(t.held, h)
	}
	t.refuses = r.tasks()
	if r.bad {
		return tells{}, false
	}
	return t, true
}

// share is what the leader says to a member beside its tasks.
type share struct {
	standby, warmUp, next []int32
	routes                routeTable
	noTakers              bool // every member is about to leave: a drain moves nothing
}

const flagNoTakers = 1

func (s share) append(b []byte) []byte {
	b = append(b, wireVersion)
	b = appendTasks(b, s.standby)
	b = appendTasks(b, s.warmUp)
	b = appendTasks(b, s.next)
	b = s.routes.append(b)
	flags := byte(0)
	if s.noTakers {
		flags |= flagNoTakers
	}
	return append(b, flags)
}

func decodeShare(b []byte) (s share, ok bool) {
	r := reader{b: b}
	if !r.begin() {
		return share{}, false
	}
	s.standby, s.warmUp, s.next = r.tasks(), r.tasks(), r.tasks()
	s.routes = r.routes()
	if r.bad {
		return share{}, false
	}
	if len(r.b) > 0 { // an older leader does not say it
		s.noTakers = r.byte()&flagNoTakers != 0
	}
	return s, true
}

// routeTable says where tasks are: for each the address of the member that runs
// it or is about to, and those that keep a copy. It is empty in a group that is
// too large to tell everybody everything.
type routeTable struct {
	addresses []string
	tasks     []route
}

type route struct {
	active   int   // in addresses; -1 for none
	standbys []int // in addresses
}

func routesOf(members []balance.Member, plan []balance.Assignment) routeTable {
	var t routeTable
	at := make([]int, len(members))
	for i, m := range members {
		at[i] = -1
		if m.Address != "" && len(t.addresses) < maxTasks {
			at[i] = len(t.addresses)
			t.addresses = append(t.addresses, m.Address)
		}
	}
	of := func(task int32) *route {
		for int(task) >= len(t.tasks) {
			t.tasks = append(t.tasks, route{active: -1})
		}
		return &t.tasks[task]
	}
	for i, to := range plan {
		if at[i] < 0 {
			continue
		}
		for _, task := range to.Active {
			of(task).active = at[i]
		}
		for _, task := range to.Standby {
			if r := of(task); len(r.standbys) < maxCopies {
				r.standbys = append(r.standbys, at[i])
			}
		}
	}
	return t
}

func (t routeTable) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.addresses)))
	for _, a := range t.addresses {
		b = appendText(b, a)
	}
	b = binary.AppendUvarint(b, uint64(len(t.tasks)))
	for _, r := range t.tasks {
		b = binary.AppendUvarint(b, uint64(r.active+1))
		b = binary.AppendUvarint(b, uint64(len(r.standbys)))
		for _, s := range r.standbys {
			b = binary.AppendUvarint(b, uint64(s))
		}
	}
	return b
}

// find gives the addresses of one task; false when the table does not know it.
func (t routeTable) find(task int32) (active string, standbys []string, ok bool) {
	if task < 0 || int(task) >= len(t.tasks) {
		return "", nil, false
	}
	r := t.tasks[task]
	if r.active >= 0 {
		active = t.addresses[r.active]
	}
	for _, s := range r.standbys {
		standbys = append(standbys, t.addresses[s])
	}
	return active, standbys, true
}

// Offsets are told coarsely, as the next of 0, 1, 2, 5, 10, 20, 50 …, so that
// what a member says of itself seldom changes.
const (
	lagUnknown = 255
	coarseMax  = 57 // 5e18
)

// coarse is the code of the smallest step that is not below v.
func coarse(v int64) byte {
	c := byte(0)
	for c < coarseMax && fromCoarse(c) < v {
		c++
	}
	return c
}

func fromCoarse(c byte) int64 {
	if c == 0 {
		return 0
	}
	c = min(c, coarseMax) - 1
	v := [3]int64{1, 2, 5}[c%3]
	for range c / 3 {
		v *= 10
	}
	return v
}

func appendText(b []byte, s string) []byte {
	if len(s) > maxTextBytes {
		s = "" // half an address is none
	}
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendTasks writes task numbers, which are ascending, as steps.
func appendTasks(b []byte, tasks []int32) []byte {
	b = binary.AppendUvarint(b, uint64(len(tasks)))
	last := int32(-1)
	for _, t := range tasks {
		b = binary.AppendUvarint(b, uint64(t-last-1))
		last = t
	}
	return b
}

// reader takes a message apart. After the first fault everything it gives is
// zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) begin() bool {
	if len(r.b) > maxToldBytes || r.byte() != wireVersion {
		r.fail()
	}
	return !r.bad
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things of at least size bytes follow.
func (r *reader) count(most, size int) int {
	n := int(r.uint(uint64(most)))
	if n*size > len(r.b) {
		r.fail()
		return 0
	}
	return n
}

func (r *reader) text() string {
	n := r.count(maxTextBytes, 1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// task reads a task number that is larger than last.
func (r *reader) task(last int32) int32 {
	v := int64(last) + 1 + int64(r.uint(maxTasks))
	if v >= maxTasks {
		r.fail()
		return 0
	}
	return int32(v)
}

func (r *reader) tasks() []int32 {
	n := r.count(maxTasks, 1)
	if n == 0 {
		return nil
	}
	list := make([]int32, 0, n)
	last := int32(-1)
	for range n {
		last = r.task(last)
		list = append(list, last)
	}
	return list
}

func (r *reader) routes() (t routeTable) {
	for range r.count(maxTasks, 1) {
		t.addresses = append(t.addresses, r.text())
	}
	n := r.count(maxTasks, 2)
	if n > 0 {
		t.tasks = make([]route, 0, n)
	}
	for range n {
		to := route{active: int(r.uint(uint64(len(t.addresses)))) - 1}
		for range r.count(maxCopies, 1) {
			if s := int(r.uint(maxTasks)); s < len(t.addresses) {
				to.standbys = append(to.standbys, s)
			} else {
				r.fail()
			}
		}
		t.tasks = append(t.tasks, to)
	}
	return t
}

// ascending sorts tasks and drops what comes twice or cannot be.
func ascending(held []balance.Held) []balance.Held {
	held = slices.DeleteFunc(slices.Clone(held), func(h balance.Held) bool { return h.Task < 0 || h.Task >= maxTasks })
	slices.SortStableFunc(held, func(a, b balance.Held) int { return int(a.Task) - int(b.Task) })
	return slices.CompactFunc(held, func(a, b balance.Held) bool { return a.Task == b.Task })
}
