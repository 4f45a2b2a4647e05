package statestore_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/statestore/storetest"
)

func TestConformance(t *testing.T) { rapid.Check(t, storetest.Conformance) }
