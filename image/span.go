package image

import (
	"iter"

	"slipcast/partition"
)

// spans yields the parts of e that are in use, with short gaps between them
// closed: what is read or written at once.
func spans(used partition.Extents, e partition.Extent) iter.Seq[partition.Extent] {
	return func(yield func(partition.Extent) bool) {
		var span partition.Extent
		for _, u := range used.From(e.Start) {
			if u.Start >= e.End() {
				break
			}
			u = u.Intersect(e)
			if span.Length > 0 && u.Start-span.End() <= maxGap {
				span.Length = u.End() - span.Start
				continue
			}
			if span.Length > 0 && !yield(span) {
				return
			}
			span = u
		}
		if span.Length > 0 {
			yield(span)
		}
	}
}

// clearUnused zeroes the bytes of raw that are not in use. raw lies at offset
// start of the disk.
func clearUnused(raw []byte, start int64, used partition.Extents) {
	at, end := start, start+int64(len(raw))
	for _, u := range used.From(start) {
		if u.Start >= end {
			break
		}
		if u.Start > at {
			clear(raw[at-start : u.Start-start])
		}
		at = min(u.End(), end)
	}
	clear(raw[at-start:])
}

// sameWithin reports whether a and b have the same bytes of e.
func sameWithin(a, b partition.Extents, e partition.Extent) bool {
	a, b = a.From(e.Start), b.From(e.Start)
	for i := 0; ; i++ {
		endA, endB := i == len(a) || a[i].Start >= e.End(), i == len(b) || b[i].Start >= e.End()
		if endA || endB {
			return endA && endB
		}
		if a[i].Intersect(e) != b[i].Intersect(e) {
			return false
		}
	}
}
