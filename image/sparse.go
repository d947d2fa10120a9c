package image

import (
	"errors"
	"io"
	"math"
	"sync"

	"slipcast/partition"
)

// A holeFinder tells which parts of a source are holes of a sparse file. It
// remembers the last hole and the data behind it, because finding the end of
// either takes some file systems (tmpfs) time in proportion to its length. It
// is safe for concurrent use.
type holeFinder struct {
	src dataFinder // nil if the source cannot tell

	mu   sync.Mutex
	hole partition.Extent // nothing but zeros
	data partition.Extent // what follows
}

func newHoleFinder(src Source) *holeFinder {
	finder, _ := src.(dataFinder)
	return &holeFinder{src: finder}
}

// cover reports whether all of e lies in one hole.
func (h *holeFinder) cover(e partition.Extent) bool {
	if h.src == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Start < h.hole.Start || e.Start >= h.data.End() {
		h.ask(e.Start)
	}
	return h.hole.Intersect(e) == e
}

// ask finds the hole at offset, which may be empty, and the data behind it.
func (h *holeFinder) ask(offset int64) {
	start, end, err := h.src.NextData(offset)
	if errors.Is(err, io.EOF) {
		start, end, err = math.MaxInt64, math.MaxInt64, nil
	}
	if err != nil || start < offset || end < start {
		start, end = offset, offset // not known: it is read
	}
	h.hole = partition.Extent{Start: offset, Length: start - offset}
	h.data = partition.Extent{Start: start, Length: end - start}
}
