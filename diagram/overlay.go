package diagram

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// State is where a node, or its undo, stands in an instance. 0 = nothing is known.
type State uint8

const (
	Idle      State = iota + 1 // not reached
	Active                     // in work, or waiting for something
	Done                       // has happened
	Refused                    // has surely not happened
	Failed                     // failed, or nobody knows what became of it
	Skipped                    // not taken, or never sent
	Attention                  // a person is needed
	Undone                     // of an undo: nothing is left
	Waived                     // of an undo: a person dropped it
)

var stateWords = [...]string{"", "not reached", "in work", "done", "refused", "failed", "skipped", "needs a person", "undone", "waived"}

var stateClasses = [...]string{"", "is-idle", "is-active", "is-done", "is-refused", "is-failed", "is-skipped", "is-attention", "is-undone", "is-waived"}

// String is the state in words.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return ""
}

func (s State) class() string {
	if s > 0 && int(s) < len(stateClasses) {
		return " " + stateClasses[s]
	}
	return ""
}

// Progress is what an instance has done of one node.
type Progress struct {
	Do   State
	Undo State
	Note string // a few characters, e.g. "3 of 5"; may be empty
}

// Overlay shows an instance in the picture of its definition: progress by the id of the node.
type Overlay map[string]Progress

// OverlayOf is the overlay of an instance. A node that ran in several items or rounds shows the
// state that matters most, and how many of them are done.
func OverlayOf(v sagas.View) Overlay {
	type tally struct {
		do, undo []State
	}
	all := map[string]*tally{}
	for _, s := range v.Steps {
		id := s.Path[strings.LastIndexByte(s.Path, '/')+1:]
		t := all[id]
		if t == nil {
			t = &tally{}
			all[id] = t
		}
		do, undo := forwardState(s.State), undoState(s.Undo)
		for _, a := range v.Attention {
			if a.Path == s.Path && undo != 0 {
				undo = Attention
			} else if a.Path == s.Path {
				do = Attention
			}
		}
		t.do = append(t.do, do)
		if undo != 0 {
			t.undo = append(t.undo, undo)
		}
	}
	o := Overlay{}
	for id, t := range all {
		p := Progress{Do: together(t.do), Undo: together(t.undo)}
		switch {
		case len(t.undo) > 1:
			p.Note = fmt.Sprintf("%d of %d", count(t.undo, Undone), len(t.undo))
		case len(t.do) > 1:
			p.Note = fmt.Sprintf("%d of %d", count(t.do, Done), len(t.do))
		}
		o[id] = p
	}
	return o
}

func count(list []State, s State) int {
	n := 0
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// together is the one state that several have: what a person should see first.
func together(list []State) State {
	for _, s := range []State{Attention, Active, Failed, Refused} {
		if slices.Contains(list, s) {
			return s
		}
	}
	if slices.Contains(list, Idle) && slices.Contains(list, Done) {
		return Active
	}
	for _, s := range []State{Idle, Waived, Undone, Done, Skipped} {
		if slices.Contains(list, s) {
			return s
		}
	}
	return 0
}

func forwardState(s string) State {
	switch s {
	case "IDLE":
		return Idle
	case "DONE":
		return Done
	case "REFUSED":
		return Refused
	case "FAILED", "UNKNOWN":
		return Failed
	case "SKIPPED", "ABANDONED":
		return Skipped
	case "":
		return 0
	}
	return Active
}

func undoState(s string) State {
	switch s {
	case "":
		return 0
	case "UNDONE", "UNDO_NOOP":
		return Undone
	case "WAIVED":
		return Waived
	case "U_STOPPED":
		return Attention
	}
	return Active
}
