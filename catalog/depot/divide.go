package depot

import (
	"errors"
	"fmt"
)

const (
	// unsplit is how long a file is at most that goes into the next part as a whole
	// rather than into two: so it can be checked by itself. A file of metadata
	// always does.
	unsplit = 64 << 20

	// leastSplit is the shortest beginning of a file that is put into a part.
	leastSplit = 16 << 10
)

// divide divides the items into parts. Each part has the list in it, which grows with
// the number of parts: it is tried until there is room.
func (e *exporter) divide() error {
	most := e.opt.MaxPart
	if most == 0 {
		most = DefaultPart
	}
	for reserve := int64(tarBlock); ; {
		room := most/tarBlock*tarBlock - memberSize(reserve) - memberSize(65) - tarEnd
		if err := e.divideInto(room); err != nil {
			return fmt.Errorf("%w: %d bytes: %w", ErrPart, most, err)
		}
		e.list.Parts = e.list.Parts[:0]
		for n, cuts := range e.parts {
			i := &e.items[cuts[0].item]
			first := piece{i.path(), cuts[0].offset, i.size, cuts[0].size}.name()
			e.list.Parts = append(e.list.Parts, listPart{Name: partName(e.list.Snapshot, n+1), First: first})
		}
		need := int64(len(e.list.encode()))
		if need <= reserve {
			return nil
		}
		reserve = padded(need + need/8)
	}
}

// divideInto divides the items into parts with so much room for members.
func (e *exporter) divideInto(room int64) error {
	e.parts = nil
	var left int64
	next := func() {
		e.parts = append(e.parts, nil)
		left = room
	}
	put := func(c cut) {
		n := len(e.parts) - 1
		e.parts[n] = append(e.parts[n], c)
		left -= memberSize(c.size)
	}
	next()
	for n := range e.items {
		i := &e.items[n]
		whole := memberSize(i.size) <= room && i.size <= unsplit
		switch {
		case whole && memberSize(i.size) > left:
			next()
		case !whole && metadataForm.MatchString(i.name):
			return fmt.Errorf("%s alone has %d", i.name, i.size)
		}
		for at := int64(0); at < i.size; {
			size := min(i.size-at, left-tarBlock, maxPiece)
			if size < i.size-at {
				size = size / tarBlock * tarBlock
			}
			if size < min(leastSplit, i.size-at) {
				if left == room || len(e.parts) == maxParts {
					return errors.New("too many parts, or no room in them")
				}
				next()
				continue
			}
			put(cut{n, at, size})
			at += size
		}
	}
	return nil
}
