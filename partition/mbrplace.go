package partition

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// placeMBR returns the sectors of the table for a disk of size bytes.
func (t *Table) placeMBR(size int64, c change) []Write {
	sector := int64(t.SectorSize)
	mbr := bytes.Clone(t.mbr)
	ebrs := slices.Clone(t.ebrs)
	for i := range ebrs {
		ebrs[i].sector = bytes.Clone(ebrs[i].sector)
	}
	if c.part != nil && c.part.Logical {
		resizeLogical(ebrs, c, sector)
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		end := c.endOf(p)
		if p.Extended {
			end = t.containerEnd(size, c)
		}
		if !p.Logical && end != p.End() {
			setEntry(entryAt(mbr, p.Number-1), p.Start/sector, (end-p.Start)/sector)
		}
	}
	var out []Write
	for _, e := range slices.Backward(ebrs) {
		out = append(out, Write{e.lba * sector, e.sector})
	}
	return append(out, Write{0, mbr})
}

// resizeLogical changes the entry of a logical partition in its EBR, and the
// link to that EBR by as much: its size spans EBR and partition.
func resizeLogical(ebrs []ebr, c change, sector int64) {
	i := slices.IndexFunc(ebrs, func(e ebr) bool { return e.data >= 0 && e.number == c.part.Number })
	setEntry(entryAt(ebrs[i].sector, ebrs[i].data), c.part.Start/sector, (c.end-c.part.Start)/sector)
	if i == 0 {
		return // the container itself leads to it
	}
	before := ebrs[i-1]
	link := entryAt(before.sector, before.link)
	size := int64(binary.LittleEndian.Uint32(link[offEntrySectors:])) + (c.end-c.part.End())/sector
	if start := ebrs[i].lba; start+size == c.end/sector {
		setEntry(link, start, size)
	}
}

// containerEnd returns where the extended partition ends on a disk of size
// bytes: with a partition in it that grows, before the end of a disk that is
// too small for it, else where it was.
func (t *Table) containerEnd(size int64, c change) int64 {
	box := t.container()
	end := box.End()
	if c.part != nil && c.part.Logical && c.end > end {
		return c.end
	}
	if limit := t.wholeSectors(size); end > limit {
		return alignEnd(limit, t.contentEnd(c))
	}
	return end
}

// contentEnd returns the end of all that is in the container.
func (t *Table) contentEnd(c change) int64 {
	var end int64
	for _, e := range t.ebrs {
		end = max(end, (e.lba+1)*int64(t.SectorSize))
	}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Logical {
			end = max(end, c.endOf(p))
		}
	}
	return end
}
