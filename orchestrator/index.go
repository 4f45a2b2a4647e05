package orchestrator

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology"
)

// indexVersion is raised with every change of what index gives: the stores are then rebuilt.
const indexVersion = 2

// StoreIndex is what this release derives from the entries of its stores, and their format, for tools
// that make stores.
func StoreIndex() (_ statestore.Indexer, format uint32) {
	return index, topology.StoreFormat(indexVersion)
}

// Attributes of the derived index. A type needs none: the key of an instance begins with it.
//
//	a                         active or ended, and a person should look at it
//	s/<phase>
//	1 t/<phase>/<tag>         one per tag, and under attention instead of the phase as well
//	2 n/<type>@<version>/<phase>, with a ! behind it when it has the attribute a
//	2 d                       active, and has a timer
//
// where 1 stands for statestore.Uncounted and 2 for statestore.CountOnly. Phase and tag are in one attribute,
// so that the usual question, a status and a tag, is one walk over what matches.
const (
	attrAttention    = "a"
	attrStatusPrefix = "s/"
	attrTagPrefix    = "\x01t/"
	attrCountPrefix  = "\x02n/"
	attrTimed        = "\x02d"
)

func attrStatus(ph sagas.Phase) string { return attrStatusPrefix + ph.String() }

// maxTagAttr bounds the part of a tag that is in the index: what is longer is found by its beginning.
const maxTagAttr = 300

// attrTag is the attribute of one tag, without what a key of the index cannot hold. Whoever looks it up has to
// compare the tag itself.
func attrTag(list, name, value string) string {
	text := strings.ReplaceAll(name, "=", "\x02") + "=" + value
	if len(text) > maxTagAttr {
		text = text[:maxTagAttr]
	}
	return attrTagPrefix + list + "/" + strings.ReplaceAll(text, "\x00", "\x01")
}

// attrCount is the counter of one version in one phase.
func attrCount(typ string, version uint32, ph sagas.Phase, attention bool) string {
	attr := attrCountPrefix + typ + "@" + strconv.FormatUint(uint64(version), 10) + "/" + ph.String()
	if attention {
		attr += "!"
	}
	return attr
}

// splitCount is the inverse of attrCount without the prefix.
func splitCount(attr string) (ref definitionRef, phase string, attention, ok bool) {
	name, phase, ok := strings.Cut(strings.TrimPrefix(attr, attrCountPrefix), "/")
	at := strings.LastIndexByte(name, '@')
	if !ok || at < 0 {
		return ref, "", false, false
	}
	version, err := strconv.ParseUint(name[at+1:], 10, 32)
	phase, attention = strings.CutSuffix(phase, "!")
	return definitionRef{name[:at], uint32(version)}, phase, attention, err == nil
}

// shape is what the attributes of an instance without tags depend on.
type shape struct {
	typ       string
	version   uint32
	phase     sagas.Phase
	attention bool
	timed     bool
}

// shapes remembers the attributes of each shape, because there are few of them and many instances. It is
// replaced as a whole, and given up when a namespace has strangely many.
var shapes atomic.Pointer[map[shape][]string]

const maxShapes = 4096

func attrsOf(s shape) []string {
	known := shapes.Load()
	if known != nil {
		if attrs, ok := (*known)[s]; ok {
			return attrs
		}
	}
	s.typ = strings.Clone(s.typ)
	attrs := make([]string, 0, 4)
	if s.attention {
		attrs = append(attrs, attrAttention)
	}
	attrs = append(attrs, attrStatus(s.phase), attrCount(s.typ, s.version, s.phase, s.attention))
	if s.timed {
		attrs = append(attrs, attrTimed)
	}
	next := map[shape][]string{s: attrs}
	if known != nil && len(*known) < maxShapes {
		for k, v := range *known {
			next[k] = v
		}
	}
	shapes.CompareAndSwap(known, &next) // whoever was faster has done it for himself
	return attrs
}

// index derives the timer and the attributes of a stored instance. It reads only the beginning of the
// record, and allocates nothing per call for an instance without tags but what Summarise does.
func index(key, value []byte) statestore.Entry {
	if isPage(key) {
		return statestore.Entry{}
	}
	s, err := sagas.Summarise(value)
	if err != nil || s.Phase == 0 || s.Phase > sagas.Mailbox {
		return statestore.Entry{}
	}
	attrs := attrsOf(shape{s.Type, s.Version, s.Phase, s.Attention, s.Due > 0 && s.Phase.Active()})
	if tags, err := sagas.ReadTags(value); err == nil && len(tags) > 0 {
		all := make([]string, len(attrs), len(attrs)+2*len(tags))
		copy(all, attrs)
		for _, t := range tags {
			all = append(all, attrTag(s.Phase.String(), t.Key, t.Value))
			if s.Attention {
				all = append(all, attrTag(StatusAttention, t.Key, t.Value))
			}
		}
		attrs = all
	}
	return statestore.Entry{Due: int64(s.Due), Attrs: attrs}
}
