package orchestrator

import (
	"errors"
	"fmt"

	"github.com/amendsio/amends/sagas"
)

// Check compiles definitions and reports the findings of all together, as sagas.Findings.
func Check(defs []*sagas.Definition) ([]*sagas.Plan, error) {
	var all sagas.Findings
	plans := make([]*sagas.Plan, 0, len(defs))
	for _, d := range defs {
		plan, err := sagas.Compile(d)
		var found sagas.Findings
		switch {
		case errors.As(err, &found):
			all = append(all, found...)
		case err != nil:
			return nil, fmt.Errorf("compile %s: %w", d.Ref(), err)
		default:
			plans = append(plans, plan)
		}
	}
	if len(all) > 0 {
		return nil, all
	}
	return plans, nil
}
