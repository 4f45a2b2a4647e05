package statestore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/amendsio/amends/statestore"
)

// shared is used by most tests: opening a store is cheap then.
var shared = statestore.NewShared(32<<20, 500)

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Close()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
