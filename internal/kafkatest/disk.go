package kafkatest

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is a memory file system that can lose power.
type Disk struct{ FS *vfs.MemFS }

// NewDisk gives an empty disk.
func NewDisk() *Disk { return &Disk{FS: vfs.NewCrashableMem()} }

// Crash gives the disk as a machine finds it after a power cut at this
// moment: all that was synced, and of the rest about percent in a hundred,
// chosen by seed. 100 is a killed process on a machine that stays up: nothing
// is lost. The old disk stays usable for what still writes to it, and nothing
// of that reaches the new one.
func (d *Disk) Crash(percent int, seed uint64) *Disk {
	return &Disk{FS: d.FS.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent,
		RNG:                 rand.New(rand.NewPCG(seed, 0)),
	})}
}
