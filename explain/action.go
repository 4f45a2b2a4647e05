package explain

import (
	"time"

	"github.com/amendsio/amends/sagas"
)

// Action is one thing that an operator can do.
type Action struct {
	// Do says it in words.
	Do string `json:"do"`
	// Command does it when it is pasted into a shell. Empty: it has to be done elsewhere.
	Command string `json:"command,omitempty"`
	// Verb and Path are the operator action behind the command, when it is one.
	Verb string `json:"verb,omitempty"`
	Path string `json:"path,omitempty"`
	// Danger: an effect may stay that nobody takes back, or happen twice.
	Danger bool `json:"danger,omitempty"`
}

// elsewhere is an action outside amends.
func elsewhere(do string) Action { return Action{Do: do} }

// verbs says what each operator action does, and what its command needs beside the step.
var verbs = map[sagas.AdminAction]struct {
	do     string
	flags  string
	path   bool // the command asks for a step
	danger bool
}{
	sagas.AdminRetry:       {do: "send it again, with the same key", path: true},
	sagas.AdminRetryNewKey: {do: "send it as a new operation: it may execute twice", path: true, danger: true},
	sagas.AdminResolve:     {do: "ask the participant, then state what became of it (--effect done or --effect none)", flags: " --effect none", path: true},
	sagas.AdminWaive:       {do: "give up its undo: the effect stays, and is listed as residue", path: true, danger: true},
	sagas.AdminSkip:        {do: "go on as if it were done", path: true},
	sagas.AdminCompensate:  {do: "turn it round and undo what was done"},
	sagas.AdminSuspend:     {do: "stop sending its commands"},
	sagas.AdminResume:      {do: "let it go on"},
	sagas.AdminExtend:      {do: "give it more time", flags: " --by 1h"},
	sagas.AdminClose:       {do: "end it where it stands: nothing more is undone", danger: true},
}

// admin appends those of the actions that the machine takes now, in this order. why becomes the
// reason of the commands.
func (x *explainer) admin(list []Action, path, why string, actions ...sagas.AdminAction) []Action {
	for _, a := range actions {
		v, known := verbs[a]
		if !known || !x.taken(a, path) {
			continue
		}
		one := Action{Do: v.do, Verb: string(a), Path: path, Danger: v.danger}
		if path != "" {
			one.Do = path + ": " + v.do
		}
		if !v.path || path != "" { // the commands of these know steps only
			one.Command = "amends " + string(a) + " " + quote(x.WorkflowID)
			if path != "" {
				one.Command += " --path " + quote(path)
			}
			one.Command += v.flags + " --reason " + quote(why)
		}
		list = append(list, one)
	}
	return list
}

// taken tries an action on the instance. Step changes nothing that it is given.
func (x *explainer) taken(a sagas.AdminAction, path string) bool {
	ev := sagas.Admin{Action: a, Path: path, Operator: "explain", Reason: "tried", Effect: sagas.EffectNone, By: time.Hour.Milliseconds()}
	next, _ := sagas.Step(x.Plan, x.Instance, ev, x.Now)
	return next != x.Instance
}

// look is the command that shows more.
func (x *explainer) look(what, workflowID string) Action {
	return Action{Do: what, Command: "amends get " + quote(workflowID)}
}
