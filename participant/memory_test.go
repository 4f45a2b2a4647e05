package participant_test

import (
	"testing"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestMemoryConformance(t *testing.T) {
	participant.Conformance(t, func(*testing.T) participant.Inbox { return participant.NewMemory(0) })
}
