package kafkatest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main is the body of a TestMain: it runs the tests and then fails when a
// goroutine is left that no one owns.
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
func Main(m *testing.M) { goleak.VerifyTestMain(m) }
