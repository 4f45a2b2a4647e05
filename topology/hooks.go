package topology

import "time"

// Hooks are called as things happen. Every field may be nil. They are called
// from the goroutines of the worker: return quickly, take no locks that a
// caller of the worker may hold.
type Hooks struct {
	// TaskState: a task moved from one state to another. Reason is empty
	// unless something went wrong.
	TaskState func(task int32, from, to TaskState, reason string)
	// Cycle: one cycle was committed and applied.
	Cycle func(CycleStats)
	// Aborted: one cycle was dropped; class names who must act.
	Aborted func(task int32, class string, err error)
	// Restore: a task has restored its changelog up to next, of target.
	Restore func(task int32, next, target int64)
	// Restored: a task has finished its restore.
	Restored func(task int32, records int64, took time.Duration)
	// Rebalance: the group assigned or took away tasks.
	Rebalance func(assigned, revoked []int32)
	// Forwarded: records that were on a foreign partition were sent on.
	Forwarded func(task int32, records int)
	// Postponed: what Process did with its last record is undone, and it will be done again in a cycle of
	// its own. Who counts in Process takes that record's counts back.
	Postponed func(task int32)
	// Poisoned: one record or timer was handed to Processor.Poison.
	Poisoned func(task int32, err error)
	// Paused: the queue of a task went over its high mark, or back under its
	// low mark.
	Paused func(task int32, paused bool)
	// Destination: the breaker of a topic of others has opened or closed, or a
	// probe of it has failed.
	Destination func(DestinationInfo)
	// Wiped: a local store was thrown away, to be rebuilt.
	Wiped func(task int32, reason string)
}

// CycleStats describe one committed cycle.
type CycleStats struct {
	Task      int32
	Records   int // taken from the inputs, forwarded ones included
	Forwarded int
	Poisoned  int
	Repeated  int // of the records, those that an origin says were taken before
	Timers    int
	Outputs   int // records emitted, without the changelog's
	Mutations int // records written to the changelog
	Bytes     int // of inputs, outputs and mutations

	Process time.Duration // decode, load, advance, stage
	Commit  time.Duration // begin to end of the Kafka transaction
	Apply   time.Duration // write to the store

	Delay time.Duration // from the timestamp of the oldest record to the commit; 0 for timers only
	Late  time.Duration // by which the latest timer was late
}

// hooks calls what is set.
type hooks struct{ h Hooks }

func (h *hooks) taskState(task int32, from, to TaskState, reason string) {
	if h.h.TaskState != nil {
		h.h.TaskState(task, from, to, reason)
	}
}

func (h *hooks) cycle(s CycleStats) {
	if h.h.Cycle != nil {
		h.h.Cycle(s)
	}
}

func (h *hooks) aborted(task int32, class string, err error) {
	if h.h.Aborted != nil {
		h.h.Aborted(task, class, err)
	}
}

func (h *hooks) restore(task int32, next, target int64) {
	if h.h.Restore != nil {
		h.h.Restore(task, next, target)
	}
}

func (h *hooks) restored(task int32, records int64, took time.Duration) {
	if h.h.Restored != nil {
		h.h.Restored(task, records, took)
	}
}

func (h *hooks) rebalance(assigned, revoked []int32) {
	if h.h.Rebalance != nil {
		h.h.Rebalance(assigned, revoked)
	}
}

func (h *hooks) forwarded(task int32, records int) {
	if h.h.Forwarded != nil {
		h.h.Forwarded(task, records)
	}
}

func (h *hooks) postponed(task int32) {
	if h.h.Postponed != nil {
		h.h.Postponed(task)
	}
}

func (h *hooks) poisoned(task int32, err error) {
	if h.h.Poisoned != nil {
		h.h.Poisoned(task, err)
	}
}

func (h *hooks) paused(task int32, paused bool) {
	if h.h.Paused != nil {
		h.h.Paused(task, paused)
	}
}

func (h *hooks) destination(info DestinationInfo) {
	if h.h.Destination != nil {
		h.h.Destination(info)
	}
}

func (h *hooks) wiped(task int32, reason string) {
	if h.h.Wiped != nil {
		h.h.Wiped(task, reason)
	}
}

// Tee returns hooks that call all of hs in order.
func Tee(hs ...Hooks) Hooks {
	return Hooks{
		TaskState: func(task int32, from, to TaskState, reason string) {
			for i := range hs {
				if f := hs[i].TaskState; f != nil {
					f(task, from, to, reason)
				}
			}
		},
		Cycle: func(s CycleStats) {
			for i := range hs {
				if f := hs[i].Cycle; f != nil {
					f(s)
				}
			}
		},
		Aborted: func(task int32, class string, err error) {
			for i := range hs {
				if f := hs[i].Aborted; f != nil {
					f(task, class, err)
				}
			}
		},
		Restore: func(task int32, next, target int64) {
			for i := range hs {
				if f := hs[i].Restore; f != nil {
					f(task, next, target)
				}
			}
		},
		Restored: func(task int32, records int64, took time.Duration) {
			for i := range hs {
				if f := hs[i].Restored; f != nil {
					f(task, records, took)
				}
			}
		},
		Rebalance: func(assigned, revoked []int32) {
			for i := range hs {
				if f := hs[i].Rebalance; f != nil {
					f(assigned, revoked)
				}
			}
		},
		Forwarded: func(task int32, records int) {
			for i := range hs {
				if f := hs[i].Forwarded; f != nil {
					f(task, records)
				}
			}
		},
		Postponed: func(task int32) {
			for i := range hs {
				if f := hs[i].Postponed; f != nil {
					f(task)
				}
			}
		},
		Poisoned: func(task int32, err error) {
			for i := range hs {
				if f := hs[i].Poisoned; f != nil {
					f(task, err)
				}
			}
		},
		Paused: func(task int32, paused bool) {
			for i := range hs {
				if f := hs[i].Paused; f != nil {
					f(task, paused)
				}
			}
		},
		Destination: func(info DestinationInfo) {
			for i := range hs {
				if f := hs[i].Destination; f != nil {
					f(info)
				}
			}
		},
		Wiped: func(task int32, reason string) {
			for i := range hs {
				if f := hs[i].Wiped; f != nil {
					f(task, reason)
				}
			}
		},
	}
}
