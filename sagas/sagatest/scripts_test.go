package sagatest_test

import (
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas/sagatest"
)

func TestScripts(t *testing.T) { sagatest.Run(t, "testdata/*.txt") }

// A mistake in a script is an error of the script, with what would have been right.
func TestScriptMistakes(t *testing.T) {
	s := sagatest.NewScript("testdata")
	if _, err := s.Exec("define", []sagatest.Arg{{Name: "file", Values: []string{"order.yaml"}}}, ""); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		verb string
		args []sagatest.Arg
		want string
	}{
		{"begin", nil, `"begin" is not a verb (admin, advance, behave,`},
		{"start", []sagatest.Arg{{Name: "identity", Values: []string{"o1"}}}, "id= is needed"},
		{"start", []sagatest.Arg{{Name: "id", Values: []string{"o1"}}, {Name: "input", Values: []string{"{"}}}, "input:"},
		{"reply", []sagatest.Arg{{Name: "outcome", Values: []string{"ok"}}}, "step= is needed"},
		{"reply", []sagatest.Arg{{Name: "step", Values: []string{"auth"}}, {Name: "outcome", Values: []string{"fine"}}}, `"fine" is not an outcome`},
		{"reply", []sagatest.Arg{{Name: "step", Values: []string{"auth"}}, {Name: "outcome", Values: []string{"ok"}}, {Name: "atempt", Values: []string{"2"}}}, "atempt= is not an argument"},
		{"advance", nil, "a duration is needed"},
		{"advance", []sagatest.Arg{{Name: "-5s"}}, "time does not go back"},
		{"cancel", nil, "id= is needed"},
		{"behave", []sagatest.Arg{{Name: "step", Values: []string{"auth"}}, {Name: "answers", Values: []string{"maybe"}}}, `"maybe" is not an answer`},
	} {
		_, err := s.Exec(test.verb, test.args, "")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %v: got %v, want %q", test.verb, test.args, err, test.want)
		}
	}
}
