package bridge_test

import (
	"testing"

	"github.com/amendsio/amends/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }
