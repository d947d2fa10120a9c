package partition

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// An Extent is a range of bytes of a disk.
type Extent struct {
	Start  int64 // first byte
	Length int64 // bytes, never negative
}

// End returns the offset of the first byte behind e.
func (e Extent) End() int64 { return e.Start + e.Length }

// Intersect returns the part of e that lies within f; its Length is zero if
// they do not touch.
func (e Extent) Intersect(f Extent) Extent {
	start, end := max(e.Start, f.Start), min(e.End(), f.End())
	if end <= start {
		return Extent{Start: start}
	}
	return Extent{Start: start, Length: end - start}
}

// String formats e as offset+length.
func (e Extent) String() string { return fmt.Sprintf("%d+%d", e.Start, e.Length) }

// Extents are ranges in ascending order, none of them empty, with at least
// one byte between neighbours. [Normalize] makes them so.
type Extents []Extent

// Normalize sorts x in place and merges what overlaps or touches. It reuses
// the memory of x.
func Normalize(x []Extent) Extents {
	slices.SortFunc(x, func(a, b Extent) int { return cmp.Compare(a.Start, b.Start) })
	out := x[:0]
	for _, e := range x {
		if e.Length <= 0 {
			continue
		}
		if n := len(out); n > 0 && e.Start <= out[n-1].End() {
			out[n-1].Length = max(out[n-1].End(), e.End()) - out[n-1].Start
			continue
		}
		out = append(out, e)
	}
	return out
}

// Size returns the sum of all lengths in bytes.
func (x Extents) Size() int64 {
	var n int64
	for _, e := range x {
		n += e.Length
	}
	return n
}

// End returns the first byte behind the last extent, zero if there is none.
func (x Extents) End() int64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1].End()
}

// From returns the extents that end behind offset, without copying. It takes
// time logarithmic in len(x).
func (x Extents) From(offset int64) Extents {
	return x[sort.Search(len(x), func(i int) bool { return x[i].End() > offset }):]
}

// Within returns the parts of x that lie in e, at their place on the disk.
func (x Extents) Within(e Extent) Extents {
	var out Extents
	for _, u := range x.From(e.Start) {
		if u.Start >= e.End() || e.Length <= 0 {
			break
		}
		out = append(out, u.Intersect(e))
	}
	return out
}

// Touches reports whether any byte of e is in x.
func (x Extents) Touches(e Extent) bool {
	rest := x.From(e.Start)
	return e.Length > 0 && len(rest) > 0 && rest[0].Start < e.End()
}

// Covers reports whether every byte of e is in x. An empty e always is.
func (x Extents) Covers(e Extent) bool {
	rest := x.From(e.Start)
	return e.Length <= 0 || len(rest) > 0 && rest[0].Start <= e.Start && rest[0].End() >= e.End()
}

// Shift returns a copy of x moved by delta bytes.
func (x Extents) Shift(delta int64) Extents {
	out := make(Extents, len(x))
	for i, e := range x {
		out[i] = Extent{e.Start + delta, e.Length}
	}
	return out
}

// Union returns what is in x or in y.
func (x Extents) Union(y Extents) Extents {
	return Normalize(slices.Concat(x, y))
}

// Gaps returns what lies within e and is not in x.
func (x Extents) Gaps(e Extent) Extents {
	var out Extents
	at := e.Start
	for _, u := range x.From(e.Start) {
		if u.Start >= e.End() {
			break
		}
		if u.Start > at {
			out = append(out, Extent{at, u.Start - at})
		}
		at = u.End()
	}
	if at < e.End() {
		out = append(out, Extent{at, e.End() - at})
	}
	return out
}

// Minus returns what is in x and not in y.
func (x Extents) Minus(y Extents) Extents {
	var out Extents
	for _, e := range x {
		out = append(out, y.Gaps(e)...)
	}
	return out
}

// MaxExtents is how many extents [Builder.Extents] returns at most, 2^20 or
// 16 MiB of memory. An image never lists more, see docs/format.md.
const MaxExtents = 1 << 20

// A Builder collects extents in any order in bounded memory: it holds at most
// twice [MaxExtents], and while it closes gaps the width of each. The zero
// value is ready to use. When there are too many extents, the smallest gaps
// between them are closed: a badly fragmented file system then costs the
// capture of some free blocks, never one block in use.
type Builder struct {
	list  []Extent
	limit int // MaxExtents unless a test sets it
}

// Add notes that length bytes from start are in use. A length of zero or less
// adds nothing; a range that would end behind the last offset an int64 can
// hold ends there.
func (b *Builder) Add(start, length int64) {
	if length <= 0 {
		return
	}
	if start > 0 {
		length = min(length, math.MaxInt64-start)
	}
	if n := len(b.list); n > 0 {
		last := &b.list[n-1]
		if start >= last.Start && start <= last.End() {
			last.Length = max(last.End(), start+length) - last.Start
			return
		}
	}
	b.list = append(b.list, Extent{start, length})
	if len(b.list) >= 2*b.max() {
		b.list = shrink(Normalize(b.list), b.max())
	}
}

// Extents returns what was added. The Builder must not be used afterwards.
func (b *Builder) Extents() Extents {
	return shrink(Normalize(b.list), b.max())
}

func (b *Builder) max() int {
	if b.limit > 0 {
		return b.limit
	}
	return MaxExtents
}

// shrink closes the smallest gaps of x, those at lower offsets first, until
// at most limit extents are left. It reuses the memory of x.
func shrink(x Extents, limit int) Extents {
	if len(x) <= limit {
		return x
	}
	widest, ties := gapsToClose(x, len(x)-limit)
	out := x[:1]
	for _, e := range x[1:] {
		last := &out[len(out)-1]
		gap := e.Start - last.End()
		if gap < widest || gap == widest && ties > 0 {
			if gap == widest {
				ties--
			}
			last.Length = e.End() - last.Start
			continue
		}
		out = append(out, e)
	}
	return out
}

// gapsToClose returns which gaps of x are the n smallest: all that are
// narrower than widest bytes, and ties of those that are as wide.
func gapsToClose(x Extents, n int) (widest int64, ties int) {
	gaps := make([]int64, 0, len(x)-1)
	for i, e := range x[1:] {
		gaps = append(gaps, e.Start-x[i].End())
	}
	slices.Sort(gaps)
	widest = gaps[n-1]
	narrower, _ := slices.BinarySearch(gaps, widest)
	return widest, n - narrower
}
