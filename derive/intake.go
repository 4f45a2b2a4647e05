package derive

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// intake is a target that starts sagas: it puts records of a topic with a foreign key, or of producers
// with another partitioner, on the partition of their workflow ID.
type intake struct {
	name  string // of the target in origins
	saga  string
	id    *keyer
	input *template // nil = the record's value as it is
}

// intake reads an entry of to that starts sagas.
func (p *parser) intake(v sagas.DocValue) {
	if !v.Fields("an entry of to with intake", "intake", "saga", "where", "id", "input") {
		return
	}
	st := p.st
	namespace := v.Child("intake")
	topics, err := protocol.NewTopics(namespace.Text("intake"))
	if err != nil {
		namespace.Fault("SG03", "", "%v", err)
	}
	in := &intake{name: fmt.Sprintf("%s.%d", st.Name, len(st.To)), saga: v.Required("saga").Text("saga")}
	if in.saga != "" && protocol.ValidateNamespace(in.saga) != nil {
		v.Child("saga").Fault("SG03", "", "%q is not the name of a saga", in.saga)
	}
	in.id = newKeyer(v.Required("id").Expr("id", sagas.WantText), st.slots)
	if input := v.Child("input"); input.Given() {
		if !input.IsMap() && !input.IsExpr() {
			input.Fault("SG01", "", "input must be a map or an expression")
		}
		in.input = newTemplate(input, st.slots, 0)
	}
	if slices.Contains(st.To, topics.Intake) {
		namespace.Fault("SG02", "Use one stage for each saga.", "%s is written twice", topics.Intake)
	}
	st.To = append(st.To, topics.Intake)
	st.targets = append(st.targets, target{
		topic: topics.Intake, where: newCondition(v.Child("where").Expr("where", sagas.WantBool), st.slots),
		format: format{name: formatJSON}, intake: in,
	})
}

// start makes the record of a start. Its id says which run it asks for, and its origin which record it
// was made from: the engine takes one start for each, also when this stage lost its positions.
func (h *handler) start(c *topology.Context[output], it topology.Item[[]byte], i int) error {
	tg := &h.st.targets[i]
	id, err := tg.intake.id.key(&h.record)
	if err != nil {
		return mapping(err)
	}
	if len(id) == 0 {
		return mapping(errNoID)
	}
	quoted, err := json.Marshal(string(id))
	if err != nil {
		return mapping(err)
	}
	rec := c.Record()
	from := fmt.Appendf(nil, "%s/%s/%d/%d", tg.intake.name, rec.Topic, rec.Partition, rec.Offset)
	b := append(h.buf[:0], `{"kind":"start","type":`...)
	b = append(strconv.AppendQuote(b, tg.intake.saga), `,"id":`...)
	b = append(append(b, quoted...), `,"startId":`...)
	b = append(strconv.AppendQuote(b, string(from)), `,"input":`...)
	if tg.intake.input == nil {
		b = append(b, h.record.b...)
	} else {
		var has bool
		if b, has, err = tg.intake.input.append(b, &h.record); err != nil {
			return mapping(err)
		}
		if !has {
			return mapping(errNothing)
		}
	}
	b = append(b, '}')
	h.buf = b
	key := fmt.Appendf(nil, "%s/%s", tg.intake.saga, id)
	h.tally.out(i, len(key)+len(b))
	return c.Forward(topology.Item[output]{Key: key, Value: output{i, b}, Time: it.Time, Headers: []topology.Header{{Key: topology.HeaderOrigin, Value: from}}})
}

var errNoID = fmt.Errorf("id is empty")
