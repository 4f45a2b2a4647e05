package sagas

import "math/bits"

// backoff returns the pause in milliseconds after attempt number n (from 1): Backoff grown by Factor
// per attempt up to BackoffMax, less a share of at most Jitter that the seed decides. No random
// number is drawn: the same attempt always waits the same time, and attempts of different sagas
// spread.
//
// The floating point operations are single multiplications, so that no architecture may fuse them
// into another result.
func backoff(r *Retry, n uint32, seed uint64) int64 {
	base := float64(millis(orDefault(r.Backoff, DefaultBackoff)))
	most := float64(millis(orDefault(r.BackoffMax, DefaultBackoffMax)))
	factor := r.Factor
	if !(factor >= 1) { // also NaN
		factor = DefaultFactor
	}
	if factor > 1 {
		for i := uint32(1); i < n && base < most; i++ {
			base *= factor
		}
	}
	pause := int64(min(base, most))
	if r.Jitter > 0 {
		share := uint64(float64(pause) * min(r.Jitter, 1))
		cut, _ := bits.Mul64(share, seed)
		pause -= int64(cut)
	}
	return max(pause, 1)
}

// jitterSeed hashes what names an attempt. FNV-1a, then a finalizer that spreads the last byte over
// all bits.
func jitterSeed(wid, path string, op Op, round, attempt uint32) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := 0; i < len(wid); i++ {
		h = (h ^ uint64(wid[i])) * prime
	}
	h = (h ^ 0xff) * prime // no byte of UTF-8: separates the two texts
	for i := 0; i < len(path); i++ {
		h = (h ^ uint64(path[i])) * prime
	}
	h = (h ^ uint64(op)) * prime
	h = (h ^ uint64(round)) * prime
	h = (h ^ uint64(attempt)) * prime
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
