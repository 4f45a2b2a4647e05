package orchestrator

import (
	"fmt"
	"os"
	"reflect"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Worker gives tests the runtime.
func (o *Orchestrator) Worker() *topology.Worker { return o.worker.Load() }

// In all tests of this package, whatever they do, an instance that was kept in memory is compared with the
// stored one each time it is used. A panic would only set the record aside.
func init() {
	checkKept = func(c *topology.Cycle, wid string, kept *sagas.Record) {
		value, found, err := c.Get([]byte(wid))
		if err != nil || !found {
			fmt.Fprintf(os.Stderr, "%s is kept and not stored: %v\n", wid, err)
			os.Exit(3)
		}
		stored, err := sagas.DecodeInstance(value)
		if err != nil || !reflect.DeepEqual(stored, kept.Head()) {
			fmt.Fprintf(os.Stderr, "%s is kept as\n%+v\nand stored as\n%+v (%v)\n", wid, kept.Head(), stored, err)
			os.Exit(3)
		}
	}
}
