package balance

// Held is a local store of a member: what is in it, and how much there is.
type Held struct {
	Task     int32
	Position int64 // the next offset of the changelog that is not in the store
	End      int64 // the end of the changelog as the member knows it; below Position when it does not
}

// Lag is how many offsets of the changelog the store lacks; false when the
// member does not know.
func (h Held) Lag() (int64, bool) { return h.End - h.Position, h.End >= h.Position }

// Member is one process of the group, as it told of itself when it joined.
type Member struct {
	ID       string // unique in the group
	Instance string // of a static member, else empty; orders members over restarts
	Address  string // at which others reach it; not used here
	Zone     string // where it is; empty for nobody knows
	Draining bool   // about to leave: gives away, receives nothing
	Warms    bool   // keeps copies of tasks that are active elsewhere

	Active     []int32 // the tasks that it claims to run
	Generation int32   // of the group when it was given them; the newest claim counts
	Next       []int32 // the tasks that the last plan said would come to it
	Held       []Held  // its stores
	Refuses    []int32 // tasks that it cannot run now: they go to it only when there is nobody else
}

// Input is what a plan depends on.
type Input struct {
	Members  []Member
	Tasks    int32 // they are numbered from 0
	Standbys int   // copies that each task should have besides the active one
	Lag      int64 // offsets that a member may lack to take a task over at once
	WarmUps  int   // copies beyond the standbys that may be made at a time
}

// Assignment is what one member should do. All lists are ascending.
type Assignment struct {
	ID      string
	Active  []int32 // run these
	Standby []int32 // keep copies of these
	WarmUp  []int32 // make copies of these: they are to move here, or a standby is
	Next    []int32 // those of Standby and WarmUp that become active here once they are warm
}

// Output is the plan. Members are in the order of Input.Members.
type Output struct {
	Members []Assignment
	// Probe says that something waits for a copy to catch up: plan again soon.
	Probe bool
}
