package prove

import "github.com/amendsio/amends/sagas"

func (x *explorer) draw(p *sagas.Plan) error {
	x.outs = make([][][]byte, len(p.Steps))
	x.codes = make([][]string, len(p.Steps))
	for i := range x.codes {
		x.codes[i] = []string{codeRefused}
	}
	x.inputs = x.opts.Inputs
	if len(x.inputs) == 0 {
		x.inputs = [][]byte{[]byte(`{"amount":1}`)}
	}
	return nil
}
