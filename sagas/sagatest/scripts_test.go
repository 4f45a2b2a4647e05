package sagatest_test

import (
	"testing"

	"github.com/amendsio/amends/sagas/sagatest"
)

func TestScripts(t *testing.T) { sagatest.Run(t, "testdata/*.txt") }
