package orchestrator

import (
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/statestore"
)

// Attributes of the derived index. A type needs none: the key of an instance begins with it.
const (
	attrAttention    = "a" // active or ended, and a person should look at it
	attrStatusPrefix = "s/"
)

var phaseAttrs = func() (attrs [sagas.Mailbox + 1][2][]string) {
	for ph := sagas.Running; ph <= sagas.Mailbox; ph++ {
		attrs[ph] = [2][]string{{attrStatus(ph)}, {attrAttention, attrStatus(ph)}}
	}
	return attrs
}()

func attrStatus(ph sagas.Phase) string { return attrStatusPrefix + ph.String() }

// index derives the timer and the attributes of a stored instance. It reads only the head of the
// record and allocates nothing per call but what Summarise does.
func index(key, value []byte) statestore.Entry {
	if isPage(key) {
		return statestore.Entry{}
	}
	s, err := sagas.Summarise(value)
	if err != nil || s.Phase == 0 || s.Phase > sagas.Mailbox {
		return statestore.Entry{}
	}
	attention := 0
	if s.Attention {
		attention = 1
	}
	return statestore.Entry{Due: int64(s.Due), Attrs: phaseAttrs[s.Phase][attention]}
}
